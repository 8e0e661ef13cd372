package config

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/sdk"
)

// environment is what env sees in tests.
var environment = map[string]string{
	"CPM_KEY": "key-secret", "CPM_TOKEN": "token-secret", "CPM_REFRESH_TOKEN": "refresh-secret",
	"CPM_CLIENT_SECRET": "client-secret", "MAILCHIMP_API_KEY": "chimp-secret", "CONSENTD_ADMIN_TOKEN": "admin-secret",
	"EMPTY": "", "LIST": "a1,b2",
}

func getenv(name string) (string, bool) {
	v, ok := environment[name]
	return v, ok
}

// types are small stand-ins for what the plugins declare.
var types = map[string]Schemas{
	"mailchimp": {
		Config: sdk.Schema{
			Attributes: map[string]sdk.Attribute{
				"api_key":  {Type: "string", Required: true, Sensitive: true},
				"list_id":  {Type: "string", Required: true},
				"base_url": {Type: "string"},
				"create":   {Type: "bool"},
				"quota":    {Type: "number"},
				"headers":  {Type: "map(string)", Sensitive: true},
				"mode":     {Type: "string", Enum: []string{"fast", "careful"}},
			},
			Blocks: map[string]sdk.Block{
				"auth":  {Body: sdk.Schema{Attributes: map[string]sdk.Attribute{"token": {Type: "string", Sensitive: true}}}},
				"field": {Repeated: true, Body: sdk.Schema{Attributes: map[string]sdk.Attribute{"name": {Type: "string"}}}},
			},
		},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"email":     {Type: "string", Required: true},
			"status":    {Type: "string", Enum: []string{"subscribed", "unsubscribed", "pending"}},
			"interests": {Type: "map(bool)"},
		}},
	},
	"file": {
		Config: sdk.Schema{Attributes: map[string]sdk.Attribute{"path": {Type: "string", Required: true}}},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{"key": {Type: "string", Required: true}, "fields": {Type: "any"}}},
	},
}

func parseText(text string) (*Config, hcl.Diagnostics) {
	return Parse(map[string][]byte{"main.hcl": []byte(text)}, getenv)
}

func mustParse(t testing.TB, text string) *Config {
	t.Helper()
	c, diags := parseText(text)
	if len(diags) > 0 {
		t.Fatalf("unexpected: %s", render(diags))
	}
	return c
}

// render writes diagnostics as file:line,column-column: summary: detail.
func render(diags hcl.Diagnostics) string {
	var lines []string
	for _, d := range diags {
		at := ""
		if d.Subject != nil {
			at = fmt.Sprintf("%s:%d,%d-%d: ", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column, d.Subject.End.Column)
		}
		lines = append(lines, at+d.Summary+": "+d.Detail)
	}
	return strings.Join(lines, "\n")
}

func TestExample(t *testing.T) {
	c, diags := Load(filepath.Join("..", "..", "config.hcl.example"), getenv)
	if len(diags) > 0 {
		t.Fatal(render(diags))
	}
	bound, diags := c.Bind(types)
	if len(diags) > 0 {
		t.Fatal(render(diags))
	}
	if len(bound) != 1 || bound[0].Name != "newsletter" || bound[0].Source != "dataguard" || bound[0].Target != "newsletter" {
		t.Errorf("rules: %+v", bound)
	}
	if c.Listener.Address != defaultAddress || c.Admin.Address != defaultAdminAddress || c.DeadLetter.Retain != 90*24*time.Hour ||
		c.Retention != (Retention{Quarantine: 90 * 24 * time.Hour}) || len(c.Encryption.Keys) != 0 {
		t.Errorf("got %+v", c)
	}
	s := c.Sources[0]
	if s.Path != "/webhooks/dataguard" || s.UpdateType != consent.EffectivePermission || s.ApplicationID != "acme-eu-01" {
		t.Errorf("source: %+v", s)
	}
	if a := s.Auth; a.Mode != AuthAPIKey || a.Header != "X-API-Key" || !reflect.DeepEqual(a.Keys, []string{"key-secret"}) {
		t.Errorf("auth: %#v %v", a.Mode, a.Keys)
	}
	target := c.Targets[0]
	if target.MaxInFlight != 4 || target.Timeout != 30*time.Second || target.RateLimit != 10 || target.Retry != defaultRetry {
		t.Errorf("target: %v %v %v %+v", target.MaxInFlight, target.Timeout, target.RateLimit, target.Retry)
	}
	if want := `{"api_key":"chimp-secret","list_id":"a1b2c3d4e5"}`; string(target.Fields) != want {
		t.Errorf("fields: %s", target.Fields)
	}
}

