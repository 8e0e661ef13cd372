package hubspot_test

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/hubspot"
	"github.com/consentd/consentd/plugins/hubspot/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ada  = "ada.lovelace@example.org"
	news = "39644612"
	id   = 39644612
)

type fields = map[string]any

// account is a simulated account behind real HTTP. It keeps what was sent.
//
// HubSpot's description of its API, as far as it is at hand, is of v3 of the subscription preferences,
// which the plugin does not use: v3 cannot tell who opted out from who never said anything. So here no
// call is held to a description.
type account struct {
	*sim.Server
	URL string

	mu    sync.Mutex
	calls []string // method and path
	sent  []string // bodies of calls that write
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{Server: sim.New(nil)}
	a.URL = plugintest.Serve(t, plugintest.Tap(a, func(r *http.Request, body []byte) {
		a.mu.Lock()
		a.calls = append(a.calls, r.Method+" "+r.URL.Path)
		if r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/read") {
			a.sent = append(a.sent, string(body))
		}
		a.mu.Unlock()
	}))
	return a
}

// writes returns the bodies that were sent since the last call of it, and calls forgets with them.
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
	config := fields{"access_token": sim.AccessToken, "base_url": a.URL}
	maps.Copy(config, set)
	return plugintest.Target(t, hubspot.Plugin(), config)
}

// deliverAll delivers records in one call and holds their outcomes to what every outcome must be.
func deliverAll(t *testing.T, target sdk.Target, contents ...fields) []sdk.Outcome {
	t.Helper()
	var records []sdk.Record
	for _, c := range contents {
		records = append(records, plugintest.Record(t, c))
	}
	outcomes := target.Deliver(t.Context(), records)
	if len(outcomes) != len(records) {
		t.Fatalf("%d outcomes for %d records", len(outcomes), len(records))
	}
	for i, o := range outcomes {
		email, _ := contents[i]["email"].(string)
		if email != "" && strings.Contains(strings.ToLower(o.Message+o.Code+o.Reference), strings.ToLower(email)) {
			t.Errorf("the outcome holds the address: %+v", o)
		}
		if !o.Kind.Done() && (o.Code == "" || o.Message == "") {
			t.Errorf("the outcome does not say what is wrong: %+v", o)
		}
	}
	return outcomes
}

// want delivers one record and compares kind and code.
func want(t *testing.T, target sdk.Target, kind sdk.Kind, code string, content fields) sdk.Outcome {
	t.Helper()
	o := deliverAll(t, target, content)[0]
	if o.Kind != kind || o.Code != code {
		t.Fatalf("outcome of %v is %v %q (%s), want %v %q", content, o.Kind, o.Code, o.Message, kind, code)
	}
	return o
}

func (a *account) wantState(t *testing.T, email, state string) {
	t.Helper()
	if got := a.Subscription(email, id).State; got != state {
		t.Fatalf("the subscription is %s, want %s", got, state)
	}
}

// subscription is a record with one subscription.
func subscription(email string, state any) fields {
	return fields{"email": email, "subscriptions": fields{news: state}}
}

func newTarget(t *testing.T, config fields) (sdk.Target, error) {
	t.Helper()
	return plugintest.New(t, hubspot.Plugin(), config)
}
