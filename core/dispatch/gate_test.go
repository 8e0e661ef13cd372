package dispatch

import (
	"testing"
	"time"

	"github.com/consentd/consentd/sdk"
)

// TestThrottledWaits: where the vendor names no wait, anything up to the back-off; else the wait and a
// little more. Never the same for all.
func TestThrottledWaits(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name        string
		earlier     int
		retryAfter  time.Duration
		least, most time.Duration
	}{
		{"first", 0, 0, 250 * time.Millisecond, time.Second},
		{"fourth", 3, 0, 250 * time.Millisecond, 8 * time.Second},
		{"hundredth", 99, 0, 250 * time.Millisecond, time.Minute},
		{"named, short", 0, 5 * time.Second, 5 * time.Second, 6 * time.Second},
		{"named, middling", 0, 100 * time.Second, 100 * time.Second, 110 * time.Second},
		{"named, long", 9, time.Hour, time.Hour, time.Hour + 30*time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			low, high := time.Duration(1<<62), time.Duration(0)
			for range 2000 {
				g := gate{retry: pauseRetry, state: ThrottledState, pauses: tc.earlier}
				g.close(ThrottledState, now, tc.retryAfter, "HTTP_429")
				wait := g.until.Sub(now)
				low, high = min(low, wait), max(high, wait)
			}
			// The ends of the range are reached to a twentieth of it in so many draws.
			slack := (tc.most - tc.least) / 20
			if low < tc.least || low > tc.least+slack || high > tc.most || high < tc.most-slack {
				t.Errorf("waits from %v to %v, want from %v to %v", low, high, tc.least, tc.most)
			}
		})
	}
}

// TestBurstDrawsOnce: calls that are throttled together draw one wait, not the longest of many.
func TestBurstDrawsOnce(t *testing.T) {
	now := time.Now()
	g := gate{retry: pauseRetry, state: ThrottledState, pauses: 9}
	g.close(ThrottledState, now, 0, "HTTP_429")
	first := g.until
	for range 100 {
		g.close(ThrottledState, now, 0, "HTTP_429")
	}
	if !g.until.Equal(first) {
		t.Errorf("the wait grew from %v to %v", first.Sub(now), g.until.Sub(now))
	}
	g.close(ThrottledState, now, time.Hour, "HTTP_429")
	if g.until.Sub(now) < time.Hour {
		t.Errorf("a named wait was not heeded: %v", g.until.Sub(now))
	}
}

// TestRetryAfterOfARecord is kept, with a little more.
func TestRetryAfterOfARecord(t *testing.T) {
	run(t, "", nil, func(t *testing.T, w *world) {
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			o := sdk.Retry("LOCKED", "")
			o.RetryAfter = time.Hour
			return o, nil
		}
		for _, c := range citizens("c", 10) {
			w.accept(c, "GRANTED")
		}
		w.settle()
		waits := map[time.Duration]bool{}
		for _, c := range citizens("c", 10) {
			d := w.delivery(c)
			wait := d.NextAttempt.Sub(d.SettledAt)
			if wait < time.Hour || wait > time.Hour+30*time.Second {
				t.Errorf("next attempt after %v", wait)
			}
			waits[wait] = true
		}
		if len(waits) < 5 {
			t.Errorf("ten records come back at %d instants", len(waits))
		}
	})
}
