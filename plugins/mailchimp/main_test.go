package mailchimp_test

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/internal/vendorspec"
	"github.com/consentd/consentd/plugins/mailchimp"
	"github.com/consentd/consentd/plugins/mailchimp/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ada = "ada.lovelace@example.org"

// vendor is Mailchimp's description of its API, read once.
var vendor = sync.OnceValues(func() (*vendorspec.Spec, error) {
	return vendorspec.Load("mailchimp/marketing-3.0.55-trimmed.json", sim.BasePath)
})

// exceptions are where the description is known to be wrong or too narrow.
var exceptions = []vendorspec.Exception{
	{
		Error:  `property "errors" is unsupported`,
		Reason: "the problem document lacks the errors array, which recorded answers to invalid merge fields have",
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
	// beforeWrite, if set, runs once, before the next request that writes is handled.
	beforeWrite func()

	mu        sync.Mutex
	exchanges []exchange
}

func newAccount(t *testing.T, except ...vendorspec.Exception) *account {
	t.Helper()
	a := &account{Server: sim.New(nil)}
	handler := vendorspec.Held(t, vendor, a.Server, append(except, exceptions...)...)
	a.URL = plugintest.Serve(t, plugintest.Tap(handler, func(r *http.Request, body []byte) {
		a.mu.Lock()
		a.exchanges = append(a.exchanges, exchange{r.Method, strings.TrimPrefix(r.URL.Path, sim.BasePath), string(body)})
		var before func()
		if r.Method != http.MethodGet {
			before, a.beforeWrite = a.beforeWrite, nil
		}
		a.mu.Unlock()
		if before != nil {
			before()
		}
	}))
	return a
}

// writes returns what was sent since the last call of it, reads left out.
func (a *account) writes() []exchange {
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
func (a *account) target(t *testing.T, set fields) sdk.Target {
	t.Helper()
	config := fields{"api_key": sim.APIKey, "list_id": sim.ListID, "base_url": a.URL + sim.BasePath}
	maps.Copy(config, set)
	return plugintest.Target(t, mailchimp.Plugin(), config)
}

// deliver delivers one record and holds its outcome to what every outcome must be.
func deliver(t *testing.T, target sdk.Target, content fields) sdk.Outcome {
	t.Helper()
	outcomes := target.Deliver(t.Context(), []sdk.Record{plugintest.Record(t, content)})
	if len(outcomes) != 1 {
		t.Fatalf("%d outcomes for one record", len(outcomes))
	}
	o := outcomes[0]
	if email, _ := content["email"].(string); email != "" && strings.Contains(strings.ToLower(o.Message+o.Code+o.Reference), strings.ToLower(email)) {
		t.Errorf("the outcome holds the address: %+v", o)
	}
	if !o.Kind.Done() && (o.Code == "" || o.Message == "") {
		t.Errorf("the outcome does not say what is wrong: %+v", o)
	}
	return o
}

// want delivers one record and compares kind and code.
func want(t *testing.T, target sdk.Target, kind sdk.Kind, code string, content fields) sdk.Outcome {
	t.Helper()
	o := deliver(t, target, content)
	if o.Kind != kind || o.Code != code {
		t.Fatalf("outcome of %v is %v %q (%s), want %v %q", content, o.Kind, o.Code, o.Message, kind, code)
	}
	return o
}

func (a *account) wantStatus(t *testing.T, email, status string) sim.Member {
	t.Helper()
	m, found := a.Member(email)
	switch {
	case !found && status != "":
		t.Fatalf("nobody is held, want %s", status)
	case m.Status != status:
		t.Fatalf("held as %q, want %q (history %v)", m.Status, status, m.History)
	}
	return m
}

func newTarget(t *testing.T, config fields) (sdk.Target, error) {
	t.Helper()
	return plugintest.New(t, mailchimp.Plugin(), config)
}
