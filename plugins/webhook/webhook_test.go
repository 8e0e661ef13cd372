package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/webhook/sim"
	"github.com/consentd/consentd/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newFor(t testing.TB, fields map[string]any) (sdk.Target, error) {
	t.Helper()
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	made, err := Plugin().New(context.Background(), sdk.Config{Target: "x", Fields: data}, hclog.NewNullLogger())
	if err == nil {
		t.Cleanup(func() { made.(sdk.Closer).Close() })
	}
	return made, err
}

func must(t testing.TB, fields map[string]any) sdk.Target {
	t.Helper()
	made, err := newFor(t, fields)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func of(id, fields string) sdk.Record { return sdk.Record{ID: id, Fields: json.RawMessage(fields)} }

func deliver(t testing.TB, target sdk.Target, records ...sdk.Record) []sdk.Outcome {
	t.Helper()
	outcomes := target.Deliver(context.Background(), records)
	if len(outcomes) != len(records) {
		t.Fatalf("%d outcomes of %d records", len(outcomes), len(records))
	}
	return outcomes
}

func TestBodyIsSentAsItIs(t *testing.T) {
	s := sim.New(nil)
	target := must(t, map[string]any{"url": serve(t, s) + "/hook?a=1"})
	bodies := []string{
		`{"n":9007199254740993,"gone":null,"no":false,"s":"<é>"}`, `[1,2]`, `"text"`, `false`, `null`,
	}
	for i, body := range bodies {
		id := fmt.Sprint("id-", i)
		for range 2 { // twice equals once
			if o := deliver(t, target, of(id, `{"key":"k","body":`+body+`}`))[0]; o.Kind != sdk.KindDelivered {
				t.Errorf("%s: %+v", body, o)
			}
		}
		if got := s.Body(id); got != body || s.Last("/hook") != body {
			t.Errorf("sent %s, want %s", got, body)
		}
	}
}

func TestRequest(t *testing.T) {
	var got *http.Request
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	for _, c := range []struct {
		config map[string]any
		check  func(r *http.Request) bool
	}{
		{map[string]any{}, func(r *http.Request) bool {
			return r.Method == "POST" && r.Header.Get("Content-Type") == "application/json" && r.ContentLength == 2 &&
				r.Header.Get("Idempotency-Key") == "id" && r.Header.Get("Authorization") == "" && !strings.Contains(fmt.Sprint(r.URL, r.Header), "ann@")
		}},
		{map[string]any{"method": "PUT", "headers": map[string]string{"x-team": "crm", "Content-Type": "application/vnd.acme+json"}}, func(r *http.Request) bool {
			return r.Method == "PUT" && r.Header.Get("X-Team") == "crm" && slices.Equal(r.Header["Content-Type"], []string{"application/vnd.acme+json"})
		}},
		{map[string]any{"auth": map[string]string{"token": "t0k"}}, func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "Bearer t0k"
		}},
		{map[string]any{"auth": map[string]string{"username": "u", "password": "p:w"}}, func(r *http.Request) bool {
			u, p, _ := r.BasicAuth()
			return u == "u" && p == "p:w"
		}},
		{map[string]any{"auth": map[string]string{"header": "X-Api-Key", "value": "v"}}, func(r *http.Request) bool {
			return r.Header.Get("X-API-Key") == "v" && r.Header.Get("Authorization") == ""
		}},
	} {
		got = nil
		c.config["url"] = url
		if o := deliver(t, must(t, c.config), of("id", `{"key":"ann@example.com","body":{}}`))[0]; o.Kind != sdk.KindDelivered {
			t.Errorf("%v: %+v", c.config, o)
		}
		if got == nil || !c.check(got) {
			t.Errorf("%v: sent %+v", c.config, got)
		}
	}
}

