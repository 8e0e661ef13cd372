package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/consentd/consentd/core/store"
)

const (
	monday  = "2026-03-02T09:14:06.010Z"
	tuesday = "2026-03-03T09:14:06.010Z"
)

func TestAnswers(t *testing.T) {
	good := update("c-1", "GRANTED", monday)
	for _, tc := range []struct {
		name         string
		method, path string // POST to the source when empty
		header       http.Header
		body         string
		fails        error
		status       int
		word         string
		answer       http.Header // some of the answer's fields
		quarantined  bool
	}{
		{name: "update", body: good, status: 200, word: "accepted"},
		{name: "charset", header: http.Header{"Content-Type": {"Application/JSON; Charset=UTF-8"}}, body: good, status: 200, word: "accepted"},
		{name: "suffix", header: http.Header{"Content-Type": {"application/vnd.sender+json"}}, body: good, status: 200, word: "accepted"},
		{name: "no type", header: http.Header{"Content-Type": nil}, body: good, status: 200, word: "accepted"},
		{name: "identity", header: http.Header{"Content-Encoding": {"identity"}}, body: good, status: 200, word: "accepted"},
		{name: "application as number", body: strings.Replace(good, `"acme-eu-01"`, "17", 1), status: 202, word: "quarantined", quarantined: true},

		{name: "not JSON", body: "citizenId=c-1", status: 202, word: "quarantined", quarantined: true},
		{name: "cut off", body: good[:len(good)-9], status: 202, word: "quarantined", quarantined: true},
		{name: "nothing", body: "", status: 202, word: "quarantined", quarantined: true},
		{name: "null", body: "null", status: 202, word: "quarantined", quarantined: true},
		{name: "list", body: "[" + good + "]", status: 202, word: "quarantined", quarantined: true},
		{name: "two", body: good + good, status: 202, word: "quarantined", quarantined: true},
		{name: "not UTF-8", body: strings.Replace(good, "J. Roe", "J\xff", 1), status: 202, word: "quarantined", quarantined: true},
		{name: "name twice", body: strings.Replace(good, `"preferences"`, `"citizenId":"c-2","preferences"`, 1), status: 202, word: "quarantined", quarantined: true},
		{name: "other application", body: strings.Replace(good, "acme-eu-01", "acme-us-01", 1), status: 202, word: "quarantined", quarantined: true},
		{name: "no application", body: strings.Replace(good, "applicationId", "application", 1), status: 202, word: "quarantined", quarantined: true},
		{name: "no citizen", body: strings.Replace(good, "citizenId", "citizen", 1), status: 202, word: "quarantined", quarantined: true},
		{name: "unknown shape", body: `{"applicationId":"acme-eu-01","citizenId":"c-1","changes":[],"sentAt":"` + monday + `"}`, status: 202, word: "quarantined", quarantined: true},
		{name: "impossible time", body: strings.ReplaceAll(good, monday, "2026-13-02T09:14:06Z"), status: 202, word: "quarantined", quarantined: true},

		{name: "no key", header: http.Header{"X-Api-Key": nil}, body: good, status: 401, word: "unauthorized", answer: http.Header{"Www-Authenticate": {`ApiKey realm="consentd"`}}},
		{name: "no key, too large", header: http.Header{"X-Api-Key": nil}, body: strings.Repeat(" ", maxBody+1), status: 401, word: "unauthorized"},
		{name: "no key, wrong type", header: http.Header{"X-Api-Key": nil, "Content-Type": {"text/plain"}}, body: good, status: 401, word: "unauthorized"},
		{name: "too large", body: good + strings.Repeat(" ", maxBody), status: 413, word: "too_large"},
		{name: "as large as allowed", body: good + strings.Repeat(" ", maxBody-len(good)), status: 200, word: "accepted"},
		{name: "GET", method: http.MethodGet, status: 405, word: "wrong_method", answer: http.Header{"Allow": {"POST"}}},
		{name: "PUT", method: http.MethodPut, body: good, status: 405, word: "wrong_method", answer: http.Header{"Allow": {"POST"}}},
		{name: "OPTIONS", method: http.MethodOptions, status: 405, word: "wrong_method", answer: http.Header{"Allow": {"POST"}}},
		{name: "text", header: http.Header{"Content-Type": {"text/plain"}}, body: good, status: 415, word: "wrong_media_type"},
		{name: "form", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: good, status: 415, word: "wrong_media_type"},
		{name: "JSON lines", header: http.Header{"Content-Type": {"application/jsonl"}}, body: good, status: 415, word: "wrong_media_type"},
		{name: "other charset", header: http.Header{"Content-Type": {"application/json; charset=latin1"}}, body: good, status: 415, word: "wrong_media_type"},
		{name: "malformed type", header: http.Header{"Content-Type": {"application/json; charset"}}, body: good, status: 415, word: "wrong_media_type"},
		{name: "gzip", header: http.Header{"Content-Encoding": {"gzip"}}, body: good, status: 415, word: "wrong_media_type", answer: http.Header{"Accept-Encoding": {"identity"}}},

		{name: "store fails", body: good, fails: store.ErrUnavailable, status: 503, word: "unavailable", answer: http.Header{"Retry-After": {"5"}}},
		{name: "store poisoned", body: good, fails: store.ErrPoisoned, status: 503, word: "unavailable", answer: http.Header{"Retry-After": {"5"}}},
		{name: "store fails strangely", body: good, fails: errors.New("anything"), status: 503, word: "unavailable", answer: http.Header{"Retry-After": {"5"}}},
		{name: "quarantine fails", body: "{", fails: store.ErrUnavailable, status: 503, word: "unavailable", answer: http.Header{"Retry-After": {"5"}}},
		{name: "other path", path: "/webhooks", body: good, status: 404, word: "not_found"},
		{name: "path with a slash more", path: path + "/", body: good, status: 404, word: "not_found"},
		{name: "unclean path", path: "//webhooks/../webhooks/dataguard", body: good, status: 404, word: "not_found"},
		{name: "no token endpoint here", path: tokenPath, body: good, status: 404, word: "not_found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, keyAuth())
			b.store.fails = tc.fails
			if tc.method == "" {
				tc.method = http.MethodPost
			}
			if tc.path == "" {
				tc.path = path
			}
			got := b.do(t, tc.method, tc.path, withKey(tc.header), strings.NewReader(tc.body))
			if got.status != tc.status || got.word(t) != tc.word {
				t.Fatalf("answer = %d %s, want %d %s", got.status, got.body, tc.status, tc.word)
			}
			for name, want := range tc.answer {
				if got.header.Get(name) != want[0] {
					t.Errorf("%s = %q, want %q", name, got.header.Get(name), want[0])
				}
			}
			if ct := got.header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("Content-Type = %q", ct)
			}
			wantAccepted, wantQuarantined := 0, 0
			if tc.status == 200 {
				wantAccepted = 1
			}
			if tc.quarantined {
				wantQuarantined = 1
			}
			if a, q := b.store.counts(); a != wantAccepted || q != wantQuarantined {
				t.Errorf("store has %d updates and %d in quarantine, want %d and %d", a, q, wantAccepted, wantQuarantined)
			}
			if tc.status != 404 {
				if n := testutil.ToFloat64(b.metrics.requests.WithLabelValues("dataguard", tc.word)); n != 1 {
					t.Errorf("requests counted as %s = %v, want 1", tc.word, n)
				}
			}
		})
	}
}

