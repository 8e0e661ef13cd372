// Package hubspot is the target type of HubSpot: contacts of the CRM with their properties, and the
// subscriptions that they allow e-mail for, with the legal basis. Its simulator is package sim. It is
// apart from the other plugins because each vendor's API, errors and words are its own.
//
// What is sent and read follows HubSpot's documents of the contacts API (v3) and of the subscription
// preferences API (v4). What they do not say is noted where it is used.
package hubspot

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	// maxBatch is what the batch calls take.
	maxBatch = 100
	// maxInFlight is ours: HubSpot counts calls in ten seconds, not calls at once.
	maxInFlight = 8
	defaultBase = "https://api.hubapi.com"
)

// Plugin is the target type "hubspot".
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "hubspot",
		Version: "1.0.0",
		Doc:     pluginDoc,
		Config:  configSchema(),
		Record:  recordSchema(),
		Limits:  sdk.Limits{MaxBatch: maxBatch, MaxInFlight: maxInFlight},
		New:     newTarget,
	}
}

type config struct {
	AccessToken  string `json:"access_token"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	RefreshToken string `json:"refresh_token"`
	BaseURL      string `json:"base_url"`
	Resubscribe  string `json:"resubscribe"`
	Create       bool   `json:"create"`
	Batches      bool   `json:"batch_subscriptions"`
}

type target struct {
	client      *httpclient.Client
	resubscribe subscriber.Resubscribe
	create      bool
	batches     bool
}

func newTarget(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	var c config
	if err := cfg.Decode(&c); err != nil {
		return nil, sdk.InvalidConfig("", "%v", err)
	}
	c.BaseURL = strings.TrimRight(cmp.Or(c.BaseURL, defaultBase), "/")
	resubscribe, err := policies.Parse(c.Resubscribe)
	wrong := []error{err}
	if _, err := httpclient.Endpoint(c.BaseURL); err != nil {
		wrong = append(wrong, sdk.InvalidConfig("base_url", "%v", err))
	}
	auth, err := c.auth()
	if err := errors.Join(append(wrong, err)...); err != nil {
		return nil, err
	}
	client, err := httpclient.New(httpclient.Options{
		BaseURL:     c.BaseURL,
		Auth:        auth,
		MaxInFlight: maxInFlight,
		Quota: httpclient.Quota{
			Remaining: "X-HubSpot-RateLimit-Remaining",
			Reset:     "X-HubSpot-RateLimit-Interval-Milliseconds",
			Unit:      time.Millisecond,
		},
		Classify: classify,
		Log:      log,
	})
	if err != nil {
		return nil, sdk.InvalidConfig("base_url", "%v", err)
	}
	return &target{client: client, resubscribe: resubscribe, create: c.Create, batches: c.Batches}, nil
}

// auth is a token that does not end, or a sign-in for tokens that do.
func (c config) auth() (httpclient.Auth, error) {
	if c.ClientID == "" && c.ClientSecret == "" && c.RefreshToken == "" {
		if !httpclient.Printable(c.AccessToken) {
			return httpclient.Auth{}, sdk.InvalidConfig("access_token",
				"must be the access token of a private app (pat-...), without spaces or line ends; or set client_id, client_secret and refresh_token of a public app")
		}
		return httpclient.Bearer(c.AccessToken), nil
	}
	var wrong []error
	for _, given := range []struct{ name, value string }{
		{"client_id", c.ClientID}, {"client_secret", c.ClientSecret}, {"refresh_token", c.RefreshToken},
	} {
		if !httpclient.Printable(given.value) {
			wrong = append(wrong, sdk.InvalidConfig(given.name, "must be set, without spaces or line ends: client_id, client_secret and refresh_token go together"))
		}
	}
	if c.AccessToken != "" {
		wrong = append(wrong, sdk.InvalidConfig("access_token", "must not stand beside client_id, client_secret and refresh_token: set one or the others"))
	}
	return httpclient.SignIn(httpclient.OAuth2{
		TokenURL: c.BaseURL + "/oauth/v3/token",
		Grant:    httpclient.RefreshToken(c.ClientID, c.ClientSecret, c.RefreshToken),
	}), errors.Join(wrong...)
}

// Close frees the connections.
func (t *target) Close() error {
	t.client.Close()
	return nil
}

// call makes one exchange and decodes its success into answer, if that is not nil. The error is fit for
// sdk.FromError.
func (t *target) call(ctx context.Context, r httpclient.Request, answer any) error {
	res, err := t.client.Do(ctx, r)
	if err != nil {
		return err
	}
	if err := res.Err(); err != nil {
		return err
	}
	if answer == nil {
		return nil
	}
	return res.Decode(answer)
}

func (t *target) post(ctx context.Context, path string, body, answer any) error {
	return t.call(ctx, httpclient.Request{Method: http.MethodPost, Path: path, Body: body}, answer)
}
