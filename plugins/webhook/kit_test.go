package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/consentd/consentd/plugins/webhook/sim"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Run(t, sdktest.Suite{
		Plugin: Plugin,
		Config: map[string]any{
			"url":     sdktest.URL + "/people/{key}",
			"method":  http.MethodPut,
			"headers": map[string]any{"X-Api-Key": "kit-header-secret"},
			"auth":    map[string]any{"token": "kit-webhook-token"},
		},
		Vendor: func(string) sdktest.Vendor {
			fake := &receiver{Server: sim.New(nil), paths: map[string]bool{}}
			return sdktest.Vendor{Handler: fake, State: fake.state}
		},
		Record: func(person string, allowed bool) map[string]any {
			return map[string]any{"key": person, "body": map[string]any{"email": person + "@example.com", "newsletter": allowed}}
		},
		Rejected: func(person string) map[string]any {
			return map[string]any{"key": "..", "body": map[string]any{"who": person}}
		},
		Presence: func(person string) sdktest.Presence {
			with := func(body map[string]any) map[string]any { return map[string]any{"key": person, "body": body} }
			return sdktest.Presence{
				Set:    with(map[string]any{"newsletter": true}),
				Null:   with(map[string]any{"newsletter": nil}),
				Absent: with(map[string]any{}),
				False:  with(map[string]any{"newsletter": false}),
			}
		},
		WrongConfig: map[string]any{
			"url":              "ftp://example.com",
			"headers.Host":     "elsewhere",
			"auth.username":    "both",
			"headers.X-Broken": "a\nb",
		},
		// What a receiver writes is never read: its status is the answer.
		Failures: map[string]sdk.Kind{"http/truncated": sdk.KindDelivered, "http/not-json": sdk.KindDelivered},
	})
}

// receiver is the simulator, and remembers which paths there were.
type receiver struct {
	*sim.Server
	mu    sync.Mutex
	paths map[string]bool
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.paths[req.URL.EscapedPath()] = true
	r.mu.Unlock()
	r.Server.ServeHTTP(w, req)
}

func (r *receiver) state() any {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := map[string]any{}
	for path := range r.paths {
		var body any
		if err := json.Unmarshal([]byte(r.Last(path)), &body); err != nil {
			body = err.Error()
		}
		held[strings.TrimPrefix(path, "/people/")] = body
	}
	return held
}
