package marketo

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/internal/vendorspec"
	"github.com/consentd/consentd/plugins/marketo/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ada = "ada.lovelace@example.org"
	bob = "bob@example.org"
)

// vendor is Adobe's description of the API, read once: a part for each beginning of a path.
var vendor = sync.OnceValues(func() (map[string]*vendorspec.Spec, error) {
	parts := map[string]*vendorspec.Spec{}
	for begins, file := range map[string]string{"/rest": "mapi", "/identity": "identity"} {
		spec, err := vendorspec.Load("marketo/swagger-"+file+".json", "/")
		if err != nil {
			return nil, err
		}
		parts[begins] = spec
	}
	return parts, nil
})

// exceptions are where the description is known to be wrong or too narrow.
func exceptions() []vendorspec.Exception {
	all := []vendorspec.Exception{
		{Error: `property "errors" is missing`, Reason: "a success has no errors, as every example of the documentation shows"},
		{Error: `property "warnings" is missing`, Reason: "there is a list of warnings only where there are any, as the documentation's examples show"},
		{Error: `property "result" is missing`, Reason: "a failure has no result, as the documentation's examples show"},
		{Error: "value is required but missing", Reason: "the documentation's examples take leads off lists by ids in the query, without the body that the description asks for"},
		{Error: `property "reasons" is unsupported`, Reason: "the description has one reason, and the documentation's examples a list of reasons"},
	}
	for _, field := range []string{"email", "customerNumber", "firstName", "lastName", "city", "interests", "children", "vip", "polka",
		"unsubscribed", "unsubscribedReason", "marketingSuspended", "doNotCall", "blackListed"} {
		all = append(all, vendorspec.Exception{
			Error:  `property "` + field + `" is unsupported`,
			Reason: "a lead may have any fields, as the description says in words",
		})
	}
	return all
}

// exchange is one request as the vendor got it.
type exchange struct {
	Method, Path string
	Body         string
}

// account is a simulated subscription behind real HTTP. While the vendor's description is at hand, every
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
	held := map[string]http.Handler{}
	switch parts, err := vendor(); {
	case err == nil:
		for begins, spec := range parts {
			held[begins] = spec.Hold(t, a.Server, exceptions()...)
		}
	case !errors.Is(err, vendorspec.ErrAbsent):
		t.Fatal(err)
	}
	route := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var handler http.Handler = a.Server
		for begins, part := range held {
			if strings.HasPrefix(r.URL.Path, begins) {
				handler = part
			}
		}
		handler.ServeHTTP(w, r)
	})
	a.URL = plugintest.Serve(t, plugintest.Tap(route, func(r *http.Request, body []byte) {
		a.mu.Lock()
		a.exchanges = append(a.exchanges, exchange{r.Method, strings.TrimPrefix(r.URL.Path, "/rest/v1"), string(body)})
		a.mu.Unlock()
	}))
	return a
}

// TestDescription makes a run without the description visible, and fails it where it must not be.
func TestDescription(t *testing.T) {
	vendorspec.Need(t, func() (*vendorspec.Spec, error) {
		parts, err := vendor()
		return parts["/rest"], err
	})
}

// calls returns what was sent since the last call of it, reads and signing in left out.
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

func (a *account) config(set fields) fields {
	config := fields{"base_url": a.URL, "client_id": sim.ClientID, "client_secret": sim.ClientSecret}
	maps.Copy(config, set)
	return config
}

// target makes one for the account; set overrides the configuration.
func (a *account) target(t *testing.T, set fields) *target {
	t.Helper()
	made, err := plugintest.New(t, Plugin(), a.config(set))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := made.(sdk.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return made.(*target)
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
		if is, _ := contents[i]["lookup_value"].(string); is != "" && strings.Contains(o.Message+o.Code+o.Reference, is) {
			t.Errorf("the outcome holds the lookup value: %+v", o)
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

func lead(email string, set fields) fields { return fields{"lookup_value": email, "fields": set} }
