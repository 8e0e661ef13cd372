// Package httpclient is the edge between a plugin and its vendor's HTTP API: one exchange, with a
// bounded answer, no redirect, no retry, and errors that hold neither an address nor a person. It is
// apart from package sdk because a target need not speak HTTP.
package httpclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/consentd/consentd/sdk"
)

// MaxBody is the largest answer that is read, in bytes. A longer one is an error.
const MaxBody = 16 << 20

// Client speaks to one vendor. It is safe for concurrent use.
type Client struct {
	base *url.URL
	http *http.Client
	// Authorize puts the credentials on a request. It may be nil.
	Authorize func(ctx context.Context, req *http.Request) error
	// Header is put on every request.
	Header http.Header
}

// New makes a client for the API below base, an absolute http or https URL.
func New(base string, maxConnections int) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(base, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("must be an absolute http or https URL")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxConnsPerHost = maxConnections
	transport.MaxIdleConnsPerHost = max(maxConnections, 1)
	transport.ResponseHeaderTimeout = 2 * time.Minute
	return &Client{
		base: u,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Header: http.Header{},
	}, nil
}

// Response is a whole answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// OK is whether the status is 2xx.
func (r *Response) OK() bool { return r.Status >= 200 && r.Status < 300 }

// Decode reads the body as JSON into v; numbers that land in an any are json.Number.
func (r *Response) Decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return errors.New("the vendor's answer is not the JSON it should be")
	}
	return nil
}

// Outcome classifies by status alone, with sdk.FromResponse.
func (r *Response) Outcome() sdk.Outcome { return sdk.FromResponse(r.Status, r.Header) }

// Do makes one exchange. The path is appended to the base and must be escaped already. A []byte body
// is sent as it is, url.Values as a form, nil as no body, everything else as JSON. Header values given
// replace the client's. The error is fit for sdk.FromError.
func (c *Client) Do(ctx context.Context, method, path string, body any, header http.Header) (*Response, error) {
	var reader io.Reader
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
		contentType = ""
	case []byte:
		reader = bytes.NewReader(b)
	case url.Values:
		reader, contentType = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, reader)
	if err != nil {
		return nil, errors.New("build request: malformed method or path")
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/json")
	for _, h := range []http.Header{c.Header, header} {
		for name, values := range h {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if c.Authorize != nil {
		if err := c.Authorize(ctx, req); err != nil {
			return nil, err
		}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, &exchangeError{err}
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, MaxBody+1))
	if err != nil {
		return nil, &exchangeError{err}
	}
	if len(data) > MaxBody {
		return nil, fmt.Errorf("read answer: longer than %d bytes", MaxBody)
	}
	return &Response{Status: res.StatusCode, Header: res.Header, Body: data}, nil
}

// exchangeError is an error of net/http without the address that its text holds.
type exchangeError struct{ err error }

func (e *exchangeError) Error() string { return sdk.FromError(e.err).Message }

func (e *exchangeError) Unwrap() error { return e.err }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