func TestVerdictsAreAnswered(t *testing.T) {
	b := newBench(t, keyAuth())
	for _, step := range []struct{ body, word string }{
		{update("c-1", "GRANTED", tuesday), "accepted"},
		{update("c-1", "GRANTED", tuesday), "duplicate"},
		{update("c-1", "DENIED", monday), "superseded"},
		{update("c-2", "DENIED", monday), "accepted"},
	} {
		if got := b.post(t, withKey(nil), step.body); got.status != 200 || got.word(t) != step.word {
			t.Fatalf("answer = %d %s, want 200 %s", got.status, got.body, step.word)
		}
	}
	if n := testutil.CollectAndCount(b.metrics.commit); n != 1 {
		t.Errorf("histograms of commits = %d, want 1", n)
	}
}

// What the store gets is what came, and stays what it was when other requests follow.
func TestStoreGetsTheMessage(t *testing.T) {
	b := newBench(t, keyAuth())
	var want []string
	for i := range 50 {
		body := update(fmt.Sprintf("c-%d", i), "GRANTED", monday)
		want = append(want, body)
		if got := b.post(t, withKey(nil), body); got.status != 200 {
			t.Fatalf("answer = %d %s", got.status, got.body)
		}
	}
	for i, u := range b.store.accepted {
		if string(u.Body) != want[i] {
			t.Errorf("body %d = %q, want %q", i, u.Body, want[i])
		}
		if u.Source != "dataguard" || u.Type != b.source.UpdateType || !u.Received.Equal(b.clock.read()) || string(u.State.CitizenID) != fmt.Sprintf("c-%d", i) {
			t.Errorf("update %d = %+v", i, u)
		}
	}
	if b.post(t, withKey(nil), "{not JSON"); len(b.store.quarantined) != 1 {
		t.Fatal("not quarantined")
	}
	q := b.store.quarantined[0]
	if q.Source != "dataguard" || string(q.Body) != "{not JSON" || q.Size != len(q.Body) || q.Reason == "" || !q.Received.Equal(b.clock.read()) {
		t.Errorf("quarantined = %+v", q)
	}
}

