package dispatch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
)

// leased is a store as one of several replicas has it.
type leased struct {
	*sqlite.Store
	mu    sync.Mutex
	until time.Time
	share store.Share
}

func (l *leased) Until(store.Claimed) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

func (l *leased) Share() store.Share {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.share
}

func (l *leased) set(until time.Time, share store.Share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until, l.share = until, share
}

// lease starts the world's target anew as one of several replicas.
func (w *world) lease(until time.Time, share store.Share) *leased {
	w.group.Drain(context.Background())
	l := &leased{Store: w.store, until: until, share: share}
	w.group = Start(w.target, l, NewMetrics(prometheus.NewRegistry()), hclog.NewNullLogger())
	return l
}

func TestLease(t *testing.T) {
	run(t, "nothing is sent once it has ended", nil, func(t *testing.T, w *world) {
		l := w.lease(time.Now().Add(-time.Second), store.Share{Of: 1})
		w.accept("ada", "DENIED")
		time.Sleep(100 * time.Millisecond)
		w.expect()
		l.set(time.Now().Add(time.Hour), store.Share{Of: 1})
		time.Sleep(time.Minute)
		w.expect("ada DENIED")
		if d := w.delivery("ada"); d.Status != store.Settled || d.Attempts != 0 {
			t.Errorf("%+v", d)
		}
	})
	run(t, "a call ends before it does", func(target *Target) { target.Timeout = time.Minute }, func(t *testing.T, w *world) {
		began := time.Now()
		w.lease(began.Add(20*time.Second), store.Share{Of: 1})
		w.accept("ada", "DENIED")
		w.expect("ada DENIED")
		if got := w.vendor.made()[0].until; got.After(began.Add(20 * time.Second)) {
			t.Errorf("a call may last until %v after the lease has ended", got.Sub(began.Add(20*time.Second)))
		}
	})
}

func TestShareOfTheCalls(t *testing.T) {
	run(t, "none", nil, func(t *testing.T, w *world) {
		l := w.lease(time.Time{}, store.Share{Rank: -1, Of: 2})
		w.accept("ada", "DENIED")
		time.Sleep(10 * time.Second)
		w.expect()
		l.set(time.Time{}, store.Share{Of: 1})
		time.Sleep(2 * shareEvery)
		w.expect("ada DENIED")
	})
	run(t, "of the rate", func(target *Target) { target.RateLimit, target.MaxInFlight = 40, 4 }, func(t *testing.T, w *world) {
		w.lease(time.Time{}, store.Share{Rank: 1, Of: 4})
		for _, c := range citizens("c", 200) {
			w.accept(c, "GRANTED")
		}
		time.Sleep(10 * time.Second)
		if n := len(slices.Compact(w.vendor.delivered())); n < 90 || n > 120 {
			t.Errorf("%d of a quarter of 40 a second in 10 seconds", n)
		}
	})
}
