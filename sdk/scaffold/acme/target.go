package main

import (
	"context"
	"net/http"
	"net/url"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// atOnce is how many calls the vendor may get at the same time.
const atOnce = 8

// plugin says what a target block and a rule may hold. consentd checks both before anything comes here.
func plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "acme",
		Version: "0.1.0",
		Doc:     "Keeps the people of Acme.",
		Config: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"base_url": {Type: "string", Required: true, Doc: "Where the API is."},
			"token":    {Type: "string", Required: true, Sensitive: true, Doc: "The API token."},
		}},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"email":      {Type: "string", Required: true, Doc: "Who it is about."},
			"newsletter": {Type: "bool", Doc: "Whether they may get the newsletter."},
		}},
		Limits: sdk.Limits{MaxBatch: atOnce, MaxInFlight: 1},
		New:    newTarget,
	}
}

// target is one target block.
type target struct{ client *httpclient.Client }

// newTarget gets a configuration that fits the schema, and says what a schema cannot: an empty token, an
// address that is none. It calls nobody.
func newTarget(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	var c struct {
		BaseURL string `json:"base_url"`
		Token   string `json:"token"`
	}
	if err := cfg.Decode(&c); err != nil {
		return nil, err
	}
	if !httpclient.Printable(c.Token) {
		return nil, sdk.InvalidConfig("token", "must be the API token, without spaces and line ends")
	}
	if _, err := httpclient.Endpoint(c.BaseURL); err != nil {
		return nil, sdk.InvalidConfig("base_url", "%v", err)
	}
	client, err := httpclient.New(httpclient.Options{BaseURL: c.BaseURL, Auth: httpclient.Bearer(c.Token), MaxInFlight: atOnce, Log: log})
	if err != nil {
		return nil, sdk.InvalidConfig("base_url", "%v", err)
	}
	return &target{client}, nil
}

// Deliver gets up to MaxBatch people and answers for each of them.
func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, atOnce, t.deliver)
}

// deliver makes one call, for one person. It does not retry and does not look at what was sent before: consentd
// does. Put your vendor's call here.
func (t *target) deliver(ctx context.Context, r sdk.Record) sdk.Outcome {
	var person struct{ Email string }
	if err := r.Decode(&person); err != nil || person.Email == "" {
		return sdk.Rejected("INVALID_RECORD", "email is missing")
	}
	res, err := t.client.Do(ctx, httpclient.Request{
		Method: http.MethodPatch,
		Path:   "/people/" + url.PathEscape(person.Email),
		// The fields as the rule rendered them: a null clears, what is absent is left alone, false is false.
		Body: r.Fields,
	})
	if err != nil {
		return sdk.FromError(err) // no answer: consentd tries again
	}
	if !res.OK() {
		return res.Outcome() // what the status says; see httpclient.Options.Classify where the vendor means another thing
	}
	var answer struct{ ID string }
	if err := res.Decode(&answer); err != nil {
		return sdk.FromError(err) // 200 and a page of HTML is no confirmation
	}
	return sdk.Delivered(answer.ID)
}

// Close comes after the last Deliver.
func (t *target) Close() error {
	t.client.Close()
	return nil
}
