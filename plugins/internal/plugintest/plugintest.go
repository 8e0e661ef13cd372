// Package plugintest is what the tests of every vendor plugin need: records and targets from plain Go values,
// and the simulator behind real HTTP with an ear at it. Only tests import it.
package plugintest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
)

// Encode is a value as JSON.
func Encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Record is a record with these fields.
func Record(t testing.TB, fields map[string]any) sdk.Record {
	t.Helper()
	return sdk.Record{ID: "r1", Fields: Encode(t, fields)}
}

// New makes a target as the host does. It is the caller's to close.
func New(t testing.TB, p sdk.Plugin, config map[string]any) (sdk.Target, error) {
	t.Helper()
	return p.New(t.Context(), sdk.Config{Target: "crm", Fields: Encode(t, config)}, hclog.NewNullLogger())
}

// Target makes a target and closes it when the test ends, both without an error.
func Target(t testing.TB, p sdk.Plugin, config map[string]any) sdk.Target {
	t.Helper()
	target, err := New(t, p, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.(sdk.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return target
}

// Serve serves a handler until the test ends, and returns its URL.
func Serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// Tap tells of every request, with its body, before it is served. The handler can read the body all the same.
func Tap(h http.Handler, hear func(r *http.Request, body []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		hear(r, body)
		h.ServeHTTP(w, r)
	}
}
