// Package webhook is the plugin that sends every record to an HTTP endpoint: the target for systems of
// one's own and for vendors that have no plugin yet.
package webhook

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
)

// batch is how many records one call brings, and how many of them are sent at once: the same, so that
// every record has the whole of the call's time.
const batch = 24

// maxInFlight is how many such calls come at once.
const maxInFlight = 6

// Plugin describes the target type webhook.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "webhook",
		Version: "1.0.0",
		Doc: "Sends the body of every record as JSON to an HTTP endpoint, with a stable `Idempotency-Key`. " +
			"A 2xx answer delivers it.",
		Config: sdk.Schema{
			Attributes: map[string]sdk.Attribute{
				"url":     {Type: "string", Required: true, Sensitive: true, Doc: "Where to send. `{key}` in the path or the query stands for the record's key, percent-encoded."},
				"method":  {Type: "string", Enum: []string{http.MethodPost, http.MethodPut, http.MethodPatch}, Default: `"POST"`, Doc: "The HTTP method."},
				"headers": {Type: "map(string)", Sensitive: true, Doc: "Headers of every request."},
			},
			Blocks: map[string]sdk.Block{
				"auth": {Doc: "How the endpoint knows us: `token`, or `username` and `password`, or `header` and `value`, or `token_url`, `client_id` and `client_secret`.", Body: sdk.Schema{
					Attributes: map[string]sdk.Attribute{
						"token":    {Type: "string", Sensitive: true, Doc: "Sent as `Authorization: Bearer`."},
						"username": {Type: "string", Doc: "Sent with `password` as `Authorization: Basic`."},
						"password": {Type: "string", Sensitive: true, Doc: "See `username`."},
						"header":   {Type: "string", Doc: "The name of a header that carries `value`."},
						"value":    {Type: "string", Sensitive: true, Doc: "See `header`."},

						"token_url":     {Type: "string", Doc: "Where access tokens are fetched with OAuth 2 client credentials: https, or http to this machine. They are kept until they end, and fetched anew when the endpoint answers 401."},
						"client_id":     {Type: "string", Doc: "Sent to `token_url` in the form."},
						"client_secret": {Type: "string", Sensitive: true, Doc: "Sent to `token_url` in the form."},
						"scope":         {Type: "string", Doc: "What to ask `token_url` for, if it wants to be told."},
					},
				}},
			},
		},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"key":  {Type: "string", Required: true, Doc: "Whom or what the body is about. Sent only where `url` has `{key}`."},
			"body": {Type: "any", Required: true, Doc: "What is sent, nulls and false included."},
		}},
		Limits: sdk.Limits{MaxBatch: batch, MaxInFlight: maxInFlight},
		New:    newTarget,
	}
}

func newTarget(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	var c settings
	if err := cfg.Decode(&c); err != nil {
		return nil, err
	}
	return c.target(log)
}

// record is what a rule renders.
type record struct {
	Key  string
	Body json.RawMessage
}
