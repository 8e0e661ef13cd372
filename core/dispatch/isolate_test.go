package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// acceptTogether accepts updates while nothing is claimed, so that all of them are due at once.
func (w *world) acceptTogether(state string, citizens ...string) {
	w.t.Helper()
	w.group.Drain(context.Background())
	for _, c := range citizens {
		w.accept(c, state)
	}
	w.start()
}

func citizens(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s%02d", prefix, i)
	}
	return all
}

// TestRejectedWhole is law 8 for a vendor that refuses a whole request because of one record.
func TestRejectedWhole(t *testing.T) {
	const n = 64
	wide := func(target *Target) { target.MaxBatch = n }
	for _, state := range []string{"GRANTED", "DENIED"} {
		for _, poison := range []int{0, 21, n - 1} {
			run(t, fmt.Sprintf("one of many, number %d, %s", poison, state), wide, func(t *testing.T, w *world) {
				all := citizens("c", n)
				w.vendor.poison[all[poison]] = true
				start := time.Now()
				w.acceptTogether(state, all...)
				w.settle()
				if took := time.Since(start); took > 100*time.Millisecond {
					t.Fatalf("it took %v", took)
				}
				counts, err := w.store.Counts(context.Background())
				if err != nil || counts["mail"].Delivered != n-1 || counts["mail"].Dead != 1 {
					t.Errorf("counts %+v, %v", counts, err)
				}
				d := w.delivery(all[poison])
				if d.Status != store.Dead || d.Reason != store.ReasonRejected || d.Attempts != 1 || !strings.Contains(d.Error, "BAD_REQUEST") {
					t.Errorf("delivery %+v", d)
				}
				if calls := len(w.vendor.made()); len(w.vendor.made()[0].keys) != n || calls > 14 {
					t.Errorf("%d calls, the first of %d records", calls, len(w.vendor.made()[0].keys))
				}
				if left := len(w.group.suspects); left != 0 {
					t.Errorf("%d are suspects still", left)
				}
			})
		}
	}
	run(t, "every one: each is buried alone, in about two calls each", wide, func(t *testing.T, w *world) {
		all := citizens("c", n)
		for _, c := range all {
			w.vendor.poison[c] = true
		}
		w.acceptTogether("GRANTED", all...)
		w.settle()
		alone := map[string]int{}
		for _, c := range w.vendor.made() {
			if len(c.keys) == 1 {
				alone[c.keys[0]]++
			}
		}
		counts, err := w.store.Counts(context.Background())
		if err != nil || counts["mail"].Dead != n || len(alone) != n || len(w.vendor.made()) > 2*n {
			t.Errorf("%d calls, %d alone, counts %+v, %v", len(w.vendor.made()), len(alone), counts, err)
		}
		// Nothing of it outlasts the cause.
		clear(w.vendor.poison)
		before := len(w.vendor.made())
		time.Sleep(2 * time.Hour)
		if calls := len(w.vendor.made()) - before; calls != 1 {
			t.Errorf("%d calls for %d dead letters that are taken now", calls, n)
		}
	})
	run(t, "of a batch with other outcomes: buried at once", wide, func(t *testing.T, w *world) {
		w.vendor.answer = func(key string, _ sdk.Record) (sdk.Outcome, error) {
			if key == "c00" {
				return sdk.Delivered(""), nil
			}
			return sdk.Rejected("INVALID_EMAIL", ""), nil
		}
		w.acceptTogether("GRANTED", citizens("c", n)...)
		w.settle()
		counts, err := w.store.Counts(context.Background())
		if err != nil || counts["mail"].Dead != n-1 || len(w.vendor.made()) != 1 {
			t.Errorf("%d calls, counts %+v, %v", len(w.vendor.made()), counts, err)
		}
	})
	run(t, "of one delivery: its other records arrive", func(target *Target) {
		target.Rules["newsletter"] = compile(t, `
rule "newsletter" {
  for_each = ["v", "w", "x", "y", "z"]
  record {
    key   = "${citizen.id}-${each.value}"
    state = permission.email.state
  }
}`)
	}, func(t *testing.T, w *world) {
		w.vendor.poison["ada-x"] = true
		w.accept("ada", "GRANTED")
		w.settle()
		arrived := map[string]bool{}
		for _, c := range w.vendor.made() {
			if !slices.Contains(c.keys, "ada-x GRANTED") {
				for _, k := range c.keys {
					arrived[k] = true
				}
			}
		}
		if d := w.delivery("ada"); d.Status != store.Dead || d.Reason != store.ReasonRejected || len(arrived) != 4 {
			t.Errorf("arrived %v, delivery %+v", arrived, d)
		}
	})
	run(t, "a newer update that returns to what was delivered is sent", nil, func(t *testing.T, w *world) {
		w.acceptTogether("GRANTED", "ada", "bob")
		w.settle()
		w.vendor.poison["bob"] = true
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			time.Sleep(time.Second)
			return sdk.Delivered(""), nil
		}
		w.acceptTogether("DENIED", "ada", "bob")
		time.Sleep(500 * time.Millisecond)
		w.accept("ada", "GRANTED") // while the two are in flight together
		time.Sleep(time.Minute)
		if n := w.vendor.count("ada GRANTED"); n != 2 {
			t.Errorf("the vendor got %q", w.vendor.delivered())
		}
	})
	run(t, "fresh withdrawals overtake what is tried again", func(target *Target) {
		target.MaxBatch, target.MaxInFlight = n, 1
	}, func(t *testing.T, w *world) {
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			time.Sleep(time.Second / n)
			return sdk.Delivered(""), nil
		}
		all := citizens("c", n)
		for _, c := range all {
			w.vendor.poison[c] = true
		}
		w.acceptTogether("GRANTED", all...)
		time.Sleep(1400 * time.Millisecond) // the first call has ended, the second has not
		before := len(w.vendor.made())
		w.accept("ada", "DENIED")
		time.Sleep(time.Minute)
		at := slices.IndexFunc(w.vendor.made(), func(c call) bool { return slices.Contains(c.keys, "ada DENIED") })
		if at < 0 || at > before+1 || len(w.vendor.made()) < n {
			t.Errorf("the withdrawal came in call %d of %d, after %d when it was accepted", at, len(w.vendor.made()), before)
		}
	})
	run(t, "a restart in between loses nothing", wide, func(t *testing.T, w *world) {
		all := citizens("c", n)
		w.vendor.poison[all[3]] = true
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			time.Sleep(time.Second / n)
			return sdk.Delivered(""), nil
		}
		w.acceptTogether("GRANTED", all...)
		time.Sleep(1200 * time.Millisecond)
		w.group.Drain(context.Background())
		w.start()
		time.Sleep(time.Minute)
		counts, err := w.store.Counts(context.Background())
		if err != nil || counts["mail"].Delivered != n-1 || counts["mail"].Dead != 1 {
			t.Errorf("counts %+v, %v", counts, err)
		}
	})
}
