// Package klaviyo is the target type of Klaviyo: profiles, their attributes and custom properties, and
// consent by channel. Its simulator is package sim. It is apart from the other plugins because each
// vendor's API, errors and words are its own.
//
// Klaviyo's own description of the API, in the revision that is sent, is the source of what is sent and
// read; what the description does not say is noted where it is used.
package klaviyo

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	// revision is the version of the API. Klaviyo asks for it with every call, and serves one for two years.
	revision    = "2026-07-15"
	mediaType   = "application/vnd.api+json"
	defaultBase = "https://a.klaviyo.com/api"

	// maxBatch is less than the 100 that one unsubscribe call takes: the people of a batch are looked up by
	// a filter in the address, and that must stay short of what servers take.
	maxBatch = 50
	// maxInFlight and maxCalls are our own; Klaviyo counts calls by time and not at once.
	maxInFlight = 4
	maxCalls    = 10
	// The smallest limit of the calls that are made often is 75 in any second. What a minute allows is
	// told by headers.
	callsASecond, burst = 65, 10
)

// Plugin is the target type "klaviyo".
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "klaviyo",
		Version: "1.0.0",
		Doc:     pluginDoc,
		Config:  configSchema(),
		Record:  recordSchema(),
		Limits:  sdk.Limits{MaxBatch: maxBatch, MaxInFlight: maxInFlight},
		New:     newTarget,
	}
}

type config struct {
	APIKey       string `json:"api_key"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	RefreshToken string `json:"refresh_token"`
	ListID       string `json:"list_id"`
	BaseURL      string `json:"base_url"`
	Resubscribe  string `json:"resubscribe"`
	Create       bool   `json:"create"`
}

type target struct {
	client      *httpclient.Client
	list        string // empty: none
	resubscribe subscriber.Resubscribe
	create      bool
	// waits are the pauses before each look at whether a job is done.
	waits []time.Duration
}

var listID = regexp.MustCompile(`^[0-9A-Za-z]+$`)

// auth is a private key, or an app's refresh token.
func (c config) auth(base *url.URL) (httpclient.Auth, error) {
	app := map[string]string{"client_id": c.ClientID, "client_secret": c.ClientSecret, "refresh_token": c.RefreshToken}
	given := c.ClientID + c.ClientSecret + c.RefreshToken
	switch {
	case c.APIKey != "" && given != "":
		return httpclient.Auth{}, sdk.InvalidConfig("api_key", "is another way to sign in than client_id, client_secret and refresh_token: keep one")
	case given == "" && !httpclient.Printable(c.APIKey):
		return httpclient.Auth{}, sdk.InvalidConfig("api_key", "must be a private API key (pk_...), without spaces or line ends; or set client_id, client_secret and refresh_token")
	case given == "":
		return httpclient.APIKey("Authorization", "Klaviyo-API-Key "+c.APIKey), nil
	}
	for name, value := range app {
		if !httpclient.Printable(value) {
			return httpclient.Auth{}, sdk.InvalidConfig(name, "must not be empty, nor hold spaces or line ends: an app signs in with client_id, client_secret and refresh_token")
		}
	}
	at := url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/oauth/token"}
	return httpclient.SignIn(httpclient.OAuth2{
		TokenURL: at.String(),
		Grant:    httpclient.RefreshToken(c.ClientID, c.ClientSecret, c.RefreshToken),
		Basic:    true,
	}), nil
}

func newTarget(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	var c config
	if err := cfg.Decode(&c); err != nil {
		return nil, sdk.InvalidConfig("", "%v", err)
	}
	var wrong []error
	base, err := httpclient.Endpoint(cmp.Or(c.BaseURL, defaultBase))
	if err != nil {
		wrong = append(wrong, sdk.InvalidConfig("base_url", "%v", err))
		base = &url.URL{}
	}
	auth, err := c.auth(base)
	wrong = append(wrong, err)
	if c.ListID != "" && !listID.MatchString(c.ListID) {
		wrong = append(wrong, sdk.InvalidConfig("list_id", "must be the list's id: letters and digits, such as Y6nRLr"))
	}
	resubscribe, err := policies.Parse(c.Resubscribe)
	if err := errors.Join(append(wrong, err)...); err != nil {
		return nil, err
	}
	client, err := httpclient.New(httpclient.Options{
		BaseURL:     base.String(),
		Auth:        auth,
		Header:      http.Header{"Revision": {revision}, "Accept": {mediaType}, "Content-Type": {mediaType}},
		MaxInFlight: maxCalls,
		Limiter:     rate.NewLimiter(callsASecond, burst),
		Quota:       httpclient.Quota{Remaining: "RateLimit-Remaining", Reset: "RateLimit-Reset"},
		Classify:    classify,
		Log:         log,
	})
	if err != nil {
		return nil, sdk.InvalidConfig("base_url", "%v", err)
	}
	return &target{
		client:      client,
		list:        c.ListID,
		resubscribe: resubscribe,
		create:      c.Create,
		waits:       []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, time.Second, 2 * time.Second},
	}, nil
}

// Close frees the connections.
func (t *target) Close() error {
	t.client.Close()
	return nil
}

func (t *target) get(ctx context.Context, path string, query url.Values) (*httpclient.Response, error) {
	return t.client.Do(ctx, httpclient.Request{Method: http.MethodGet, Path: path, Query: query})
}

// post sends one resource, as JSON:API has it.
func (t *target) post(ctx context.Context, path string, r resource) (*httpclient.Response, error) {
	return t.client.Do(ctx, httpclient.Request{Method: http.MethodPost, Path: path, Body: map[string]any{"data": r}})
}

// resource is a JSON:API resource.
type resource struct {
	Type          string         `json:"type"`
	ID            string         `json:"id,omitempty"`
	Attributes    map[string]any `json:"attributes"`
	Relationships map[string]any `json:"relationships,omitempty"`
	Meta          map[string]any `json:"meta,omitempty"`
}
