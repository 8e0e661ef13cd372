package admin

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"time"
)

// inProcess makes a client that calls the handler itself, for whoever sent a request: with a token, or as they came.
// It may do what they may and nothing else. Contexts of its calls are to be those of the request.
func inProcess(h http.Handler, from *http.Request, token string) *Client {
	return &Client{base: "http://localhost", place: "consentd", token: token, http: &http.Client{
		Timeout: time.Minute, Transport: direct{h, from.TLS, from.RemoteAddr},
	}}
}

type direct struct {
	handler http.Handler
	tls     *tls.ConnectionState
	remote  string
}

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.TLS, in.RemoteAddr = d.tls, d.remote
	if in.Body == nil {
		in.Body = http.NoBody
	}
	a := &recorded{header: http.Header{}, status: http.StatusOK}
	d.handler.ServeHTTP(a, in)
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *recorded) Header() http.Header         { return a.header }
func (a *recorded) WriteHeader(status int)      { a.status = status }
func (a *recorded) Write(p []byte) (int, error) { return a.body.Write(p) }
