// Package brevo is the target type of Brevo: contacts with their attributes, the lists they are on, and
// whether they may get e-mail and SMS campaigns. Its simulator is package sim. It is apart from the other
// plugins because each vendor's API, errors and words are its own.
//
// Brevo's own description of the API is the source of what is sent and read. What it does not say (which
// list is unknown, whose address is taken) is noted where it is used.
package brevo

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	// maxInFlight is ours. Brevo counts calls a second: ten to contacts, more in the larger plans, and its
	// headers say how many are left.
	maxInFlight = 8
	defaultBase = "https://api.brevo.com/v3"
)

// Plugin is the target type "brevo".
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "brevo",
		Version: "1.0.0",
		Doc:     pluginDoc,
		Config:  configSchema(),
		Record:  recordSchema(),
		// One record a call. The calls for many tell of none of them what became of it.
		Limits: sdk.Limits{MaxBatch: 1, MaxInFlight: maxInFlight},
		New:    newTarget,
	}
}

type target struct {
	client      *httpclient.Client
	resubscribe subscriber.Resubscribe
	create      bool

	mu         sync.Mutex
	attributes map[string]bool // the account's, as far as they are known
}

func newTarget(_ context.Context, cfg sdk.Config, _ hclog.Logger) (sdk.Target, error) {
	var c struct {
		APIKey      string `json:"api_key"`
		BaseURL     string `json:"base_url"`
		Resubscribe string `json:"resubscribe"`
		Create      bool   `json:"create"`
	}
	if err := cfg.Decode(&c); err != nil {
		return nil, sdk.InvalidConfig("", "%v", err)
	}
	var wrong []error
	if !httpclient.Printable(c.APIKey) {
		wrong = append(wrong, sdk.InvalidConfig("api_key", "must be an API key (xkeysib-...), without spaces or line ends"))
	}
	base := cmp.Or(c.BaseURL, defaultBase)
	if _, err := httpclient.Endpoint(base); err != nil {
		wrong = append(wrong, sdk.InvalidConfig("base_url", "%v", err))
	}
	resubscribe, err := policies.Parse(c.Resubscribe)
	if err := errors.Join(append(wrong, err)...); err != nil {
		return nil, err
	}
	client, err := httpclient.New(httpclient.Options{
		BaseURL:     base,
		Auth:        httpclient.APIKey("api-key", c.APIKey),
		MaxInFlight: maxInFlight,
		Quota:       httpclient.Quota{Remaining: "x-sib-ratelimit-remaining", Reset: "x-sib-ratelimit-reset"},
		Classify:    classify,
	})
	if err != nil {
		return nil, sdk.InvalidConfig("base_url", "%v", err)
	}
	return &target{client: client, resubscribe: resubscribe, create: c.Create}, nil
}

// Close frees the connections.
func (t *target) Close() error {
	t.client.Close()
	return nil
}

// call makes one exchange. The error, if the answer is none of success, is fit for sdk.FromError.
func (t *target) call(ctx context.Context, method, path string, body any) (*httpclient.Response, error) {
	res, err := t.client.Do(ctx, httpclient.Request{Method: method, Path: path, Body: body})
	if err != nil {
		return nil, err
	}
	return res, res.Err()
}

// knows is whether the account has the attributes that a record names: Brevo ignores the others in
// silence. The list is read again only for a name that was not on it.
func (t *target) knows(ctx context.Context, rec record) error {
	t.mu.Lock()
	known := t.attributes
	t.mu.Unlock()
	if len(missing(rec, known)) == 0 {
		return nil
	}
	res, err := t.call(ctx, http.MethodGet, "/contacts/attributes", nil)
	if err != nil {
		return err
	}
	var answer struct {
		Attributes []struct {
			Name string `json:"name"`
		} `json:"attributes"`
	}
	if res.Decode(&answer) != nil || answer.Attributes == nil {
		return unexpected().Err()
	}
	known = map[string]bool{}
	for _, a := range answer.Attributes {
		known[a.Name] = true
	}
	t.mu.Lock()
	t.attributes = known
	t.mu.Unlock()
	if names := missing(rec, known); len(names) > 0 {
		return sdk.Unauthorized("UNKNOWN_ATTRIBUTE", "the account has no contact attribute by this name: %s", httpclient.Words(names)).Err()
	}
	return nil
}
