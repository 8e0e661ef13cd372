package httpclient

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/consentd/consentd/sdk"
)

func TestQuota(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, tc := range []struct {
		quota            Quota
		remaining, reset string
		left             int
		wait             time.Duration
		said             bool
	}{
		{Quota{}, "0", "9", 0, 0, false},
		{Quota{Remaining: "Left", Reset: "Reset"}, "3", "9", 3, 9 * time.Second, true},
		{Quota{Remaining: "Left", Reset: "Reset"}, "0", "1800000005", 0, 5 * time.Second, true},
		{Quota{Remaining: "Left", Reset: "Reset"}, "", "9", -1, 9 * time.Second, true},
		{Quota{Remaining: "Left", Reset: "Reset"}, "0", "", 0, 0, false},
		{Quota{Remaining: "Left", Reset: "Reset", Unit: time.Millisecond}, "0", "10000", 0, 10 * time.Second, true},
		{Quota{Remaining: "Left", Reset: "Reset", Unit: time.Millisecond}, "0", "soon", 0, 0, false},
		{Quota{Remaining: "Left", Reset: "Reset", Unit: time.Hour}, "0", "4000000000", 0, sdk.MaxRetryAfter, true},
	} {
		h := http.Header{"Left": {tc.remaining}, "Reset": {tc.reset}}
		left, wait, said := tc.quota.read(h, now)
		if said != tc.said || said && (left != tc.left || wait != tc.wait) {
			t.Errorf("%+v %v: %d, %v, %v", tc.quota, h, left, wait, said)
		}
	}
}

func TestCallsAtOnce(t *testing.T) {
	var now, peak atomic.Int32
	c := clientFor(t, Options{MaxInFlight: 3}, func(http.ResponseWriter, *http.Request) {
		if n := now.Add(1); n > peak.Load() {
			peak.Store(n)
		}
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
	})
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if _, err := c.Do(t.Context(), get("/")); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if peak.Load() > 3 {
		t.Errorf("%d at once", peak.Load())
	}
}

// enter is a whole call that takes no time, in bubbled tests.
func enter(ctx context.Context, p *pace) error {
	leave, err := p.enter(ctx)
	if err == nil {
		leave()
	}
	return err
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(1, rate.NewLimiter(rate.Every(10*time.Second), 1))
		start := time.Now()
		for range 3 {
			if err := enter(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("three calls took %v", took)
		}
		// Who cannot have a turn in time is told at once, and takes nobody's turn.
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		o := sdk.FromError(enter(ctx, p))
		if o.Kind != sdk.KindThrottled || o.RetryAfter != 10*time.Second || time.Since(start) != 20*time.Second {
			t.Errorf("%+v after %v", o, time.Since(start))
		}
		if err := enter(t.Context(), p); err != nil || time.Since(start) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(2, nil)
		start := time.Now()
		p.hold(10 * time.Second)
		p.hold(5 * time.Second) // from an older answer
		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if o := sdk.FromError(enter(short, p)); o.Kind != sdk.KindThrottled || o.RetryAfter != 10*time.Second || time.Since(start) != 0 {
			t.Errorf("%+v after %v", o, time.Since(start))
		}
		canceled, stop := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); stop() }()
		if o := sdk.FromError(enter(canceled, p)); o.Code != "CANCELED" || time.Since(start) != time.Second {
			t.Errorf("%+v after %v", o, time.Since(start))
		}
		if err := enter(t.Context(), p); err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		p.hold(24 * time.Hour)
		if err := enter(t.Context(), p); err != nil || time.Since(start) != 10*time.Second+maxHold {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// An answer that says that nothing is left holds the next call.
func TestQuotaHolds(t *testing.T) {
	c := clientFor(t, Options{Quota: Quota{Remaining: "X-Left", Reset: "X-Reset"}}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Left", "0")
		w.Header().Set("X-Reset", "30")
	})
	if _, err := c.Do(t.Context(), get("/")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Do(ctx, get("/"))
	if o := sdk.FromError(err); o.Kind != sdk.KindThrottled || o.Code != "QUOTA_USED_UP" || o.RetryAfter < 20*time.Second {
		t.Errorf("%+v", o)
	}
}
