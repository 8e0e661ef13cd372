package console

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// stream is what the live parts of a page are, event by event.
type stream struct {
	t      *testing.T
	res    *http.Response
	events *bufio.Scanner
}

func (b *browser) watch(ctx context.Context, page string) *stream {
	b.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/events?page="+page, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { res.Body.Close() })
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		b.t.Fatalf("%d %s", res.StatusCode, got)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	return &stream{b.t, res, lines}
}

// next is the next fragment; false when the stream has ended.
func (s *stream) next() (f fragment, ok bool) {
	s.t.Helper()
	for s.events.Scan() {
		data, ok := strings.CutPrefix(s.events.Text(), "data: ")
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(data), &f); err != nil {
			s.t.Fatal(err)
		}
		return f, true
	}
	return f, false
}

// TestEvents: a page gets its parts, and then what has changed, without a name in it, until the daemon ends.
func TestEvents(t *testing.T) {
	d := newDesk(t)
	s := d.watch(t.Context(), "/")
	seen := map[string]bool{}
	for len(seen) < 6 {
		f, ok := s.next()
		if !ok {
			t.Fatalf("the stream ended after %v", seen)
		}
		page{path: f.ID, text: f.HTML}.hasNothingPersonal(t)
		seen[f.ID] = true
	}
	for _, id := range []string{"attention", "tabs", "vitals", "flow", "targets", "sources"} {
		if !seen[id] {
			t.Errorf("no part %s", id)
		}
	}
	d.mu.Lock()
	d.status.Targets[0].State = "unauthorized"
	d.mu.Unlock()
	for told := false; !told; {
		f, ok := s.next()
		if !ok {
			t.Fatal("the stream ended before the change")
		}
		told = f.ID == "attention" && strings.Contains(f.HTML, "crm does not accept its credentials")
	}
	d.console.Close()
	for {
		if _, ok := s.next(); !ok {
			return
		}
	}
}

// TestEventsOfSession: the stream ends with the session.
func TestEventsOfSession(t *testing.T) {
	d := newDesk(t, access...)
	d.post("/login", "token", "read-token")
	s := d.watch(t.Context(), "/targets/crm")
	if _, ok := s.next(); !ok {
		t.Fatal("nothing came")
	}
	d.post("/logout")
	for {
		if _, ok := s.next(); !ok {
			return
		}
	}
}

// TestTooManyStreams: there is an end to them, and those who left make room.
func TestTooManyStreams(t *testing.T) {
	d := newDesk(t)
	var all []chan struct{}
	for range maxWatchers {
		all = append(all, d.console.watchers.add())
	}
	if p := d.get("/events?page=/"); p.status != http.StatusServiceUnavailable {
		t.Errorf("status %d", p.status)
	}
	d.console.watchers.remove(all[0])
	ctx, cancel := context.WithCancel(t.Context())
	if _, ok := d.watch(ctx, "/").next(); !ok {
		t.Error("nothing came")
	}
	cancel()
}