// What the example shows as defaults is what an empty configuration has.
func TestDefaults(t *testing.T) {
	empty := mustParse(t, "")
	shown, diags := Parse(map[string][]byte{"main.hcl": read(t, filepath.Join("..", "..", "config.hcl.example"))}, getenv)
	if diags.HasErrors() {
		t.Fatal(render(diags))
	}
	if empty.Log != shown.Log || empty.Listener != shown.Listener || !reflect.DeepEqual(empty.Admin, shown.Admin) ||
		empty.Store != shown.Store || empty.PluginDir != shown.PluginDir || empty.DeadLetter != shown.DeadLetter ||
		empty.Retention != shown.Retention {
		t.Errorf("empty %+v\nshown %+v", empty, shown)
	}
	if empty.PluginDir != "plugins.d" || empty.Store != (Store{Type: "sqlite", Path: "consentd.db"}) || empty.Listener.MaxBodySize != 1<<20 {
		t.Errorf("got %+v", empty)
	}
	target := mustParse(t, `target "file" "a" {}`).Targets[0]
	if target.Retry != defaultRetry || target.Timeout != 30*time.Second || target.MaxInFlight != 0 || target.RateLimit != 0 {
		t.Errorf("target %v %+v", target.Timeout, target.Retry)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRetryOverridesFieldByField(t *testing.T) {
	c := mustParse(t, `
		target "file" "a" {
			retry {
				multiplier   = 3
				max_attempts = 7
			}
		}
		retry {
			initial_interval = "2s"
			jitter           = 0
			max_elapsed_time = "0"
		}`)
	want := Retry{InitialInterval: 2 * time.Second, Multiplier: 3, MaxInterval: 10 * time.Minute, MaxAttempts: 7}
	if got := c.Targets[0].Retry; got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAuth(t *testing.T) {
	for name, c := range map[string]struct {
		auth string
		want Auth
	}{
		"api key in the query": {`auth "api_key" {
			query = "key"
			keys  = ["", env("CPM_KEY"), env("EMPTY"), env("CPM_KEY")]
		}`, Auth{Mode: AuthAPIKey, Query: "key", Keys: []string{"key-secret"}}},
		"keys from one variable": {`auth "api_key" {
			header = "X-Key"
			keys   = split(",", env("LIST"))
		}`, Auth{Mode: AuthAPIKey, Header: "X-Key", Keys: []string{"a1", "b2"}}},
		"token": {`auth "token" { tokens = [env("CPM_TOKEN")] }`,
			Auth{Mode: AuthToken, Header: "Authorization", Prefix: "Bearer", Keys: []string{"token-secret"}}},
		"token in another header": {`auth "token" {
			header = "X-Token"
			tokens = ["a"]
		}`, Auth{Mode: AuthToken, Header: "X-Token", Keys: []string{"a"}}},
		"token with another prefix": {`auth "token" {
			prefix = "Token"
			tokens = ["a"]
		}`, Auth{Mode: AuthToken, Header: "Authorization", Prefix: "Token", Keys: []string{"a"}}},
		"token in the query": {`auth "token" {
			query  = "t"
			tokens = ["a"]
		}`, Auth{Mode: AuthToken, Query: "t", Keys: []string{"a"}}},
		"oauth2": {`auth "oauth2" { refresh_tokens = [env("CPM_REFRESH_TOKEN")] }`,
			Auth{Mode: AuthOAuth2, Header: "Authorization", Prefix: "Bearer", TokenPath: "/in/oauth/token",
				RefreshTokens: []string{"refresh-secret"}, TokenLifetime: 4 * time.Hour}},
		"oauth2 in full": {`auth "oauth2" {
			token_path     = "/token"
			refresh_tokens = ["a", "b"]
			client_id      = "cpm"
			client_secret  = env("CPM_CLIENT_SECRET")
			token_lifetime = "1d"
		}`, Auth{Mode: AuthOAuth2, Header: "Authorization", Prefix: "Bearer", TokenPath: "/token", RefreshTokens: []string{"a", "b"},
			ClientID: "cpm", ClientSecret: "client-secret", TokenLifetime: 24 * time.Hour}},
		"none": {`auth "none" {}`, Auth{Mode: AuthNone}},
	} {
		t.Run(name, func(t *testing.T) {
			c1 := mustParse(t, "source \"s\" {\n path = \"/in\"\n update_type = \"consent-receipts\"\n "+c.auth+"\n}")
			if got := c1.Sources[0].Auth; !reflect.DeepEqual(got, c.want) {
				t.Errorf("got another: mode %s header %q prefix %q query %q keys %q path %q refresh %q client %q %q %v", got.Mode, got.Header,
					got.Prefix, got.Query, got.Keys, got.TokenPath, got.RefreshTokens, got.ClientID, got.ClientSecret, got.TokenLifetime)
			}
		})
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b.hcl", "log { level = \"debug\" }\n")
	write("a.hcl", "plugin_dir = \"p\"\ntarget \"file\" \"x\" {\n config {\n path = file(\"path.txt\")\n }\n}\n")
	write("path.txt", "/var/out\r\n\n")
	write("rules.test.hcl", "nothing of this is read {{{")
	c, diags := Load(dir, getenv)
	if len(diags) > 0 {
		t.Fatal(render(diags))
	}
	if c.Log.Level != "debug" || c.PluginDir != filepath.Join(dir, "p") || len(c.Targets) != 1 || len(c.Hash) != 64 {
		t.Errorf("got %+v", c)
	}
	if _, diags = c.Bind(types); len(diags) > 0 || string(c.Targets[0].Fields) != `{"path":"/var/out"}` {
		t.Errorf("fields %s, %s", c.Targets[0].Fields, render(diags))
	}

	write("c.hcl", "log {}\nplugin_dir = \"q\"\ntarget \"mailchimp\" \"x\" {}\n")
	_, diags = Load(dir, getenv)
	got := strings.ReplaceAll(render(diags), dir+"/", "")
	want := strings.Join([]string{
		`c.hcl:1,1-4: Block stands twice: There is one block "log" in the configuration, and the first is at b.hcl:1,1. Keep one of them.`,
		`c.hcl:2,1-11: Same attribute twice: The attribute "plugin_dir" is already at a.hcl:1,1. Give this one another, or remove one of the two.`,
		`c.hcl:3,1-23: Same target twice: The target "x" is already at a.hcl:2,1. Give this one another, or remove one of the two.`,
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestHashIsOfTheText(t *testing.T) {
	a, b := mustParse(t, "log {}\n"), mustParse(t, "log {} # another\n")
	if a.Hash == b.Hash || a.Hash != mustParse(t, "log {}\n").Hash {
		t.Errorf("%s %s", a.Hash, b.Hash)
	}
}

func TestCredential(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cpm"), []byte("from-systemd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) { return dir, name == "CREDENTIALS_DIRECTORY" }
	c, diags := Parse(map[string][]byte{"main.hcl": []byte(`admin { token = credential("cpm") }`)}, lookup)
	if len(diags) > 0 || len(c.Admin.Access) != 1 || c.Admin.Access[0].Tokens[0] != sha256.Sum256([]byte("from-systemd")) {
		t.Errorf("%+v, %s", c.Admin.Access, render(diags))
	}
}

func TestConfigPrintsNoSecret(t *testing.T) {
	c, diags := Load(filepath.Join("..", "..", "config.hcl.example"), getenv)
	if diags.HasErrors() {
		t.Fatal(render(diags))
	}
	if _, diags = c.Bind(types); diags.HasErrors() {
		t.Fatal(render(diags))
	}
	c.Encryption.Keys = [][]byte{[]byte("store-secret")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, *c); strings.Contains(got, "-secret") || !strings.Contains(got, hidden) {
			t.Errorf("%s prints %s", format, got)
		}
	}
}
