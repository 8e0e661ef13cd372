package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// hints tell whoever waits that something of a target may have become due: those here at once, other replicas by
// NOTIFY. That is a hint alone. It takes a lock of the whole database at its commit, so it is sent apart from what it
// tells of, and for many commits at once.
type hints struct {
	told chan struct{} // has an element when there is something to tell

	mu      sync.Mutex
	changed map[string]chan struct{} // by target
	tell    map[string]bool
}

// tellEvery is how long commits are gathered before the other replicas are told.
const tellEvery = 30 * time.Millisecond

func newHints() *hints {
	return &hints{told: make(chan struct{}, 1), changed: map[string]chan struct{}{}, tell: map[string]bool{}}
}

// Changed receives when something of the target may have become due by a commit, here or elsewhere.
func (s *Store) Changed(target string) <-chan struct{} {
	s.hints.mu.Lock()
	defer s.hints.mu.Unlock()
	return s.hints.of(target)
}

// of is for who holds the mutex.
func (h *hints) of(target string) chan struct{} {
	c := h.changed[target]
	if c == nil {
		c = make(chan struct{}, 1)
		h.changed[target] = c
	}
	return c
}

func hint(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// committed is for what a commit here changed.
func (h *hints) committed(targets map[string]bool) {
	if len(targets) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for target := range targets {
		hint(h.of(target))
		h.tell[target] = true
	}
	hint(h.told)
}

// heard is for what a commit elsewhere changed.
func (h *hints) heard(target string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hint(h.of(target))
}

// all is for when anything may have changed.
func (h *hints) all() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.changed {
		hint(c)
	}
}

// channel is the schema's own.
const channel = `(SELECT 'consentd_' || oid FROM pg_namespace WHERE nspname = current_schema())`

func (h *hints) listen(ctx context.Context, conn *pgx.Conn) error {
	var name string
	if _, err := one(ctx, conn, []any{&name}, `SELECT `+channel); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, `LISTEN `+pgx.Identifier{name}.Sanitize())
	return err
}

// hear passes on what other replicas tell, until ctx ends.
func (s *Store) hear(ctx context.Context, conn *pgx.Conn) error {
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		who, target, _ := strings.Cut(n.Payload, " ")
		if id, err := strconv.ParseInt(who, 10, 64); err == nil && id != s.replica.number() {
			s.hints.heard(target)
		}
	}
}

// tellOthers sends what was gathered, unless there are no others.
func (s *Store) tellOthers(ctx context.Context) {
	h := s.hints
	h.mu.Lock()
	targets := h.tell
	h.tell = map[string]bool{}
	h.mu.Unlock()
	if s.Share().Of < 2 {
		return
	}
	_ = s.commit(ctx, nil, func(t *tx) error {
		t.write.Queue(`SET LOCAL synchronous_commit = off`)
		for target := range targets {
			t.write.Queue(`SELECT pg_notify(`+channel+`, $1)`, fmt.Sprint(s.replica.number(), " ", target))
		}
		return nil
	})
}
