package admin

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a handler over a real store, with one citizen, one dead letter and one quarantined body.
type desk struct {
	*handler
	http.Handler
	admin config.Admin
	log   strings.Builder
}

func newDesk(t *testing.T, admin config.Admin) *desk {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "consentd.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d := &desk{admin: admin}
	ctx, now := t.Context(), time.Now()
	body := []byte(`{"citizenId": "c1", "externalRef": "ada@example.org", "sentAt": "2026-03-02T09:14:06Z", "permissions": []}`)
	state, err := consent.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Route(ctx, map[string][]store.Route{"in": {{Rule: "r", Target: "out"}}}); err != nil {
		t.Fatal(err)
	}
	_, err = s.Accept(ctx, consent.Update{Source: "in", Type: consent.EffectivePermission, Received: now, State: state, Body: body})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := s.Claim(ctx, "out", now.Add(time.Second), 1, store.AllLanes)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	if err := s.Settle(ctx, []store.Settlement{{Claim: claims[0], At: now, Status: store.Dead, Outcome: "rejected", Reason: store.ReasonRejected, Error: "no"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Quarantine(ctx, store.Quarantined{Source: "in", Received: now, Reason: "no JSON", Body: []byte("ada@example.org")}); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Admin: func() config.Admin { return d.admin }, Store: s, Metrics: prometheus.NewRegistry(),
		Log:         hclog.New(&hclog.LoggerOptions{Output: &d.log, JSONFormat: true}),
		Status:      func(context.Context) (Status, error) { return Status{}, nil },
		Replay:      func(context.Context, store.Quarantined) (string, error) { return "accepted", nil },
		Release:     func(context.Context, string, string) error { return nil },
		Erase:       func(context.Context, string, string) (Erased, error) { return Erased{}, nil },
		Reload:      func(context.Context) (Reloaded, error) { return Reloaded{}, nil },
		ReloadAs:    func(context.Context, string) (Reloaded, error) { return Reloaded{}, nil },
		Explain:     func(context.Context, string, []byte, bool) (Explanation, error) { return Explanation{}, nil },
		Plan:        func(context.Context, PlanRequest, func(done, of int64)) (Plan, error) { return Plan{}, nil },
		ReleaseFuse: func(context.Context, string) (int, error) { return 0, nil },
		Pause:       func(context.Context, string, time.Duration) (Paused, error) { return Paused{}, nil },
		Resume:      func(context.Context, string) (Paused, error) { return Paused{}, nil },
		Resync:      func(context.Context, store.ResyncFilter) (Resynced, error) { return Resynced{Changed: 1}, nil },
		Serving:     func() bool { return true },
		Reconcile:   func(context.Context, Reconcile) (Reconciliation, error) { return Reconciliation{}, nil },
		Reconciled:  func(context.Context) (Reconciliation, error) { return Reconciliation{}, nil },
		Sources: SourceActions{
			Backfill: func(context.Context, string, Backfill) (Progress, error) { return Progress{}, nil },
			Repair:   func(context.Context, string) (Progress, error) { return Progress{}, nil },
			Progress: func(context.Context, string) (Progress, error) { return Progress{}, nil },
			Stop:     func(context.Context, string) (bool, error) { return true, nil },
		},
	}
	if admin.AuditFile != "" {
		if o.Audit, err = OpenAudit(admin.AuditFile); err != nil {
			t.Fatal(err)
		}
	}
	d.handler, d.Handler = &handler{Options: o}, NewHandler(o)
	return d
}

// ask sends a request of a pattern's method and path, with the ids of what is there in place of the names.
func (d *desk) ask(t *testing.T, pattern, token string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = http.MethodGet, "/nowhere"
	}
	path = strings.NewReplacer("{source}/{id}", "in/c1", "{id}", "1", "{target}", "out").Replace(path)
	body := ""
	if strings.HasPrefix(path, "/v1/dead/") {
		body = `{"all": true}`
	}
	r := httptest.NewRequest(method, "http://127.0.0.1:8485"+path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	d.Handler.ServeHTTP(w, r)
	return w
}

func sum(token string) [][sha256.Size]byte { return [][sha256.Size]byte{sha256.Sum256([]byte(token))} }

// roles is what each route takes, and what it is called in the audit. A route that is not here is not known to
// be safe.
var roles = map[string]struct {
	role config.Role
	verb string
}{
	"GET /v1/status":                          {"read", ""},
	"POST /v1/reload":                         {"operator", "reload"},
	"POST /v1/plan":                           {"operator", "plan"},
	"POST /v1/targets/{target}/release":       {"operator", "target release"},
	"GET /v1/dead":                            {"read", ""},
	"POST /v1/dead/replay":                    {"operator", "dead replay"},
	"POST /v1/dead/discard":                   {"operator", "dead discard"},
	"GET /v1/quarantine":                      {"read", ""},
	"GET /v1/quarantine/{id}":                 {"operator", "quarantine show"},
	"POST /v1/quarantine/{id}/replay":         {"operator", "quarantine replay"},
	"DELETE /v1/quarantine/{id}":              {"operator", "quarantine discard"},
	"GET /v1/citizens/{source}/{id}":          {"operator", "citizen show"},
	"DELETE /v1/citizens/{source}/{id}":       {"operator", "citizen erase"},
	"GET /v1/citizens/{source}/{id}/receipts": {"operator", "citizen receipts"},
	"POST /v1/citizens/{source}/{id}/release": {"operator", "citizen release"},
	"GET /v1/receipts":                        {"operator", "receipts export"},
	"GET /v1/caller":                          {"read", ""},
	"POST /v1/explain":                        {"operator", "explain"},
	"POST /v1/citizens/{source}/{id}/resync":  {"operator", "citizen resync"},
	"POST /v1/targets/{target}/pause":         {"operator", "target pause"},
	"POST /v1/targets/{target}/resume":        {"operator", "target resume"},
	"POST /v1/targets/{target}/resync":        {"operator", "target resync"},
	"GET /v1/receipts/verify":                 {"read", ""},
	"GET /v1/sources/{source}/progress":       {"read", ""},
	"DELETE /v1/sources/{source}/progress":    {"operator", "source stop"},
	"POST /v1/sources/{source}/backfill":      {"operator", "source backfill"},
	"POST /v1/sources/{source}/repair":        {"operator", "source repair"},
	"GET /v1/reconcile":                       {"read", ""},
	"POST /v1/reconcile":                      {"operator", "reconcile"},
	"GET /metrics":                            {"read", ""},
	"/":                                       {"read", ""},
}

// TestRoles asks every route with every way to come in.
func TestRoles(t *testing.T) {
	pool := x509.NewCertPool()
	d := newDesk(t, config.Admin{
		Address: ":8485", TLS: &tls.Config{ClientCAs: pool},
		Access: []config.Access{
			{Role: config.RoleOperator, Tokens: sum("nameless-token")},
			{Name: "dash", Role: config.RoleRead, Tokens: append(sum("read-token"), sum("old-read-token")...), Certificates: []string{"dash.example.org"}},
			{Name: "ada", Role: config.RoleOperator, Tokens: sum("ada-token")},
		},
	})
	declared := map[string]bool{}
	for _, route := range d.routes() {
		declared[route.Pattern] = true
		want, known := roles[route.Pattern]
		if !known || route.Role == "" {
			t.Errorf("route %q has the role %q: give it one, and put it into this test's table", route.Pattern, route.Role)
			continue
		}
		if route.Role != want.role || route.Verb != want.verb {
			t.Errorf("%s: role %q, verb %q; want %q, %q", route.Pattern, route.Role, route.Verb, want.role, want.verb)
		}
		if method, _, _ := strings.Cut(route.Pattern, " "); (method == "POST" || method == "DELETE" || method == "PUT" || method == "PATCH") && (route.Role != config.RoleOperator || route.Verb == "") {
			t.Errorf("%s changes something: it is for operators, and has a verb for the audit", route.Pattern)
		}
		certificate := func(cert *x509.Certificate, verified bool) func(r *http.Request) {
			return func(r *http.Request) {
				r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
				if verified {
					r.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
				}
			}
		}
		ops := &x509.Certificate{Subject: pkix.Name{CommonName: "ops"}}
		for _, c := range []struct {
			name, token string
			change      func(*http.Request)
			role        config.Role // "" for nobody
		}{
			{"nothing", "", nil, ""},
			{"wrong token", "Read-token", nil, ""},
			{"no scheme", "", func(r *http.Request) { r.Header.Set("Authorization", "ada-token") }, ""},
			{"empty bearer", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, ""},
			{"token in the query", "", func(r *http.Request) { r.URL.RawQuery = "token=ada-token" }, ""},
			{"reader", "read-token", nil, config.RoleRead},
			{"reader's older token", "old-read-token", nil, config.RoleRead},
			{"operator", "ada-token", nil, config.RoleOperator},
			{"nameless", "nameless-token", nil, config.RoleOperator},
			{"certificate", "", certificate(ops, true), config.RoleOperator},
			{"reader's certificate", "", certificate(&x509.Certificate{DNSNames: []string{"dash.example.org"}}, true), config.RoleRead},
			{"certificate of nobody", "", certificate(ops, false), ""},
			{"a reader's token beside an operator's certificate", "read-token", certificate(ops, true), config.RoleRead},
		} {
			got := d.ask(t, route.Pattern, c.token, c.change)
			want := 0
			switch {
			case c.role == "":
				want = http.StatusUnauthorized
			case c.role == config.RoleRead && route.Role == config.RoleOperator:
				want = http.StatusForbidden
			}
			if in := got.Code != http.StatusUnauthorized && got.Code != http.StatusForbidden; want == 0 && !in || want != 0 && got.Code != want {
				t.Errorf("%s by %s: %d %s", route.Pattern, c.name, got.Code, got.Body)
			}
			if (got.Code == http.StatusUnauthorized) != (got.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("%s by %s: %d with %v", route.Pattern, c.name, got.Code, got.Header())
			}
		}
	}
	for pattern := range roles {
		if !declared[pattern] {
			t.Errorf("there is no route %q any more", pattern)
		}
	}
}

// TestRouteWithoutRole: what is not declared is for nobody.
func TestRouteWithoutRole(t *testing.T) {
	d := newDesk(t, config.Admin{})
	served := false
	w := httptest.NewRecorder()
	d.guard(Route{Pattern: "GET /x", Serve: func(http.ResponseWriter, *http.Request) { served = true }}).
		ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/x", nil))
	if served || w.Code != http.StatusForbidden {
		t.Errorf("served: %v, %d", served, w.Code)
	}
}

// TestRefusals say what to do.
func TestRefusals(t *testing.T) {
	token := config.Admin{Access: []config.Access{{Name: "dash", Role: config.RoleRead, Tokens: sum("read-token")}}}
	certificates := config.Admin{TLS: &tls.Config{ClientCAs: x509.NewCertPool()}}
	both := config.Admin{TLS: certificates.TLS, Access: token.Access}
	for _, c := range []struct {
		admin       config.Admin
		token, want string
	}{
		{token, "", "a token is required: set CONSENTD_ADMIN_TOKEN to one of the configuration's admin block\""},
		{token, "x", "this token is not in the configuration's admin block"},
		{token, "read-token", "token:dash may only read"},
		{certificates, "", "a client certificate is required: name its files with --client-cert"},
		{both, "", "or name the files of a client certificate with --client-cert"},
	} {
		got := newDesk(t, c.admin).ask(t, "POST /v1/reload", c.token, nil).Body.String()
		if !strings.Contains(got, c.want) {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// TestReadersSeeNobody: nothing that a reader can get names the citizen.
func TestReadersSeeNobody(t *testing.T) {
	d := newDesk(t, config.Admin{Access: []config.Access{
		{Name: "dash", Role: config.RoleRead, Tokens: sum("read-token")}, {Name: "ada", Role: config.RoleOperator, Tokens: sum("ada-token")},
	}})
	for _, route := range d.routes() {
		if got := d.ask(t, route.Pattern, "read-token", nil).Body.String(); strings.Contains(got, "ada@example.org") || strings.Contains(got, `"c1"`) {
			t.Errorf("%s shows a reader %s", route.Pattern, got)
		}
	}
	if got := d.ask(t, "GET /v1/dead", "ada-token", nil).Body.String(); !strings.Contains(got, `"c1"`) {
		t.Errorf("an operator does not see whom a dead letter is of: %s", got)
	}
	byCitizen := func(r *http.Request) { r.URL.RawQuery = "citizen=c1" }
	if got := d.ask(t, "GET /v1/dead", "read-token", byCitizen); got.Code != http.StatusForbidden {
		t.Errorf("a reader may guess at citizens: %d %s", got.Code, got.Body)
	}
}

// TestProbesAreOpen, whatever the rest takes.
func TestProbesAreOpen(t *testing.T) {
	d := newDesk(t, config.Admin{Access: []config.Access{{Name: "a", Role: config.RoleRead, Tokens: sum("t")}}})
	for _, probe := range []string{"GET /healthz", "GET /readyz"} {
		if got := d.ask(t, probe, "", nil); got.Code != http.StatusOK {
			t.Errorf("%s: %d", probe, got.Code)
		}
	}
}

// TestHostCheck: without credentials, a browser's request to a name of somebody else's is not served.
func TestHostCheck(t *testing.T) {
	rebound := func(r *http.Request) { r.Host = "evil.example.org:8485" }
	if got := newDesk(t, config.Admin{}).ask(t, "GET /v1/status", "", rebound); got.Code != http.StatusMisdirectedRequest {
		t.Errorf("open: %d", got.Code)
	}
	named := newDesk(t, config.Admin{Access: []config.Access{{Name: "a", Role: config.RoleRead, Tokens: sum("t")}}})
	if got := named.ask(t, "GET /v1/status", "t", rebound); got.Code != http.StatusOK {
		t.Errorf("with a token: %d", got.Code)
	}
	if got := newDesk(t, config.Admin{}).ask(t, "POST /v1/reload", "", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example.org") }); got.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", got.Code)
	}
}

// lines are those of an audit file.
func lines(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, l)
	}
	return all
}

// TestAudit: each route with a verb leaves two lines, before and after, and one in the log; the others leave none.
func TestAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for _, pattern := range slices.Sorted(maps.Keys(roles)) {
		os.Remove(path)
		d := newDesk(t, config.Admin{AuditFile: path, Access: []config.Access{{Name: "ada", Role: config.RoleOperator, Tokens: sum("ada-token")}}})
		if got := d.ask(t, pattern, "ada-token", nil); got.Code != http.StatusOK && pattern != "/" {
			t.Errorf("%s: %d %s", pattern, got.Code, got.Body)
		}
		got, verb := lines(t, path), roles[pattern].verb
		if verb == "" {
			if len(got) != 0 {
				t.Errorf("%s: %v", pattern, got)
			}
			continue
		}
		if len(got) != 2 || got[0]["event"] != "asked" || got[1]["event"] != "ended" || got[0]["id"] != got[1]["id"] ||
			got[1]["outcome"] != "done" || got[0]["verb"] != verb || got[1]["actor"] != "token:ada" || got[1]["count"] == nil {
			t.Errorf("%s: %v", pattern, got)
		}
		if strings.Contains(pattern, "citizens") && (got[0]["citizen"] == nil || got[0]["source"] != "in") || strings.Contains(pattern, "quarantine/") && got[0]["entry"] != 1. {
			t.Errorf("%s does not say of what: %v", pattern, got[0])
		}
		text, _ := os.ReadFile(path)
		for _, where := range []string{string(text), d.log.String()} {
			if strings.Contains(where, "ada@example.org") || strings.Contains(where, `"c1"`) || strings.Contains(where, "ada-token") {
				t.Errorf("%s: it says %s", pattern, where)
			}
		}
		if n := strings.Count(d.log.String(), `"@message":"admin action"`); n != 1 {
			t.Errorf("%s: %d lines in the log: %s", pattern, n, d.log.String())
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	}
}

// TestAuditOfWhatFails: it says how an action ended.
func TestAuditOfWhatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	d := newDesk(t, config.Admin{AuditFile: path})
	d.handler.Options.Reload = func(context.Context) (Reloaded, error) { return Reloaded{}, errors.New("no good") }
	d.Handler = NewHandler(d.handler.Options)
	if got := d.ask(t, "POST /v1/reload", "", nil); got.Code != http.StatusUnprocessableEntity {
		t.Errorf("%d", got.Code)
	}
	if got := d.ask(t, "GET /v1/citizens/in/nobody", "", nil); got.Code != http.StatusNotFound {
		t.Errorf("%d", got.Code)
	}
	got := lines(t, path)
	if len(got) != 4 || got[1]["outcome"] != "refused" || got[3]["outcome"] != "refused" || got[3]["count"] != 0. || got[3]["actor"] != "loopback" {
		t.Errorf("%v", got)
	}
}

// TestNothingWithoutAudit: what cannot be written down is not done and not shown.
func TestNothingWithoutAudit(t *testing.T) {
	for name, breakIt := range map[string]func(t *testing.T, path string){
		"folder is gone": func(t *testing.T, path string) { _ = os.RemoveAll(filepath.Dir(path)) },
		"disk is full": func(t *testing.T, path string) {
			_ = os.Remove(path)
			if err := os.Symlink("/dev/full", path); err != nil {
				t.Skip(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit", "audit.jsonl")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			d := newDesk(t, config.Admin{AuditFile: path})
			done := false
			d.handler.Options.Erase = func(context.Context, string, string) (Erased, error) { done = true; return Erased{}, nil }
			d.Handler = NewHandler(d.handler.Options)
			breakIt(t, path)
			for pattern, r := range roles {
				got := d.ask(t, pattern, "", nil)
				if want := r.verb != ""; want != (got.Code == http.StatusServiceUnavailable) {
					t.Errorf("%s: %d %s", pattern, got.Code, got.Body)
				}
				if strings.Contains(got.Body.String(), "ada@example.org") {
					t.Errorf("%s shows %s", pattern, got.Body)
				}
			}
			dead, err := d.Store.ListDead(t.Context(), store.DeadFilter{})
			if err != nil || len(dead) != 1 || done {
				t.Errorf("something was done: %v %v %v", dead, err, done)
			}
		})
	}
	if _, err := OpenAudit(filepath.Join(t.TempDir(), "nowhere", "audit.jsonl")); err == nil {
		t.Error("a file in a folder that is not there is opened")
	}
}

// TestAuditAfterATornLine: a line that a crash cut short does not take the next one with it.
func TestAuditAfterATornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(`{"time":"2026-`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := OpenAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.write(auditLine{ID: "x", Event: "asked"}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if all := strings.Split(string(data), "\n"); err != nil || len(all) != 3 || !json.Valid([]byte(all[1])) {
		t.Errorf("%q %v", data, err)
	}
}

// TestPeer: behind a unix socket, the actor is the user who connected.
func TestPeer(t *testing.T) {
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "admin.sock")
	path := filepath.Join(dir, "audit.jsonl")
	d := newDesk(t, config.Admin{Address: address, AuditFile: path})
	l, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(d.Handler, nil, hclog.NewNullLogger())
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	c := NewClient(address, "")
	defer c.http.CloseIdleConnections()
	if _, err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, path); got[0]["actor"] != "uid:"+strconv.Itoa(os.Getuid()) {
		t.Errorf("%v", got)
	}
	var uid uint32 = 7
	if got := local(context.WithValue(t.Context(), peerKey, uid)); got != "uid:7" {
		t.Error(got)
	}
	if got := local(withPeer(t.Context(), &net.TCPConn{})); got != "loopback" {
		t.Error(got)
	}
}
