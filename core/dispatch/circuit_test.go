package dispatch

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

func TestFailingTarget(t *testing.T) {
	var down atomic.Bool
	failing := func(_ string, r sdk.Record) (sdk.Outcome, error) {
		if down.Load() {
			return sdk.Retry("CONNECTION_REFUSED", "nobody answers"), nil
		}
		return sdk.Delivered(""), nil
	}
	one := func(target *Target) { target.MaxBatch = 1 }
	run(t, "is probed, costs what waits nothing, and resumes by itself", one, func(t *testing.T, w *world) {
		w.vendor.answer = failing
		down.Store(true)
		all := citizens("c", 500)
		for _, c := range all {
			w.accept(c, "GRANTED")
		}
		time.Sleep(time.Hour)
		w.settle()
		// Each of the first few at once, then one in ten seconds or so, in turns.
		if n := len(w.vendor.delivered()); n < 300 || n > 600 {
			t.Errorf("%d attempts in an hour", n)
		}
		if s := w.group.Status(); s.State != FailingState || s.Until.IsZero() {
			t.Errorf("status %+v", s)
		}
		untried := 0
		for _, c := range all {
			if d := w.delivery(c); d.Attempts == 0 && d.FailingSince.IsZero() && d.Status == store.Pending {
				untried++
			}
		}
		if untried < 480 {
			t.Errorf("%d of 500 wait without an attempt that counts", untried)
		}
		down.Store(false)
		time.Sleep(15 * time.Second)
		w.settle()
		counts, err := w.store.Counts(context.Background())
		if err != nil || counts["mail"].Delivered != 500 {
			t.Errorf("counts %+v, %v", counts["mail"], err)
		}
		if s := w.group.Status(); s.State != Running {
			t.Errorf("status %+v", s)
		}
	})
	run(t, "hears of a withdrawal soon after it is back", one, func(t *testing.T, w *world) {
		w.vendor.answer = failing
		down.Store(true)
		for _, c := range citizens("c", 200) {
			w.accept(c, "GRANTED")
		}
		for _, c := range citizens("w", 30) {
			w.accept(c, "DENIED")
		}
		time.Sleep(time.Hour)
		w.accept("ada", "DENIED")
		time.Sleep(time.Minute)
		down.Store(false)
		time.Sleep(15 * time.Second)
		w.settle()
		if d := w.delivery("ada"); d.Status != store.Settled {
			t.Errorf("delivery %+v", d)
		}
	})
	run(t, "that fails at withdrawals alone takes the others", one, func(t *testing.T, w *world) {
		w.vendor.answer = func(_ string, r sdk.Record) (sdk.Outcome, error) {
			if r.Withdrawal {
				return sdk.Retry("HTTP_500", "no unsubscribing today"), nil
			}
			return sdk.Delivered(""), nil
		}
		for _, c := range citizens("w", 50) {
			w.accept(c, "DENIED")
		}
		time.Sleep(time.Minute)
		for _, c := range citizens("g", 50) {
			w.accept(c, "GRANTED")
		}
		w.settle()
		if n := w.vendor.count("GRANTED"); n != 50 {
			t.Errorf("%d of 50 grants delivered", n)
		}
	})
	run(t, "is not what one record makes that fails again and again", one, func(t *testing.T, w *world) {
		w.vendor.answer = func(key string, _ sdk.Record) (sdk.Outcome, error) {
			return sdk.Retry("HTTP_500", ""), nil
		}
		w.accept("ada", "DENIED")
		time.Sleep(24 * time.Hour)
		if s := w.group.Status(); s.State != Running {
			t.Errorf("status %+v", s)
		}
	})
}
