package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// person has everything that must not be seen before it is asked for: ids, what they like, and their vendor's names.
const body = `{"applicationId": "acme", "citizenId": "c-1815", "externalRef": "ada@example.org", "sentAt": "2026-03-02T09:14:06Z",
	"permissions": [{"transactionId": "t-4711", "optionType": "option", "optionId": "k3Rmx", "justification": "consent", "state": "GRANTED", "recordedAt": "2026-03-02T09:14:05Z"}],
	"preferences": [{"preference": "interests", "choices": [{"reference": "mathematics", "label": "Mathematics"}], "updatedAt": "2026-03-02T09:14:05Z"}]}`

var personal = []string{"c-1815", "ada@example.org", "t-4711", "mathematics", "vendor-42"}

// desk is a console over a real store: a citizen with a receipt and a dead letter, and a quarantined body.
type desk struct {
	*browser
	store   *sqlite.Store
	console *Console
	log     *strings.Builder

	mu     sync.Mutex
	status admin.Status
	admin  config.Admin
	doings []string // what the API was asked for, of what is not the store's own
}

func (d *desk) did(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doings = append(d.doings, what)
}

// browser keeps cookies and follows redirects.
type browser struct {
	t    *testing.T
	url  string
	http *http.Client
}

func newBrowser(t *testing.T, url string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, url, &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}}
}

func newDesk(t *testing.T, access ...config.Access) *desk {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "consentd.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d := &desk{browser: &browser{t: t}, store: s, log: &strings.Builder{}, admin: config.Admin{Address: "127.0.0.1:8485", Access: access}}
	d.fill()
	started := time.Now().Add(-time.Hour)
	d.status = admin.Status{
		Version: "1", Started: started, Loaded: &started, Config: "0123456789abcdef", WithdrawalSLO: 60, Quarantined: 1,
		Sources: []admin.Source{{Name: "in", Path: "/in", UpdateType: "effective-permission", Auth: "none"}},
		Targets: []admin.Target{{Name: "crm", Type: "salesforce", State: "running", Dead: 1}, {Name: "mail", Type: "mailchimp", State: "running"}},
		Rules:   []admin.Rule{{Name: "contact", Source: "in", Target: "crm"}, {Name: "news", Source: "in", Target: "mail"}},
		Options: []admin.Option{{Name: "newsletter_email", ID: "k3Rmx", Type: "option", Justification: "consent"}},
	}
	log := hclog.New(&hclog.LoggerOptions{Output: d.log, Mutex: &d.mu})
	d.console = New(Options{Metrics: prometheus.NewRegistry(), Log: log, Status: func(context.Context) (admin.Status, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.status, nil
	}})
	t.Cleanup(d.console.Close)
	server := httptest.NewServer(admin.NewHandler(admin.Options{
		Admin: func() config.Admin { d.mu.Lock(); defer d.mu.Unlock(); return d.admin },
		Store: s, Metrics: prometheus.NewRegistry(), Log: log, Console: d.console.Handler, Serving: func() bool { return true },
		Replay: func(context.Context, store.Quarantined) (string, error) { return "accepted", nil },
		Release: func(ctx context.Context, source, id string) error {
			return s.ReleaseHeld(ctx, source, id, time.Now())
		},
		Erase: func(ctx context.Context, source, id string) (admin.Erased, error) {
			done, err := s.Erase(ctx, source, id, time.Now(), func(consent.State) ([]store.ErasureRequest, error) { return nil, nil })
			return admin.Erased{Known: done.Known}, err
		},
		Pause: func(_ context.Context, target string, _ time.Duration) (admin.Paused, error) {
			d.did("pause " + target)
			return admin.Paused{Target: target}, nil
		},
		Resume: func(_ context.Context, target string) (admin.Paused, error) {
			d.did("resume " + target)
			return admin.Paused{Target: target, Was: true}, nil
		},
		Resync: func(_ context.Context, f store.ResyncFilter) (admin.Resynced, error) {
			d.did(fmt.Sprintf("resync %s%s after %d", f.Target, f.CitizenID, f.After))
			if f.Target != "" && f.After == 0 {
				return admin.Resynced{Changed: 2, Next: 7}, nil
			}
			return admin.Resynced{Changed: 1}, nil
		},
		ReleaseFuse: func(_ context.Context, target string) (int, error) {
			d.did("release " + target)
			return 3, nil
		},
		Explain: func(_ context.Context, source string, text []byte, _ bool) (admin.Explanation, error) {
			if !strings.HasPrefix(string(text), "{") {
				return admin.Explanation{Quarantined: "it is no JSON"}, nil
			}
			return admin.Explanation{Verdict: "accepted", Withdrawal: true, Rules: []admin.Explained{{Rule: "news", Target: "mail", Records: []json.RawMessage{json.RawMessage(`{"email":"<b>"}`)}}}}, nil
		},
	}))
	t.Cleanup(server.Close)
	t.Cleanup(d.console.Close) // before the server's own end, which waits for streams
	d.browser = newBrowser(t, server.URL)
	return d
}

