package sim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver takes webhooks.
type receiver struct {
	*httptest.Server
	answer func(r *http.Request) int

	mu  sync.Mutex
	all []consent.State
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{answer: func(*http.Request) int { return 200 }}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/oauth/token" {
			if req.PostFormValue("grant_type") != "refresh_token" || req.PostFormValue("refresh_token") != "refresh" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			io.WriteString(w, `{"access_token": "access"}`)
			return
		}
		body, _ := io.ReadAll(req.Body)
		state, err := consent.Decode(body)
		if err != nil {
			t.Errorf("a webhook cannot be read: %v", err)
		}
		status := r.answer(req)
		r.mu.Lock()
		defer r.mu.Unlock()
		if status == 200 {
			r.all = append(r.all, state)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) taken() []consent.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

func begin(t *testing.T) (*Sim, *receiver) {
	s := New(Options{})
	t.Cleanup(s.Close)
	return s, newReceiver(t)
}

func (r *receiver) subscribe(t *testing.T, s *Sim, updateType consent.UpdateType, a cpm.Authentication) string {
	t.Helper()
	id, err := s.Subscribe(cpm.Subscription{Name: "x", URL: r.URL, UpdateType: string(updateType), Authentication: a})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func (s *Sim) idle() bool { queued, _ := s.Waiting(); return queued == 0 }

var none = cpm.Authentication{AuthType: cpm.AuthNone}

func said(s consent.State) string {
	var all []string
	for _, p := range s.Permissions {
		all = append(all, p.OptionID+"="+p.State)
	}
	for _, p := range s.Preferences {
		all = append(all, p.Preference)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestEffective(t *testing.T) {
	s, _ := begin(t)
	c := s.Add("ada")
	s.Record(c, Grant("news"), Grant("post"))
	s.Prefer(c, "interests", "jazz")
	// The latest obtainedAt wins, not what was recorded last.
	s.Record(c, Change{Option: "post", Justification: "consent", State: "DENIED", ObtainedAt: time.Now().Add(-time.Hour)})
	if got := said(s.State(c)); got != "interests news=GRANTED post=GRANTED" {
		t.Errorf("at first %q", got)
	}
	// When a newer one ends, the older one that still holds is back.
	s.Record(c, Change{Option: "news", Justification: "consent", State: "DENIED", ValidUntil: time.Now().Add(time.Hour)})
	if got := said(s.State(c)); !strings.Contains(got, "news=DENIED") {
		t.Errorf("while it holds %q", got)
	}
	s.Advance(2 * time.Hour)
	if got := said(s.State(c)); !strings.Contains(got, "news=GRANTED") {
		t.Errorf("when it has ended %q", got)
	}
	other := s.Add("bob")
	s.Record(other, Deny("news"))
	s.Link(c, other)
	if a, b := said(s.State(c)), said(s.State(other)); !strings.Contains(a, "news=DENIED") || a != b {
		t.Errorf("linked: %q and %q", a, b)
	}
	s.Unlink(other)
	if got := said(s.State(c)); !strings.Contains(got, "news=GRANTED") {
		t.Errorf("no longer linked: %q", got)
	}
	s.Merge(c, other, true)
	if got := said(s.State(c)); !strings.Contains(got, "news=DENIED") {
		t.Errorf("merged: %q", got)
	}
}

func TestWebhooks(t *testing.T) {
	t.Run("whole state", func(t *testing.T) {
		s, r := begin(t)
		r.subscribe(t, s, consent.EffectivePermission, none)
		c := s.Add("ada")
		s.Record(c, Grant("news"))
		s.Prefer(c, "interests", "jazz")
		wait(t, "two messages", func() bool { return len(r.taken()) == 2 })
		if got := said(r.taken()[1]); got != "interests news=GRANTED" {
			t.Errorf("the second says %q", got)
		}
	})
	t.Run("changes alone", func(t *testing.T) {
		s, r := begin(t)
		r.subscribe(t, s, consent.ConsentReceipts, none)
		c := s.Add("ada")
		s.Record(c, Grant("news"))
		s.Record(c, Grant("post"))
		wait(t, "two messages", func() bool { return len(r.taken()) == 2 })
		if got := said(r.taken()[1]); got != "post=GRANTED" {
			t.Errorf("the second says %q", got)
		}
	})
	t.Run("a pause loses", func(t *testing.T) {
		s, r := begin(t)
		id := r.subscribe(t, s, consent.EffectivePermission, none)
		c := s.Add("ada")
		s.SetStatus(id, cpm.Paused)
		s.Record(c, Grant("news"))
		s.SetStatus(id, cpm.Active)
		s.Record(c, Grant("post"))
		wait(t, "it is idle", s.idle)
		if n := len(r.taken()); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
	t.Run("nothing of a deletion", func(t *testing.T) {
		s, r := begin(t)
		r.subscribe(t, s, consent.EffectivePermission, none)
		s.Delete(s.Add("ada"))
		wait(t, "it is idle", s.idle)
		if n := len(r.taken()); n != 0 {
			t.Errorf("%d messages", n)
		}
	})
	t.Run("twice", func(t *testing.T) {
		s, r := begin(t)
		s.Behave(func(b *Behaviour) { b.Duplicate = true })
		r.subscribe(t, s, consent.EffectivePermission, none)
		s.Record(s.Add("ada"), Grant("news"))
		wait(t, "two messages", func() bool { return len(r.taken()) == 2 })
	})
}

// Three quick tries, then hourly, with the message as it was, or stamped anew.
func TestRetries(t *testing.T) {
	for name, restamp := range map[string]bool{"as it was": false, "stamped anew": true} {
		t.Run(name, func(t *testing.T) {
			s, r := begin(t)
			s.Behave(func(b *Behaviour) { b.Restamp = restamp })
			var mu sync.Mutex
			posts, status := 0, 500
			r.answer = func(*http.Request) int {
				mu.Lock()
				defer mu.Unlock()
				posts++
				return status
			}
			r.subscribe(t, s, consent.EffectivePermission, none)
			s.Record(s.Add("ada"), Grant("news"))
			wait(t, "it failed", func() bool { _, failed := s.Waiting(); return failed == 1 })
			mu.Lock()
			if posts != 3 {
				t.Errorf("%d quick tries", posts)
			}
			status = 200
			mu.Unlock()
			s.Advance(59 * time.Minute)
			if _, failed := s.Waiting(); failed != 1 {
				t.Error("it did not wait for an hour")
			}
			s.Advance(2 * time.Minute)
			wait(t, "it is taken", func() bool { return len(r.taken()) == 1 })
			if got := r.taken()[0]; got.SentAt.Sub(got.Permissions[0].RecordedAt) > time.Minute != restamp {
				t.Errorf("recorded %v, sent %v", got.Permissions[0].RecordedAt, got.SentAt)
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	for name, tc := range map[string]struct {
		a     cpm.Authentication
		right func(*http.Request) bool
	}{
		"header": {cpm.Authentication{AuthType: cpm.AuthAPIKey, APIKey: &cpm.APIKey{Location: "header", Key: "X-Key", Value: "v"}},
			func(r *http.Request) bool { return r.Header.Get("X-Key") == "v" }},
		"query": {cpm.Authentication{AuthType: cpm.AuthAPIKey, APIKey: &cpm.APIKey{Location: "query", Key: "k", Value: "v"}},
			func(r *http.Request) bool { return r.URL.Query().Get("k") == "v" }},
		"token": {cpm.Authentication{AuthType: cpm.AuthToken, Token: "t"},
			func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer t" }},
		"refresh": {cpm.Authentication{AuthType: cpm.AuthToken, RefreshToken: "refresh", RefreshURL: "/oauth/token"},
			func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer access" }},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := begin(t)
			r.answer = func(req *http.Request) int {
				if tc.right(req) {
					return 200
				}
				return 401
			}
			if tc.a.RefreshURL != "" {
				tc.a.RefreshURL = r.URL + tc.a.RefreshURL
			}
			r.subscribe(t, s, consent.EffectivePermission, tc.a)
			s.Record(s.Add("ada"), Grant("news"))
			wait(t, "it is taken", func() bool { return len(r.taken()) == 1 })
		})
	}
}

func TestAPI(t *testing.T) {
	s, _ := begin(t)
	server := httptest.NewServer(s)
	defer server.Close()
	get := func(path string, q url.Values) (int, map[string]any) {
		t.Helper()
		req, _ := http.NewRequest(http.MethodGet, server.URL+path+"?"+q.Encode(), nil)
		req.Header.Set("X-API-Key", APIKey)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var out map[string]any
		_ = json.NewDecoder(res.Body).Decode(&out)
		return res.StatusCode, out
	}
	defer http.DefaultClient.CloseIdleConnections()
	var ids []string
	for _, ref := range []string{"a", "b", "c"} {
		ids = append(ids, s.Add(ref))
		s.Record(ids[len(ids)-1], Grant("news"))
	}
	page := func(q url.Values) (int, int, any) {
		t.Helper()
		q.Set("applicationId", Application)
		status, out := get(effectivePath, q)
		items, _ := out["items"].([]any)
		return status, len(items), out["total"]
	}
	for name, tc := range map[string]struct {
		q             url.Values
		status, items int
		total         any
	}{
		"all":         {url.Values{}, 200, 3, 3.0},
		"a page":      {url.Values{"limit": {"2"}, "offset": {"1"}, "includeTotal": {"false"}}, 200, 2, nil},
		"by ref":      {url.Values{"externalRef": {"b"}}, 200, 1, nil},
		"nobody":      {url.Values{"externalRef": {"z"}}, 200, 0, nil},
		"in a window": {url.Values{"since": {time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}, "before": {time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)}}, 200, 0, 0.0},
		"too long":    {url.Values{"limit": {"101"}}, 400, 0, nil},
	} {
		time.Sleep(2 * time.Millisecond) // before is exclusive, and the clock counts in milliseconds
		if status, items, total := page(tc.q); status != tc.status || items != tc.items || total != tc.total {
			t.Errorf("%s: %d, %d items, total %v", name, status, items, total)
		}
	}
	s.Behave(func(b *Behaviour) { b.MaxWindow = 2 })
	if status, _, _ := page(url.Values{}); status != http.StatusGatewayTimeout {
		t.Errorf("a window that is too large: %d", status)
	}
	if status, _ := get(citizensPath+ids[0], nil); status != 200 {
		t.Errorf("a citizen: %d", status)
	}
	s.Delete(ids[0])
	for _, path := range []string{citizensPath + ids[0], permissionsPath + "?citizenId=" + ids[0]} {
		at, raw, _ := strings.Cut(path, "?")
		q, _ := url.ParseQuery(raw)
		if status, _ := get(at, q); status != 404 {
			t.Errorf("%s of a citizen who is gone: %d", path, status)
		}
	}
	s.Behave(func(b *Behaviour) { b.RateLimit = 1 })
	limited := false
	for range 5 {
		status, _ := get(configurationPath, nil)
		limited = limited || status == 429
	}
	if !limited {
		t.Error("no rate limit")
	}
}
