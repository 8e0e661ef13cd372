package daemon

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/webhook"
)

// router gives every update the routes of its source that are in force when it is committed, and no update
// those of before once they have changed: what makes deliveries of new rules counts on that.
type router struct {
	store store.Store

	mu     sync.RWMutex
	routes map[string][]store.Route // by source
}

// swap waits for commits under way.
func (r *router) swap(routes map[string][]store.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.routes = routes
}

func (r *router) Accept(ctx context.Context, u consent.Update) (consent.Verdict, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.store.Accept(ctx, u, r.routes[u.Source])
}

func (r *router) Quarantine(ctx context.Context, q store.Quarantined) error {
	return r.store.Quarantine(ctx, q)
}

func (r *router) tick(ctx context.Context, now time.Time, limit int) (int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.store.Tick(ctx, now, limit, r.routes)
}

func (r *router) release(ctx context.Context, source, citizenID string) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.store.ReleaseHeld(ctx, source, citizenID, time.Now(), r.routes[source])
}

// front is what the listener serves: the handler of the configuration in force. Requests that are under way
// when it changes are finished by the one before.
type front struct {
	now atomic.Pointer[webhook.Handler]
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.now.Load().ServeHTTP(w, r) }

// Drain makes every post from now on answer 503.
func (f *front) Drain() { f.now.Load().Drain() }
