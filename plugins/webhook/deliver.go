package webhook

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/consentd/consentd/sdk"
)

// maxDrain is how much of an answer is read so that its connection can be used again. What a longer one
// says is of no interest, and opening a connection costs less than reading on.
const maxDrain = 256 << 10

// target sends to one endpoint. It goes below sdk/httpclient, which reads answers that nobody needs
// here and builds each URL anew.
type target struct {
	endpoint  endpoint
	method    string
	header    http.Header // of every request; never changed
	transport *http.Transport
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = 256 // more than there can be at once: no connection is made twice
	t.DisableCompression = true // no answer is read
	t.ResponseHeaderTimeout = 2 * time.Minute
	t.WriteBufferSize = 8 << 10 // a usual request in one write
	return t
}

func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, batch, t.deliver)
}

func (t *target) deliver(ctx context.Context, r sdk.Record) sdk.Outcome {
	var fields record
	if err := r.Decode(&fields); err != nil || len(fields.Body) == 0 {
		return sdk.Rejected("INVALID_RECORD", "the record has no body, or its key is not a string")
	}
	at, err := t.endpoint.of(fields.Key)
	if err != nil {
		return sdk.Rejected("INVALID_KEY", "%v", err)
	}
	header := maps.Clone(t.header)
	header["Idempotency-Key"] = []string{r.ID}
	req := &http.Request{
		Method: t.method, URL: at, Host: at.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(fields.Body)),
		Body:          io.NopCloser(bytes.NewReader(fields.Body)),
		// With this and the Idempotency-Key, net/http sends again by itself when the endpoint had closed
		// the idle connection.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(fields.Body)), nil },
	}
	// The transport, unlike a client, follows no redirect and knows no cookie.
	res, err := t.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return sdk.FromError(err)
	}
	io.CopyN(io.Discard, res.Body, maxDrain)
	res.Body.Close()
	return t.outcome(res)
}

// outcome reads the answer's status. One that says that the endpoint is not what the configuration
// takes it for pauses the target: no record is to blame.
func (t *target) outcome(res *http.Response) sdk.Outcome {
	o := sdk.FromResponse(res.StatusCode, res.Header)
	switch status := res.StatusCode; {
	case status >= 300 && status < 400:
		return sdk.Unauthorized(o.Code, "the endpoint redirects, which is not followed: write the final address as url")
	case status == http.StatusMethodNotAllowed, status == http.StatusUnsupportedMediaType,
		(status == http.StatusNotFound || status == http.StatusGone) && t.endpoint.fixed != nil:
		o.Kind = sdk.KindUnauthorized
	}
	return o
}

func (t *target) Close() error {
	t.transport.CloseIdleConnections()
	return nil
}
