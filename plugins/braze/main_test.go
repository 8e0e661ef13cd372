package braze_test

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/braze"
	"github.com/consentd/consentd/plugins/braze/sim"
	"github.com/consentd/consentd/plugins/internal/vendorspec"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ada  = "ada.lovelace@example.org"
	news = "504e09e6-ffa4-4b31-96c3-c05d50d903cf"
	jazz = "0e7a1c58-6a0b-4a6e-8a35-0d8f2b7b1c11"
)

// vendor is Braze's description of its API, read once.
var vendor = sync.OnceValues(func() (*vendorspec.Spec, error) { return vendorspec.Load("braze/openapi.json", "") })

// exceptions are where the description is known to be wrong or too narrow. Attributes objects, and all
// answers that are a success, are open objects in it: of those it checks no names.
var exceptions = []vendorspec.Exception{
	{
		Error:  `/errors/0: value must be a string`,
		Reason: "a refused call of /users/track has objects with type, input_array and index, by recorded answers",
	},
	{
		Error:  `query parameter "external_id[]" is not described`,
		Reason: "the description's own text has the example external_id[]=1&external_id[]=2, its parameters one value only",
	},
	{
		Error:  `query parameter "email[]" is not described`,
		Reason: "email can be passed as an array of strings with a maximum of 50, says the description's text",
	},
	{
		Error:  `query parameter "phone[]" is not described`,
		Reason: "up to 50 telephone numbers, says the description's text",
	},
}

// exchange is one request as the vendor got it.
type exchange struct{ path, query, body string }

// workspace is a simulated workspace behind real HTTP. While the vendor's description is at hand, every
// request and every answer is held to it.
type workspace struct {
	*sim.Server
	URL string

	mu        sync.Mutex
	exchanges []exchange
}

func newWorkspace(t *testing.T, except ...vendorspec.Exception) *workspace {
	t.Helper()
	w := &workspace{Server: sim.New(nil)}
	handler := vendorspec.Held(t, vendor, w.Server, append(except, exceptions...)...)
	w.URL = plugintest.Serve(t, plugintest.Tap(handler, func(r *http.Request, body []byte) {
		w.mu.Lock()
		w.exchanges = append(w.exchanges, exchange{r.URL.Path, r.URL.RawQuery, string(body)})
		w.mu.Unlock()
	}))
	return w
}

// calls returns what was sent to a path since the last call of it.
func (w *workspace) calls(path string) []exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found, others []exchange
	for _, e := range w.exchanges {
		if e.path == path {
			found = append(found, e)
		} else {
			others = append(others, e)
		}
	}
	w.exchanges = others
	return found
}

type fields = map[string]any

// target makes one for the workspace; set overrides the configuration.
func (w *workspace) target(t *testing.T, set fields) sdk.Target {
	t.Helper()
	config := fields{"api_key": sim.APIKey, "base_url": w.URL}
	maps.Copy(config, set)
	return plugintest.Target(t, braze.Plugin(), config)
}

// deliver delivers records and holds each outcome to what every outcome must be.
func deliver(t *testing.T, target sdk.Target, contents ...fields) []sdk.Outcome {
	t.Helper()
	var records []sdk.Record
	for _, c := range contents {
		records = append(records, plugintest.Record(t, c))
	}
	outcomes := target.Deliver(t.Context(), records)
	if len(outcomes) != len(records) {
		t.Fatalf("%d outcomes for %d records", len(outcomes), len(records))
	}
	for _, o := range outcomes {
		if strings.Contains(o.Message+o.Code+o.Reference, "ada") {
			t.Errorf("the outcome names the person: %+v", o)
		}
		if !o.Kind.Done() && (o.Code == "" || o.Message == "") || !o.Individual {
			t.Errorf("the outcome does not say what is wrong: %+v", o)
		}
	}
	return outcomes
}

// want delivers one record and compares kind and code.
func want(t *testing.T, target sdk.Target, kind sdk.Kind, code string, content fields) sdk.Outcome {
	t.Helper()
	o := deliver(t, target, content)[0]
	if o.Kind != kind || o.Code != code {
		t.Fatalf("outcome of %v is %v %q (%s), want %v %q", content, o.Kind, o.Code, o.Message, kind, code)
	}
	return o
}

func (w *workspace) user(t *testing.T, externalID string) sim.User {
	t.Helper()
	u, found := w.User(externalID)
	if !found {
		t.Fatalf("there is no profile %q", externalID)
	}
	return u
}

func newTarget(t *testing.T, config fields) (sdk.Target, error) {
	t.Helper()
	return plugintest.New(t, braze.Plugin(), config)
}