// authority gives out tokens, and takes the newest at /hook.
type authority struct {
	mu      sync.Mutex
	given   int
	refused int    // an HTTP status for the next token request
	form    string // of the last token request
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case r.URL.Path != "/token":
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", a.given) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	case a.refused != 0:
		w.WriteHeader(a.refused)
		a.refused = 0
		io.WriteString(w, `{"error":"invalid_client","error_description":"s3cret is wrong"}`)
	default:
		body, _ := io.ReadAll(r.Body)
		a.form = string(body)
		a.given++
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, a.given)
	}
}

func (a *authority) tokens() (given int, form string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.given, a.form
}

func (a *authority) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func TestClientCredentials(t *testing.T) {
	a := &authority{}
	url := serve(t, a)
	auth := map[string]string{"token_url": url + "/token", "client_id": "c1", "client_secret": "s3cret", "scope": "consent.write"}
	target := must(t, map[string]any{"url": url + "/hook", "auth": auth})
	all := func() {
		t.Helper()
		for _, o := range deliver(t, target, slices.Repeat([]sdk.Record{of("id", `{"key":"k","body":1}`)}, batch)...) {
			if o.Kind != sdk.KindDelivered {
				t.Fatalf("%+v", o)
			}
		}
	}
	all()
	if given, form := a.tokens(); given != 1 || form != "client_id=c1&client_secret=s3cret&grant_type=client_credentials&scope=consent.write" {
		t.Errorf("%d tokens, the last for %s", given, form)
	}
	a.set(func() { a.given++ }) // what was given out holds no more
	all()
	if given, _ := a.tokens(); given != 3 {
		t.Errorf("one new token was needed, and %d were fetched", given-2)
	}
	a.set(func() { a.given, a.refused = a.given+1, http.StatusUnauthorized })
	if o := deliver(t, target, of("id", `{"key":"k","body":1}`))[0]; o.Kind != sdk.KindUnauthorized || o.Code != "invalid_client" || strings.Contains(o.Message, "s3cret") {
		t.Errorf("%+v", o)
	}
	all()
}