func TestEitherArrayMayBeMissing(t *testing.T) {
	b := newBench(t, keyAuth())
	for i, arrays := range []string{`"permissions":[]`, `"preferences":[]`, `"permissions":[],"preferences":null`} {
		body := fmt.Sprintf(`{"applicationId":"acme-eu-01","citizenId":%d,%s,"sentAt":"%s"}`, i, arrays, monday)
		if got := b.post(t, withKey(nil), body); got.status != 200 {
			t.Errorf("%s: answer = %d %s", arrays, got.status, got.body)
		}
	}
}

// endless goes on far past every limit and knows how far it was read.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.read > 64*maxBody {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error { return nil }

func TestTooLargeIsNotReadWhole(t *testing.T) {
	b := newBench(t, keyAuth())
	for _, tc := range []struct {
		name   string
		length int64
		most   int
	}{
		{"length given", maxBody + 1, 0},
		{"length unknown", -1, 4 * maxBody},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := &endless{}
			req, _ := http.NewRequest(http.MethodPost, path, body)
			req.Header, req.ContentLength = withKey(nil), tc.length
			w := newRecorder()
			b.handler.ServeHTTP(w, req)
			if w.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("answer = %d", w.Code)
			}
			if body.read > tc.most {
				t.Errorf("read %d bytes of an endless body, want at most %d", body.read, tc.most)
			}
		})
	}
	// Over the wire with no length told, which is chunked.
	got := b.do(t, http.MethodPost, path, withKey(nil), io.LimitReader(&endless{}, 2*maxBody))
	if got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("answer to chunks = %d", got.status)
	}
}

// A sender that has gone does not undo the commit, and a store that hangs is not waited for without end.
func TestContextOfTheCommit(t *testing.T) {
	b := newBench(t, keyAuth())
	ctx, gone := context.WithCancel(t.Context())
	b.store.before = func(commit context.Context) {
		gone()
		if commit.Err() != nil {
			t.Errorf("the commit ended with its request: %v", commit.Err())
		}
		if _, ok := commit.Deadline(); !ok {
			t.Error("the commit has no deadline")
		}
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(update("c-1", "GRANTED", monday)))
	req.Header = withKey(nil)
	b.handler.ServeHTTP(newRecorder(), req)
	if a, _ := b.store.counts(); a != 1 {
		t.Errorf("store has %d updates, want 1", a)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	b := newBench(t, keyAuth())
	b.store.before = func(context.Context) { panic("ada.lovelace@example.org") }
	got := b.post(t, withKey(nil), update("c-1", "GRANTED", monday))
	if got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("answer = %d %s", got.status, got.body)
	}
	if log := b.log.String(); !strings.Contains(log, "panicked") || strings.Contains(log, "ada.lovelace") {
		t.Errorf("log = %s", log)
	}
}

func TestDrain(t *testing.T) {
	b := newBench(t, oauth())
	token := b.token(t, refreshOne)
	entered, leave := make(chan struct{}), make(chan struct{})
	b.store.before = func(context.Context) { close(entered); <-leave }
	header := http.Header{"Authorization": {"Bearer " + token}}
	req, _ := http.NewRequest(http.MethodPost, path, strings.NewReader(update("c-1", "GRANTED", monday)))
	req.Header = header
	under := make(chan int, 1)
	go func() {
		w := newRecorder()
		b.handler.ServeHTTP(w, req)
		under <- w.Code
	}()
	select {
	case <-entered:
	case got := <-under:
		t.Fatalf("answer = %d before the store was reached", got)
	}
	b.handler.Drain()
	for _, path := range []string{path, tokenPath} {
		got := b.do(t, http.MethodPost, path, header, strings.NewReader(update("c-2", "GRANTED", monday)))
		if got.status != 503 || got.word(t) != "draining" || got.header.Get("Retry-After") != "5" {
			t.Errorf("%s: answer = %d %s", path, got.status, got.body)
		}
	}
	close(leave)
	if got := <-under; got != 200 {
		t.Errorf("request under way: answer = %d", got)
	}
	if a, _ := b.store.counts(); a != 1 {
		t.Errorf("store has %d updates, want 1", a)
	}
}
