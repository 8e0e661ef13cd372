// Package braze is the target type of Braze: user profiles of one workspace, with their e-mail and push
// subscription, subscription groups and attributes. Its simulator is package sim. It is apart from the
// other plugins because each vendor's API, errors and words are its own.
//
// Braze's own description of the API and its documentation are the source of what is sent and read. What
// neither says is noted where it is used.
package braze

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	// maxObjects is how many attributes objects one call of /users/track takes.
	maxObjects = 75
	// maxUsers is how many people one call of each other endpoint takes.
	maxUsers = 50
	// maxRequest is what /users/track takes, in bytes.
	maxRequest = 4 << 20
	// maxInFlight is our own choice: Braze limits calls in a time, not calls at once.
	maxInFlight = 8
)

// endpoint is one call of the API. Each has a rate of its own, as Braze documents its default, and its own
// rate headers; so each has a client of its own, and reads that have to wait hold up no withdrawal.
type endpoint struct {
	method, path string
	requests     int
	in           time.Duration
}

var (
	trackUsers  = endpoint{http.MethodPost, "/users/track", 3000, 3 * time.Second}
	exportUsers = endpoint{http.MethodPost, "/users/export/ids", 40, time.Second}
	readGroups  = endpoint{http.MethodGet, "/subscription/user/status", 250_000, time.Hour}
	deleteUsers = endpoint{http.MethodPost, "/users/delete", 20_000, time.Minute}
)

// Plugin is the target type "braze".
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "braze",
		Version: "1.0.0",
		Doc:     pluginDoc,
		Config:  configSchema(),
		Record:  recordSchema(),
		Limits:  sdk.Limits{MaxBatch: maxObjects, MaxInFlight: maxInFlight},
		New:     newTarget,
	}
}

type config struct {
	APIKey      string `json:"api_key"`
	BaseURL     string `json:"base_url"`
	Resubscribe string `json:"resubscribe"`
	Create      bool   `json:"create"`
}

// target is one workspace. It implements all of the optional verbs.
type target struct {
	clients     map[string]*httpclient.Client // by the endpoint's path
	resubscribe subscriber.Resubscribe
	create      bool
}

func newTarget(_ context.Context, cfg sdk.Config, _ hclog.Logger) (sdk.Target, error) {
	var c config
	if err := cfg.Decode(&c); err != nil {
		return nil, sdk.InvalidConfig("", "%v", err)
	}
	var wrong []error
	if !httpclient.Printable(c.APIKey) {
		wrong = append(wrong, sdk.InvalidConfig("api_key", "must be a REST API key, without spaces or line ends"))
	}
	if _, err := httpclient.Endpoint(c.BaseURL); err != nil {
		wrong = append(wrong, sdk.InvalidConfig("base_url", "%v; it is the REST endpoint of your instance, such as https://rest.fra-01.braze.eu", err))
	}
	resubscribe, err := policies.Parse(c.Resubscribe)
	if err := errors.Join(append(wrong, err)...); err != nil {
		return nil, err
	}
	t := &target{clients: map[string]*httpclient.Client{}, resubscribe: resubscribe, create: c.Create}
	for _, e := range []endpoint{trackUsers, exportUsers, readGroups, deleteUsers} {
		client, err := httpclient.New(httpclient.Options{
			BaseURL:     c.BaseURL,
			Auth:        httpclient.Bearer(c.APIKey),
			MaxInFlight: maxInFlight,
			Limiter:     rate.NewLimiter(rate.Every(e.in/time.Duration(e.requests)), maxInFlight),
			Quota:       httpclient.Quota{Remaining: "X-RateLimit-Remaining", Reset: "X-RateLimit-Reset"},
			MaxRequest:  maxRequest,
			Classify:    classify,
		})
		if err != nil {
			return nil, sdk.InvalidConfig("base_url", "%v", err)
		}
		t.clients[e.path] = client
	}
	return t, nil
}

// Close frees the connections.
func (t *target) Close() error {
	for _, c := range t.clients {
		c.Close()
	}
	return nil
}

// call makes one exchange. The error is fit for sdk.FromError.
func (t *target) call(ctx context.Context, e endpoint, query url.Values, body any) (*httpclient.Response, error) {
	return t.clients[e.path].Do(ctx, httpclient.Request{Method: e.method, Path: e.path, Query: query, Body: body})
}
