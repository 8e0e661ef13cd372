package salesforce

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exchange is a request as it arrived.
type exchange struct {
	method, path, query string
	header              http.Header
	body                []byte
}

// org is a simulator behind a real listener that writes down what it is asked.
type org struct {
	*sim.Server
	url string

	mu    sync.Mutex
	seen  []exchange
	lines []string
}

func newOrg(t *testing.T) *org {
	t.Helper()
	o := &org{}
	o.Server = sim.New(func(line string) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.lines = append(o.lines, line)
	})
	o.url = plugintest.Serve(t, plugintest.Tap(o, func(r *http.Request, body []byte) {
		o.mu.Lock()
		o.seen = append(o.seen, exchange{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Clone(), body})
		o.mu.Unlock()
	}))
	return o
}

// calls are the requests whose path holds part.
func (o *org) calls(part string) []exchange {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []exchange
	for _, e := range o.seen {
		if strings.Contains(e.path, part) {
			found = append(found, e)
		}
	}
	return found
}

type attrs = map[string]any

// clientCredentials is a configuration for the simulator at url.
func clientCredentials(url string) attrs {
	return attrs{"login_url": url, "client_id": sim.ClientID, "client_secret": sim.ClientSecret}
}

func newTargetFrom(t *testing.T, config attrs, log hclog.Logger) (*target, error) {
	t.Helper()
	made, err := Plugin().New(t.Context(), sdk.Config{Target: "crm", Fields: plugintest.Encode(t, config)}, log)
	if err != nil {
		return nil, err
	}
	target := made.(*target)
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	})
	return target, nil
}

func mustTarget(t *testing.T, config attrs) *target {
	t.Helper()
	target, err := newTargetFrom(t, config, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// contact is a record for one contact; LastName is there so that it can be created.
func contact(t *testing.T, id string, fields attrs) sdk.Record {
	t.Helper()
	all := attrs{"LastName": "Jansen"}
	maps.Copy(all, fields)
	return plugintest.Record(t, attrs{"object": "Contact", "external_id_field": "CPM_Id__c", "external_id": id, "fields": all})
}

func expect(t *testing.T, got sdk.Outcome, kind sdk.Kind, code string) {
	t.Helper()
	if got.Kind != kind || got.Code != code {
		t.Errorf("outcome is %s %q (%s), want %s %q", got.Kind, got.Code, got.Message, kind, code)
	}
}

func expectAll(t *testing.T, got []sdk.Outcome, kind sdk.Kind, code string) {
	t.Helper()
	for _, o := range got {
		expect(t, o, kind, code)
	}
}
