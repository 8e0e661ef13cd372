package webhook

import (
	"context"
	"net/http"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// target sends to one endpoint.
type target struct {
	endpoint endpoint
	method   string
	client   *httpclient.Client
}

func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, batch, t.deliver)
}

func (t *target) deliver(ctx context.Context, r sdk.Record) sdk.Outcome {
	var fields record
	if err := r.Decode(&fields); err != nil || len(fields.Body) == 0 {
		return sdk.Rejected("INVALID_RECORD", "the record has no body, or its key is not a string")
	}
	path, err := t.endpoint.of(fields.Key)
	if err != nil {
		return sdk.Rejected("INVALID_KEY", "%v", err)
	}
	res, err := t.client.Do(ctx, httpclient.Request{
		Method: t.method,
		Path:   path,
		// With this, net/http sends again by itself when the endpoint had closed the idle connection.
		Header: http.Header{"Idempotency-Key": {r.ID}},
		Body:   fields.Body,
	})
	if err != nil {
		return sdk.FromError(err)
	}
	return res.Outcome()
}

// classify sees to it that an answer which says that the endpoint is not what the configuration takes it
// for pauses the target: no record is to blame.
func (e endpoint) classify(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	switch status := res.Status; {
	case status >= 300 && status < 400:
		return sdk.Unauthorized(o.Code, "the endpoint redirects, which is not followed: write the final address as url")
	case status == http.StatusMethodNotAllowed, status == http.StatusUnsupportedMediaType,
		(status == http.StatusNotFound || status == http.StatusGone) && !e.hasKey():
		o.Kind = sdk.KindUnauthorized
	}
	return o
}

func (t *target) Close() error {
	t.client.Close()
	return nil
}
