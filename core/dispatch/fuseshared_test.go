package dispatch

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
	"github.com/consentd/consentd/sdk"
)

// counting is a store that counts the grants of all replicas.
type counting struct {
	*sqlite.Store
	mu    sync.Mutex
	room  int
	err   error
	asked int
}

func (c *counting) Grant(_ context.Context, _ string, claims []store.Claimed, _ time.Time, _ int) (map[int64]bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	let := map[int64]bool{}
	for _, claim := range claims {
		if c.asked++; c.room > 0 {
			c.room--
			let[claim.ID] = true
		}
	}
	return let, c.err
}

func (c *counting) set(room int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room, c.err = room, err
}

func (w *world) share(room int) *counting {
	w.group.Drain(context.Background())
	c := &counting{Store: w.store, room: room}
	w.group = Start(w.target, c, NewMetrics(prometheus.NewRegistry()), hclog.NewNullLogger())
	return c
}

// TestSharedFuse: where replicas share a store, that says what may go.
func TestSharedFuse(t *testing.T) {
	run(t, "what the store lets through goes, and the rest is held", fused(10), func(t *testing.T, w *world) {
		c := w.share(1)
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("bob", "GRANTED")
		w.settle()
		w.accept("ada", "DENIED")
		w.expect("ada GRANTED", "ada DENIED")
		if w.held() != 1 || c.asked != 2 {
			t.Errorf("%d held, asked %d times", w.held(), c.asked)
		}
		w.isBlown(true)
		w.release(1)
		w.expect("ada GRANTED", "ada DENIED", "bob GRANTED")
		c.set(1, nil)
		w.accept("cleo", "GRANTED")
		w.expect("ada GRANTED", "ada DENIED", "bob GRANTED", "cleo GRANTED")
	})
	run(t, "a retry is not asked about again", fused(10), func(t *testing.T, w *world) {
		fails := 1
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if fails--; fails >= 0 {
				return sdk.Retry("BUSY", "not now"), nil
			}
			return sdk.Delivered(""), nil
		}
		c := w.share(1)
		w.accept("ada", "GRANTED")
		time.Sleep(time.Minute)
		w.expect("ada GRANTED", "ada GRANTED")
		if c.asked != 1 {
			t.Errorf("asked %d times", c.asked)
		}
	})
	run(t, "as long as the store does not say, nothing is granted, and nothing is held", fused(10), func(t *testing.T, w *world) {
		c := w.share(1)
		c.set(0, errors.New("no server"))
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("bob", "DENIED")
		time.Sleep(time.Second)
		if d := w.delivery("ada"); d.Status != store.Pending || d.Reason != "" || d.Attempts != 0 {
			t.Errorf("delivery %+v", d)
		}
		c.set(1, nil)
		time.Sleep(time.Minute)
		if d := w.delivery("ada"); d.Status != store.Settled || w.delivery("bob").Status != store.Settled {
			t.Errorf("delivery %+v", d)
		}
		w.isBlown(false)
	})
	run(t, "what became of it elsewhere is known", fused(10), func(t *testing.T, w *world) {
		w.share(0)
		follow := func(blown bool) {
			t.Helper()
			if err := w.group.FollowFuse(context.Background()); err != nil {
				t.Fatal(err)
			}
			w.isBlown(blown)
		}
		w.accept("ada", "GRANTED")
		w.settle()
		follow(true)
		if _, err := w.store.ReleaseFuse(context.Background(), "mail", time.Now()); err != nil {
			t.Fatal(err)
		}
		follow(false)
		w.expect("ada GRANTED")
		w.accept("bob", "GRANTED")
		w.settle()
		w.group.fuse.mu.Lock()
		w.group.fuse.blown = time.Time{} // as where nothing was held
		w.group.fuse.mu.Unlock()
		follow(true)
	})
}
