package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Store without a disk. It gives the verdicts of consent.Apply.
type memory struct {
	mu          sync.Mutex
	citizens    map[string]*consent.Citizen
	accepted    []consent.Update
	quarantined []store.Quarantined
	// fails, when set, is what both methods return; before is called first.
	fails  error
	before func(context.Context)
}

func (m *memory) Accept(ctx context.Context, u consent.Update) (consent.Verdict, error) {
	if m.before != nil {
		m.before(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return 0, m.fails
	}
	id := u.Source + "/" + string(u.State.CitizenID)
	applied, err := consent.Apply(m.citizens[id], u)
	if err != nil || applied.Verdict != consent.Accepted {
		return applied.Verdict, err
	}
	if m.citizens == nil {
		m.citizens = make(map[string]*consent.Citizen)
	}
	m.citizens[id] = &applied.Citizen
	m.accepted = append(m.accepted, u)
	return consent.Accepted, nil
}

func (m *memory) Quarantine(ctx context.Context, q store.Quarantined) error {
	if m.before != nil {
		m.before(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return m.fails
	}
	m.quarantined = append(m.quarantined, q)
	return nil
}

func (m *memory) counts() (accepted, quarantined int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.accepted), len(m.quarantined)
}

// record is a log that can be read while it is written.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// clock stands still until it is told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const (
	path      = "/webhooks/dataguard"
	tokenPath = path + "/oauth/token"
	apiKey    = "key-3f9c1b7a5d"
	maxBody   = 4 << 10
)

// bench is one handler with all it needs.
type bench struct {
	store    *memory
	log      *record
	clock    *clock
	registry *prometheus.Registry
	metrics  *Metrics
	source   config.Source
	handler  *Handler
	url      string
}

// newBench serves a source whose authentication is auth over loopback.
func newBench(t testing.TB, auth config.Auth) *bench {
	t.Helper()
	b := &bench{
		store:    &memory{},
		log:      &record{},
		clock:    &clock{now: time.Date(2026, 3, 2, 9, 14, 7, 0, time.UTC)},
		registry: prometheus.NewRegistry(),
		source: config.Source{
			Name: "dataguard", Path: path, UpdateType: consent.EffectivePermission,
			ApplicationID: "acme-eu-01", Auth: auth,
		},
	}
	b.metrics = NewMetrics(b.registry)
	b.handler = b.make(t, b.source)
	server := httptest.NewServer(b.handler)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// make makes another handler as after a reload or a restart: same store, clock and log.
func (b *bench) make(t testing.TB, sources ...config.Source) *Handler {
	t.Helper()
	h, err := New(b.options(sources...))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (b *bench) options(sources ...config.Source) Options {
	return Options{
		Listener: config.Listener{MaxBodySize: maxBody},
		Sources:  sources,
		Store:    b.store,
		Log:      hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: b.log, JSONFormat: true}),
		Metrics:  b.metrics,
		Now:      b.clock.read,
	}
}

func keyAuth() config.Auth {
	return config.Auth{Mode: config.AuthAPIKey, Header: "X-API-Key", Keys: []string{apiKey}}
}

func withKey(h http.Header) http.Header {
	all := http.Header{"X-Api-Key": {apiKey}, "Content-Type": {"application/json"}}
	maps.Copy(all, h)
	return all
}

type reply struct {
	status int
	header http.Header
	body   string
}

// word is the status that the answer's body names.
func (r reply) word(t *testing.T) string {
	t.Helper()
	var answer struct{ Status, Error string }
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
		t.Fatalf("answer %q is not JSON: %v", r.body, err)
	}
	return answer.Status + answer.Error
}

func (b *bench) do(t *testing.T, method, path string, header http.Header, body io.Reader) reply {
	t.Helper()
	req, err := http.NewRequest(method, b.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	return exchange(t, http.DefaultClient, req)
}

func (b *bench) post(t *testing.T, header http.Header, body string) reply {
	t.Helper()
	return b.do(t, http.MethodPost, path, header, strings.NewReader(body))
}

func exchange(t *testing.T, client *http.Client, req *http.Request) reply {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

// update is a message in the sender's shape about one citizen.
func update(citizen, state, at string) string {
	return `{"applicationId":"acme-eu-01","citizenId":"` + citizen + `","externalRef":"ada.lovelace@example.org",
		"permissions":[{"transactionId":"t-1","optionType":"option","optionId":"k3Rmx","justification":"consent",
		"state":"` + state + `","recordedByName":"J. Roe","recordedAt":"` + at + `"}],"preferences":[],"sentAt":"` + at + `"}`
}
