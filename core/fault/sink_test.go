package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// sink is a target: it takes what the webhook plugin sends under sinkRule and sees to it that no citizen
// goes backwards.
type sink struct {
	url    string
	server *http.Server
	// answer, if not nil, answers in place of 200 and says whether it did.
	answer func(w http.ResponseWriter, r *http.Request, got record) bool
	// delay is how long it takes to take a record, as a vendor does.
	delay time.Duration

	mu         sync.Mutex
	generation int
	open       map[net.Conn]int // generation at which it was made
	held       map[string]held  // by citizen
	requests   int
	backwards  []string
	overtaken  int
}

type record struct {
	Citizen string `json:"citizen"`
	Allowed bool   `json:"allowed"`
	SentAt  string `json:"sent_at"`
}

type held struct {
	number     int64
	generation int
}

type connKey struct{}

func newSink(t testing.TB) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{url: "http://" + l.Addr().String(), open: map[net.Conn]int{}, held: map[string]held{}}
	s.server = &http.Server{Handler: s, ConnState: s.connState, ConnContext: connContext}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.server.Serve(l)
	}()
	t.Cleanup(func() {
		s.server.Close()
		<-done
	})
	return s
}

// rule is a target named so, and a rule that feeds the sink through it.
func (s *sink) rule(name, extra string) string {
	return fmt.Sprintf(`
target "webhook" %[1]q {
  %[3]s

  config {
    url = %[2]q
  }
}

rule %[1]q {
  source = source.dataguard
  target = target.%[1]s

  record {
    key = citizen.id
    body = {
      citizen = citizen.id
      allowed = permission.newsletter_email.allowed
      sent_at = sent_at
    }
  }
}
`, name, s.url, extra)
}

func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func (s *sink) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.open[c] = s.generation
	case http.StateClosed, http.StateHijacked:
		delete(s.open, c)
	}
}

// pluginKilled notes that whoever made the connections so far is about to be killed. What it had sent can
// still arrive, after what its successor sends; nothing on this side of the network can prevent that, so it
// is counted and not held against the daemon.
func (s *sink) pluginKilled() {
	s.mu.Lock()
	s.generation++
	s.mu.Unlock()
}

// quiet waits until all that a killed plugin had sent is taken.
func (s *sink) quiet(t testing.TB) {
	eventually(t, "the sink has no connection", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.open) == 0
	})
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var got record
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
		return // cut off, with the plugin
	}
	if s.answer != nil && s.answer(w, r, got) {
		return
	}
	s.take(got, r)
	time.Sleep(s.delay)
	w.WriteHeader(http.StatusOK)
}

func (s *sink) take(got record, r *http.Request) {
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	generation, open := s.open[conn]
	if !open {
		generation = -1
	}
	s.requests++
	n, before := number(got.SentAt), s.held[got.Citizen]
	switch {
	case n >= before.number:
		s.held[got.Citizen] = held{n, s.generation}
	case generation < before.generation:
		s.overtaken++
	default:
		s.backwards = append(s.backwards, fmt.Sprintf("%s: update %d came after update %d", got.Citizen, n, before.number))
	}
	if got.Allowed != (n%2 == 1) {
		s.backwards = append(s.backwards, fmt.Sprintf("%s: update %d came as allowed = %v", got.Citizen, n, got.Allowed))
	}
}

// newest is the number of the newest update that came of a citizen; 0 if none.
func (s *sink) newest(citizen string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[citizen].number
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// check is law 2.
func (s *sink) check(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, b := range s.backwards {
		if i == 5 {
			t.Errorf("and %d more", len(s.backwards)-i)
			break
		}
		t.Error(b)
	}
	s.backwards = nil
}
