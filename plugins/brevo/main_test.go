package brevo_test

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/brevo"
	"github.com/consentd/consentd/plugins/brevo/sim"
	"github.com/consentd/consentd/plugins/internal/vendorspec"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ada = "ada.lovelace@example.org"

type fields = map[string]any

// vendor is Brevo's description of its API, read once.
var vendor = sync.OnceValues(func() (*vendorspec.Spec, error) {
	return vendorspec.Load("brevo/swagger.yaml", sim.BasePath)
})

// exceptions are where the description is known to be wrong or too narrow.
var exceptions = []vendorspec.Exception{
	{
		Error:  `property "metadata" is unsupported`,
		Reason: "the errors of identifiers that are taken name them there, as recorded answers have it",
	},
	{
		Error:  "status is not supported",
		Reason: "the description gives no 401, 402, 403, 429 and 5xx for contacts; Brevo's page on errors does",
	},
	{
		Error:  `property "ext_id" is unsupported`,
		Reason: "the description can write an external id, and does not say that it can be read; newer ones do",
	},
}

// account is a simulated account behind real HTTP. While the vendor's description is at hand, every
// request and every answer is held to it.
type account struct {
	*sim.Server
	URL string

	mu    sync.Mutex
	calls []string // method and path
	sent  []string // bodies
}

func newAccount(t *testing.T, except ...vendorspec.Exception) *account {
	t.Helper()
	a := &account{Server: sim.New(nil)}
	handler := vendorspec.Held(t, vendor, a.Server, append(except, exceptions...)...)
	a.URL = plugintest.Serve(t, plugintest.Tap(handler, func(r *http.Request, body []byte) {
		a.mu.Lock()
		a.calls = append(a.calls, r.Method+" "+r.URL.Path)
		if len(body) > 0 {
			a.sent = append(a.sent, string(body))
		}
		a.mu.Unlock()
	}))
	return a
}

// The description has to be there where CI says so.
func TestDescription(t *testing.T) { vendorspec.Need(t, vendor) }

// writes returns the bodies that were sent since the last call of it, and forgets the calls with them.
func (a *account) writes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	sent := a.sent
	a.sent, a.calls = nil, nil
	return sent
}

// count is how many calls there were since the last writes whose method and path hold the part.
func (a *account) count(part string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, c := range a.calls {
		if strings.Contains(c, part) {
			n++
		}
	}
	return n
}

// target makes one for the account; set overrides the configuration.
func (a *account) target(t *testing.T, set fields) sdk.Target {
	t.Helper()
	config := fields{"api_key": sim.APIKey, "base_url": a.URL + sim.BasePath}
	maps.Copy(config, set)
	return plugintest.Target(t, brevo.Plugin(), config)
}

// want delivers one record, compares kind and code, and holds the outcome to what every one must be.
func want(t *testing.T, target sdk.Target, kind sdk.Kind, code string, content fields) sdk.Outcome {
	t.Helper()
	o := target.Deliver(t.Context(), []sdk.Record{plugintest.Record(t, content)})[0]
	email, _ := content["email"].(string)
	if email != "" && strings.Contains(strings.ToLower(o.Message+o.Code+o.Reference), strings.ToLower(email)) {
		t.Errorf("the outcome holds the address: %+v", o)
	}
	if !o.Kind.Done() && (o.Code == "" || o.Message == "") {
		t.Errorf("the outcome does not say what is wrong: %+v", o)
	}
	if o.Kind != kind || o.Code != code {
		t.Fatalf("outcome of %v is %v %q (%s), want %v %q", content, o.Kind, o.Code, o.Message, kind, code)
	}
	return o
}

func newTarget(t *testing.T, config fields) (sdk.Target, error) {
	t.Helper()
	return plugintest.New(t, brevo.Plugin(), config)
}
