package dataverse

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exchange is a request as it arrived, alone or within a batch, and what was answered to a call.
type exchange struct {
	method, path, query string // the path is not escaped
	header              http.Header
	body                string
}

// environment is a simulator behind a real listener that writes down what it is asked.
type environment struct {
	*sim.Server
	url string

	mu         sync.Mutex
	calls      []exchange
	operations []exchange
	lines      []string
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	e := &environment{}
	e.Server = sim.New(func(line string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.lines = append(e.lines, line)
	})
	e.url = plugintest.Serve(t, plugintest.Tap(e, func(r *http.Request, body []byte) {
		e.mu.Lock()
		e.calls = append(e.calls, exchange{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Clone(), string(body)})
		if strings.HasSuffix(r.URL.Path, "/$batch") {
			e.operations = append(e.operations, operations(r.Header.Get("Content-Type"), body)...)
		}
		e.mu.Unlock()
	}))
	return e
}

func operations(contentType string, body []byte) []exchange {
	var all []exchange
	_, params, _ := mime.ParseMediaType(contentType)
	for r := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
		part, err := r.NextRawPart()
		if err != nil {
			return all
		}
		req, err := http.ReadRequest(bufio.NewReader(part))
		if err != nil {
			return append(all, exchange{method: "unreadable"})
		}
		data, _ := io.ReadAll(req.Body)
		all = append(all, exchange{req.Method, req.URL.Path, req.URL.RawQuery, req.Header, string(data)})
	}
}

// batches is how many calls carried a batch.
func (e *environment) batches() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, c := range e.calls {
		if strings.HasSuffix(c.path, "/$batch") {
			n++
		}
	}
	return n
}

// asked are the operations of a method since the last call of forget.
func (e *environment) asked(method string) []exchange {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []exchange
	for _, o := range e.operations {
		if o.method == method {
			found = append(found, o)
		}
	}
	return found
}

func (e *environment) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls, e.operations, e.lines = nil, nil, nil
}

func (e *environment) contact(t *testing.T, person string) attrs {
	t.Helper()
	row, ok := e.Row("contacts", "acme_cpmid", person)
	if !ok {
		t.Fatalf("there is no %s", person)
	}
	return row
}

type attrs = map[string]any

// config is one for the simulator at url.
func config(url string, more attrs) attrs {
	all := attrs{"base_url": url, "login_url": url, "tenant_id": sim.TenantID, "client_id": sim.ClientID, "client_secret": sim.ClientSecret}
	maps.Copy(all, more)
	return all
}

func newTargetFrom(t *testing.T, config attrs) (*target, error) {
	t.Helper()
	made, err := Plugin().New(t.Context(), sdk.Config{Target: "crm", Fields: plugintest.Encode(t, config)}, hclog.NewNullLogger())
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
	target, err := newTargetFrom(t, config)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// contact is a record for one contact by key.
func contact(t *testing.T, person string, columns attrs, more ...attrs) sdk.Record {
	t.Helper()
	fields := attrs{"table": "contacts", "key": attrs{"acme_cpmid": person}, "columns": columns}
	for _, m := range more {
		maps.Copy(fields, m)
	}
	return plugintest.Record(t, fields)
}

// consentOf is a record for one consent to mail.
func consentOf(t *testing.T, point, status string, more ...attrs) sdk.Record {
	t.Helper()
	fields := attrs{"contact_point": point, "channel": "email", "purpose": sim.PurposeID, "status": status}
	for _, m := range more {
		maps.Copy(fields, m)
	}
	return plugintest.Record(t, attrs{"consent": fields})
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

// deliver delivers one record.
func deliver(t *testing.T, target *target, r sdk.Record) sdk.Outcome {
	t.Helper()
	return target.Deliver(t.Context(), []sdk.Record{r})[0]
}

func parsed(t *testing.T, r sdk.Record) item {
	t.Helper()
	i, err := parse(r)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func response(status int, body string) *httpclient.Response {
	return &httpclient.Response{Status: status, Header: http.Header{}, Body: []byte(body)}
}
