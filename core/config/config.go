// Package config reads the HCL files into a Config, and says with file, line, column and the fix what
// is wrong in them. It is the only package that knows the configuration language beside rules, which
// knows expressions alone.
package config

import (
	"crypto/tls"
	"encoding/json"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/rules/eval"
)

// Config is a whole configuration, checked as far as it can be without asking the plugins.
type Config struct {
	Log        Log
	Listener   Listener
	Admin      Admin
	Store      Store
	PluginDir  string
	Plugins    map[string]Plugin
	Sources    []Source
	Names      rules.Names
	Lookups    []lookup.Config
	Targets    []Target
	Rules      []rules.Definition
	DeadLetter DeadLetter
	Encryption Encryption
	Retention  Retention
	Telemetry  Telemetry
	Reconcile  Reconcile
	// WithdrawalSLO is how long a withdrawal may go unconfirmed before a warning.
	WithdrawalSLO time.Duration
	// Hash is the SHA-256, in hex, of the files' text in order of their names.
	Hash string
	// DSNRange is where the store's dsn stands.
	DSNRange hcl.Range
	// Files are the sources of the ranges in diagnostics. Secrets that were written out are blanked.
	Files map[string]*hcl.File

	scope *eval.Scope
	// withhold takes blanked texts out of diagnostics.
	withhold func(hcl.Diagnostics) hcl.Diagnostics
}

// Log says what is logged and how.
type Log struct {
	Level  string // trace, debug, info, warn, error
	Format string // json, text
}

// Listener is where webhooks come in.
type Listener struct {
	Address     string
	MaxBodySize int64 // bytes
	TLS         *tls.Config
}

// Store names the store and its settings.
type Store struct {
	Type string // sqlite, postgres
	Path string // of the SQLite file
	// DSN, MaxConnections and Lease are of PostgreSQL.
	DSN            string
	MaxConnections int
	Lease          time.Duration
}

// Plugin is what is set for the plugins of one type. A zero means what there is by default.
type Plugin struct {
	SHA256 []string // hex; one of them must match the executable of an external one
	Env    []string // names of variables the process may see
	// What a process and its children may take together; files, for each alone.
	Memory           int64 // bytes
	Files, Processes int
	// Read and Write are the folders and files that the process may reach; nil when nothing is said of them.
	Read, Write []string
}

// Source is one webhook subscription.
type Source struct {
	Name          string
	Path          string
	UpdateType    consent.UpdateType
	ApplicationID string // empty: any
	// ApplyRegressions lets an update that was sent later on older evidence grant at once; see consent.Apply.
	ApplyRegressions bool
	Auth             Auth
	// API is nil when the sender's API is not to be spoken to.
	API *API
}

// AuthMode is how a sender shows who it is.
type AuthMode string

// The modes, after the sender's own authType.
const (
	AuthNone   AuthMode = "none"
	AuthAPIKey AuthMode = "api_key"
	AuthToken  AuthMode = "token"
	AuthOAuth2 AuthMode = "oauth2"
)

// Auth says how a source's sender shows who it is. Which fields are set depends on the mode.
type Auth struct {
	Mode AuthMode
	// Header and Query say where an api_key, a token or an access token stands; one of the two is set.
	Header string
	Query  string
	// Prefix stands before a token in its header: "Bearer".
	Prefix string
	// Keys are the api keys or static tokens, any of which is right. Never empty strings.
	Keys []string
	// The token endpoint of oauth2.
	TokenPath     string
	RefreshTokens []string
	ClientID      string
	ClientSecret  string
	TokenLifetime time.Duration
}

// Target is one external system.
type Target struct {
	Type, Name  string
	MaxInFlight int           // Deliver calls at once; 0: the plugin's limit
	Timeout     time.Duration // of one Deliver call
	RateLimit   float64       // records a second; 0: none
	MaxGrants   int           // within an hour; 0: any number
	Retry       Retry
	// Erase is whether the target is asked to erase citizens who are erased here; EraseRange is where that stands.
	Erase      bool
	EraseRange hcl.Range
	// Fields is the config block as the plugin gets it, one JSON object. Bind fills it.
	Fields json.RawMessage
	// Range is of the block's header.
	Range hcl.Range

	typeRange hcl.Range
	// config is the config block; its body is empty when the target has none.
	config *hclsyntax.Body
	// configRange is of the config block's header, or of the target's.
	configRange hcl.Range
	// secrets are the strings that no diagnostic may hold. Bind fills it.
	secrets []string
}

// Retry says how failed attempts are spaced and when they stop.
type Retry struct {
	InitialInterval time.Duration
	Multiplier      float64
	MaxInterval     time.Duration
	Jitter          float64       // 0 to 1: the part of an interval that is drawn by chance
	MaxAttempts     int           // 0: no bound
	MaxElapsedTime  time.Duration // 0: no bound
}

// Encryption says what personal values are sealed with in the store.
type Encryption struct {
	// Keys are of 32 bytes. The first seals, all open; without any the store is in clear.
	Keys [][]byte
}

// Retention says how long what is done is kept; 0: for ever.
type Retention struct {
	Receipts   time.Duration
	Quarantine time.Duration
}

// DeadLetter says what becomes of deliveries that stopped.
type DeadLetter struct {
	RetryEvery time.Duration // 0: only on demand
	Retain     time.Duration
}
