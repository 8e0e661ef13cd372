package klaviyo

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/internal/vendorspec"
	"github.com/consentd/consentd/plugins/klaviyo/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ada = "ada.lovelace@example.org"
	bob = "bob@example.org"
)

// vendor is Klaviyo's description of its API, read once: a part for each beginning of a path.
var vendor = sync.OnceValues(func() (map[string]*vendorspec.Spec, error) {
	parts := map[string]*vendorspec.Spec{}
	for begins, file := range map[string]string{"": "profiles", "/api/lists": "lists", "/api/data-privacy": "data_privacy"} {
		spec, err := vendorspec.Load("klaviyo/"+file+".json", "/")
		if err != nil {
			return nil, err
		}
		parts[begins] = spec
	}
	return parts, nil
})

// exceptions are where the description is known to be wrong or too narrow.
var exceptions = []vendorspec.Exception{
	{
		Error:  `property "status" is unsupported`,
		Reason: "an error carries its HTTP status, as the guide to errors and recorded answers show; the description leaves it out",
	},
}

// exchange is one request as the vendor got it.
type exchange struct {
	Method, Path string
	Body         string
}

// account is a simulated account behind real HTTP. While the vendor's description is at hand, every
// request and every answer is held to it.
type account struct {
	*sim.Server
	URL string

	mu        sync.Mutex
	exchanges []exchange
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{Server: sim.New(nil)}
	held := map[string]http.Handler{"": a.Server}
	switch parts, err := vendor(); {
	case err == nil:
		for begins, spec := range parts {
			held[begins] = spec.Hold(t, a.Server, exceptions...)
		}
	case !errors.Is(err, vendorspec.ErrAbsent):
		t.Fatal(err)
	}
	route := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := held[""]
		if r.URL.Path == "/oauth/token" {
			handler = a.Server // signing in is not part of the description
		}
		for begins, part := range held {
			if begins != "" && strings.HasPrefix(r.URL.Path, begins) {
				handler = part
			}
		}
		handler.ServeHTTP(w, r)
	})
	a.URL = plugintest.Serve(t, plugintest.Tap(route, func(r *http.Request, body []byte) {
		a.mu.Lock()
		a.exchanges = append(a.exchanges, exchange{r.Method, strings.TrimPrefix(r.URL.Path, sim.BasePath), string(body)})
		a.mu.Unlock()
	}))
	return a
}

// TestDescription makes a run without the description visible, and fails it where it must not be.
func TestDescription(t *testing.T) {
	vendorspec.Need(t, func() (*vendorspec.Spec, error) {
		parts, err := vendor()
		return parts[""], err
	})
}

// calls returns what was sent since the last call of it, as "METHOD path", reads left out.
func (a *account) calls() []exchange {
	a.mu.Lock()
	defer a.mu.Unlock()
	var writes []exchange
	for _, e := range a.exchanges {
		if e.Method != http.MethodGet {
			writes = append(writes, e)
		}
	}
	a.exchanges = nil
	return writes
}

type fields = map[string]any

// target makes one for the account; set overrides the configuration.
func (a *account) target(t *testing.T, set fields) *target {
	t.Helper()
	config := fields{"api_key": sim.APIKey, "base_url": a.URL + sim.BasePath}
	maps.Copy(config, set)
	made, err := plugintest.New(t, Plugin(), config)
	if err != nil {
		t.Fatal(err)
	}
	target := made.(*target)
	target.waits = []time.Duration{time.Millisecond, 10 * time.Millisecond}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	})
	return target
}

func (target *target) deliverAll(t *testing.T, contents ...fields) []sdk.Outcome {
	t.Helper()
	var records []sdk.Record
	for _, content := range contents {
		records = append(records, plugintest.Record(t, content))
	}
	outcomes := target.Deliver(t.Context(), records)
	if len(outcomes) != len(contents) {
		t.Fatalf("%d outcomes for %d records", len(outcomes), len(contents))
	}
	for i, o := range outcomes {
		for _, name := range []string{"email", "phone_number"} {
			if is, _ := contents[i][name].(string); is != "" && strings.Contains(strings.ToLower(o.Message+o.Code+o.Reference), strings.ToLower(is)) {
				t.Errorf("the outcome holds the %s: %+v", name, o)
			}
		}
		if !o.Kind.Done() && (o.Code == "" || o.Message == "") {
			t.Errorf("the outcome does not say what is wrong: %+v", o)
		}
	}
	return outcomes
}

// want delivers one record and compares kind and code.
func want(t *testing.T, target *target, kind sdk.Kind, code string, content fields) sdk.Outcome {
	t.Helper()
	o := target.deliverAll(t, content)[0]
	if o.Kind != kind || o.Code != code {
		t.Fatalf("outcome of %v is %v %q (%s), want %v %q", content, o.Kind, o.Code, o.Message, kind, code)
	}
	return o
}

// held is the profile with an identifier, which must be there.
func (a *account) held(t *testing.T, identifier string) sim.Profile {
	t.Helper()
	p, found := a.Profile(identifier)
	if !found {
		t.Fatal("nobody is held")
	}
	return p
}