func TestKeyInURL(t *testing.T) {
	var got string
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RequestURI }))
	target := must(t, map[string]any{"url": url + "/people/{key}/consent?id={key}"})
	for key, want := range map[string]string{
		"4711":            "/people/4711/consent?id=4711",
		"ann@example.com": "/people/ann%40example.com/consent?id=ann%40example.com",
		"a/../b?c#d&e=f":  "/people/a%2F..%2Fb%3Fc%23d%26e%3Df/consent?id=a%2F..%2Fb%3Fc%23d%26e%3Df",
		"a b+c%20":        "/people/a%20b%2Bc%2520/consent?id=a%20b%2Bc%2520",
		"{key}":           "/people/%7Bkey%7D/consent?id=%7Bkey%7D",
		"é\n":             "/people/%C3%A9%0A/consent?id=%C3%A9%0A",
		"":                "", ".": "", "..": "",
	} {
		got = ""
		fields, _ := json.Marshal(map[string]any{"key": key, "body": 1})
		o := deliver(t, target, of("id", string(fields)))[0]
		if got != want {
			t.Errorf("%q: asked for %q, want %q", key, got, want)
		}
		if want == "" && (o.Kind != sdk.KindRejected || o.Code != "INVALID_KEY") {
			t.Errorf("%q: %+v", key, o)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	const good = "https://example.com/x"
	for _, c := range []struct {
		config map[string]any
		path   string
	}{
		{map[string]any{"url": ""}, "url"},
		{map[string]any{"url": "example.com/s3cret"}, "url"},
		{map[string]any{"url": "ftp://example.com/s3cret"}, "url"},
		{map[string]any{"url": "https://u:s3cret@example.com/"}, "url"},
		{map[string]any{"url": "https://example.com/s3cret%zz"}, "url"},
		{map[string]any{"url": "https://example.com/#s3cret"}, "url"},
		{map[string]any{"url": "https://{key}.example.com/s3cret"}, "url"},
		{map[string]any{"url": "https://example.com:{key}"}, "url"},
		{map[string]any{"url": good, "method": "DELETE"}, "method"},
		{map[string]any{"url": good, "headers": map[string]string{"a b": "s3cret"}}, "headers.a b"},
		{map[string]any{"url": good, "headers": map[string]string{"host": "s3cret"}}, "headers.host"},
		{map[string]any{"url": good, "headers": map[string]string{"X": "s3cret\n"}}, "headers.X"},
		{map[string]any{"url": good, "auth": map[string]string{}}, "auth"},
		{map[string]any{"url": good, "auth": map[string]string{"token": "s3cret", "username": "u"}}, "auth"},
		{map[string]any{"url": good, "auth": map[string]string{"username": "u"}}, "auth"},
		{map[string]any{"url": good, "auth": map[string]string{"token": "s3cret\n"}}, "auth.token"},
		{map[string]any{"url": good, "auth": map[string]string{"username": "a:b", "password": "s3cret"}}, "auth.username"},
		{map[string]any{"url": good, "auth": map[string]string{"header": "idempotency-key", "value": "s3cret"}}, "auth.header"},
		{map[string]any{"url": good, "auth": map[string]string{"token_url": good, "client_id": "c"}}, "auth"},
		{map[string]any{"url": good, "auth": map[string]string{"token_url": good, "client_id": "c", "client_secret": "s3cret", "token": "s3cret"}}, "auth"},
		{map[string]any{"url": good, "auth": map[string]string{"token_url": "http://example.com/s3cret", "client_id": "c", "client_secret": "s3cret"}}, "auth.token_url"},
		{map[string]any{"url": good, "auth": map[string]string{"token_url": good, "client_id": "c", "client_secret": "s3cret\n"}}, "auth.client_secret"},
		{map[string]any{"url": good, "auth": map[string]string{"token_url": good, "client_id": "c\n", "client_secret": "s3cret"}}, "auth.client_id"},
		{map[string]any{"url": good, "auth": map[string]string{"token": "s3cret", "scope": "consent"}}, "auth.scope"},
	} {
		_, err := newFor(t, c.config)
		var mistake *sdk.ConfigError
		if !errors.As(err, &mistake) || strings.Join(mistake.Path, ".") != c.path {
			t.Errorf("%v: error %v, want one at %s", c.config, err, c.path)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
}

func TestAnswers(t *testing.T) {
	s := sim.New(nil)
	url := serve(t, s)
	fixed, withKey := must(t, map[string]any{"url": url}), must(t, map[string]any{"url": url + "/{key}"})
	for _, c := range []struct {
		target sdk.Target
		fault  sim.Fault
		want   sdk.Kind
		after  time.Duration
	}{
		{fixed, sim.Fault{Status: 204}, sdk.KindDelivered, 0},
		{fixed, sim.Fault{Status: 302, Header: http.Header{"Location": {url + "/elsewhere"}}}, sdk.KindUnauthorized, 0},
		{fixed, sim.Fault{Status: 308, Header: http.Header{"Location": {url + "/elsewhere"}}}, sdk.KindUnauthorized, 0},
		{fixed, sim.Fault{Status: 400, Body: "ann@example.com is unknown"}, sdk.KindRejected, 0},
		{fixed, sim.Fault{Status: 401}, sdk.KindUnauthorized, 0},
		{fixed, sim.Fault{Status: 404}, sdk.KindUnauthorized, 0},
		{withKey, sim.Fault{Status: 404}, sdk.KindRejected, 0},
		{withKey, sim.Fault{Status: 405}, sdk.KindUnauthorized, 0},
		{fixed, sim.Fault{Status: 409}, sdk.KindRetry, 0},
		{fixed, sim.Fault{Status: 422, Body: "no"}, sdk.KindRejected, 0},
		{fixed, sim.Fault{Status: 429, Header: http.Header{"Retry-After": {"7"}}}, sdk.KindThrottled, 7 * time.Second},
		{fixed, sim.Fault{Status: 500, Body: strings.Repeat("x", 1<<20)}, sdk.KindRetry, 0},
		{fixed, sim.Fault{Status: 503, Header: http.Header{"Retry-After": {"3"}}}, sdk.KindThrottled, 3 * time.Second},
	} {
		before := s.Requests()
		s.Fail(c.fault)
		o := deliver(t, c.target, of("id", `{"key":"ann","body":{"a":1}}`))[0]
		if o.Kind != c.want || o.RetryAfter != c.after || strings.Contains(o.Message, "ann") {
			t.Errorf("%d: %+v, want %v after %v", c.fault.Status, o, c.want, c.after)
		}
		if n := s.Requests() - before; n != 1 {
			t.Errorf("%d: %d requests", c.fault.Status, n)
		}
	}
	if s.Last("/elsewhere") != "" {
		t.Error("a redirect was followed")
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	o := deliver(t, must(t, map[string]any{"url": "http://" + l.Addr().String() + "/s3cret"}), of("id", `{"key":"k","body":1}`))[0]
	if o.Kind != sdk.KindRetry || o.Code != "NETWORK" || strings.Contains(o.Message, "s3cret") || strings.Contains(o.Message, "127.0.0.1") {
		t.Errorf("%+v", o)
	}
}

// An endpoint that drops connections is asked again by itself once, on a connection that was idle, and
// the record is Retry if that does not help.
func TestDroppedConnections(t *testing.T) {
	s := sim.New(nil)
	target := must(t, map[string]any{"url": serve(t, s)})
	deliver(t, target, of("1", `{"key":"k","body":1}`))
	s.Fail(sim.Fault{Drop: true})
	if o := deliver(t, target, of("2", `{"key":"k","body":2}`))[0]; o.Kind != sdk.KindDelivered || s.Body("2") != "2" {
		t.Errorf("once: %+v", o)
	}
	s.Fail(slices.Repeat([]sim.Fault{{Drop: true}}, 5)...)
	if o := deliver(t, target, of("3", `{"key":"k","body":3}`))[0]; o.Kind != sdk.KindRetry {
		t.Errorf("always: %+v", o)
	}
}

func TestContext(t *testing.T) {
	release := make(chan struct{})
	var seen atomic.Int32
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		seen.Add(1)
		<-release
	}))
	defer close(release)
	target := must(t, map[string]any{"url": url})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	outcomes := target.Deliver(ctx, slices.Repeat([]sdk.Record{of("id", `{"key":"k","body":1}`)}, batch))
	for _, o := range outcomes {
		if o.Kind != sdk.KindRetry || o.Code != "TIMEOUT" {
			t.Errorf("%+v", o)
		}
	}
}

func TestRecordsThatAreNone(t *testing.T) {
	target := must(t, map[string]any{"url": "http://127.0.0.1:1"})
	for _, fields := range []string{`{"key":"k"}`, `{"key":1,"body":1}`, `[]`} {
		if o := deliver(t, target, of("id", fields))[0]; o.Kind != sdk.KindRejected {
			t.Errorf("%s: %+v", fields, o)
		}
	}
}

func TestConnectionsAreKept(t *testing.T) {
	var made atomic.Int32
	server := httptest.NewUnstartedServer(sim.New(nil))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			made.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	target := must(t, map[string]any{"url": server.URL})
	for i := range 50 {
		deliver(t, target, of(fmt.Sprint(i), `{"key":"k","body":1}`))
	}
	if made.Load() != 1 {
		t.Errorf("%d connections for 50 requests in a row", made.Load())
	}
}

// The sender and the receiver share the machine here.
func BenchmarkDeliver(b *testing.B) {
	url := serve(b, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	target := must(b, map[string]any{"url": url})
	body := `{"key":"k","body":{"text":"` + strings.Repeat("x", 2000) + `"}}`
	for _, size := range []int{1, batch} {
		records := slices.Repeat([]sdk.Record{of("id", body)}, size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(4) // 8 calls at once on two cores
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					for _, o := range target.Deliver(context.Background(), records) {
						if o.Kind != sdk.KindDelivered {
							b.Error(o)
						}
					}
				}
			})
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
