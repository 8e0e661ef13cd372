package sdk_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/sdktest"
)

// people is a fake of Acme.
type people struct {
	mu   sync.Mutex
	held map[string]map[string]any
}

func (p *people) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var fields map[string]any
	email := strings.TrimPrefix(r.URL.Path, "/people/")
	if json.NewDecoder(r.Body).Decode(&fields) != nil || !strings.Contains(email, "@") {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := maps.Clone(p.held[email])
	if now == nil {
		now = map[string]any{}
	}
	maps.Copy(now, fields)
	p.held[email] = now
}

func (p *people) state() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.held)
}

// The plugin of the package comment keeps what the comment asks for.
func TestTaughtPlugin(t *testing.T) {
	with := func(person string, more map[string]any) map[string]any {
		more["email"] = person + "@example.com"
		return more
	}
	sdktest.Run(t, sdktest.Suite{
		Plugin: acme,
		Config: map[string]any{"base_url": sdktest.URL, "token": "s3cret-token"},
		Vendor: func(string) sdktest.Vendor {
			fake := &people{held: map[string]map[string]any{}}
			return sdktest.Vendor{Handler: fake, State: fake.state}
		},
		Record: func(person string, allowed bool) map[string]any {
			return with(person, map[string]any{"newsletter": allowed})
		},
		Rejected: func(person string) map[string]any { return map[string]any{"email": person} },
		Presence: func(person string) sdktest.Presence {
			return sdktest.Presence{
				Set:    with(person, map[string]any{"newsletter": true}),
				Null:   with(person, map[string]any{"newsletter": nil}),
				Absent: with(person, map[string]any{}),
				False:  with(person, map[string]any{"newsletter": false}),
			}
		},
		// Acme answers with a status alone.
		Failures: map[string]sdk.Kind{"http/not-json": sdk.KindDelivered},
	})
}

// The plugin of the package comment is the one that is tested.
func TestCommentIsTheExample(t *testing.T) {
	comment, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(comment), "//\tfunc Plugin() sdk.Plugin {\n")
	code, _, found := strings.Cut(code, "//\n// Build it")
	if !found {
		t.Fatal("the package comment has no plugin")
	}
	code = strings.ReplaceAll(code, "//\t", "")
	for part := range strings.SplitSeq(code, "//\n") {
		if !strings.Contains(string(example), part) {
			t.Errorf("the example does not have what the package comment says:\n%s", part)
		}
	}
}