func (d *desk) fill() {
	d.t.Helper()
	ctx, now := d.t.Context(), time.Now()
	state, err := consent.Decode([]byte(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.store.Route(ctx, map[string][]store.Route{"in": {{Rule: "contact", Target: "crm"}, {Rule: "news", Target: "mail"}}}); err != nil {
		d.t.Fatal(err)
	}
	if _, err = d.store.Accept(ctx, consent.Update{Source: "in", Type: consent.EffectivePermission, Received: now, State: state, Body: []byte(body)}); err != nil {
		d.t.Fatal(err)
	}
	for _, target := range []string{"crm", "mail"} {
		claims, err := d.store.Claim(ctx, target, now.Add(time.Second), 1, store.AllLanes)
		if err != nil || len(claims) != 1 {
			d.t.Fatal(claims, err)
		}
		s := store.Settlement{Claim: claims[0], At: now, Status: store.Dead, Attempts: 1, Outcome: "rejected", Reason: store.ReasonRejected, Error: "NO_SUCH_FIELD"}
		if target == "mail" {
			s = store.Settlement{Claim: claims[0], At: now, Status: store.Settled, Outcome: "delivered", Digest: []byte("x"), Given: true, Receipt: &store.Receipt{
				Source: "in", CitizenID: "c-1815", Rule: "news", Target: "mail", Version: 1, SentAt: now, Received: now, Confirmed: now,
				Outcome: "delivered", Digest: []byte("x"), Reference: "vendor-42", Transactions: []string{"t-4711"}, Plugin: "mailchimp 1", Config: "0123",
			}}
		}
		if err := d.store.Settle(ctx, []store.Settlement{s}); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := d.store.Quarantine(ctx, store.Quarantined{Source: "in", Received: now, Reason: "no JSON", Body: []byte("c-1815 ada@example.org")}); err != nil {
		d.t.Fatal(err)
	}
}

// page is an answer, after the redirects that a browser follows.
type page struct {
	status int
	path   string
	text   string
	header http.Header
}

func (d *browser) do(r *http.Request) page {
	d.t.Helper()
	res, err := d.http.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return page{res.StatusCode, res.Request.URL.RequestURI(), string(text), res.Header}
}

func (d *browser) get(path string) page {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.url+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.do(r)
}

func (d *browser) post(path string, pairs ...string) page {
	d.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return d.do(r)
}

// dead is the id of the one dead letter; zero if there is none.
func (d *desk) dead() int64 {
	d.t.Helper()
	all, err := d.store.ListDead(d.t.Context(), store.DeadFilter{Limit: 10})
	if err != nil {
		d.t.Fatal(err)
	}
	if len(all) == 0 {
		return 0
	}
	return all[0].ID
}

func (p page) has(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(p.text, part) {
			t.Errorf("%s: no %q in\n%s", p.path, part, p.text)
		}
	}
}

func (p page) hasNothingPersonal(t *testing.T) {
	t.Helper()
	for _, part := range personal {
		if strings.Contains(p.text, part) || strings.Contains(p.path, part) {
			t.Errorf("%s shows %q", p.path, part)
		}
	}
}

// fillAgain lets the delivery to crm die once more.
func (d *desk) fillAgain() {
	d.t.Helper()
	claims, err := d.store.Claim(d.t.Context(), "crm", time.Now().Add(time.Hour), 1, store.AllLanes)
	if err != nil || len(claims) != 1 {
		d.t.Fatal(claims, err)
	}
	if err := d.store.Settle(d.t.Context(), []store.Settlement{{Claim: claims[0], At: time.Now(), Status: store.Dead, Outcome: "rejected", Reason: store.ReasonRejected}}); err != nil {
		d.t.Fatal(err)
	}
}
