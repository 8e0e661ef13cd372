package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/supervise"
	"github.com/consentd/consentd/sdk"
)

func fused(most int) func(*Target) {
	return func(target *Target) { target.MaxGrants = most }
}

// restart ends the group as a stopping daemon does, and starts one that knows only what the store does.
func (w *world) restart(change ...func(*Target)) {
	w.group.Drain(context.Background())
	for _, c := range change {
		c(&w.target)
	}
	w.start()
}

func (w *world) held() int64 {
	w.t.Helper()
	all, err := w.store.Waiting(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return all["mail"][store.ReasonFuse]
}

func (w *world) isBlown(want bool) {
	w.t.Helper()
	all, err := w.store.Fuses(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	if stored := !all["mail"].Blown.IsZero(); stored != want || w.group.Blown().IsZero() == want {
		w.t.Errorf("blown: in the store %v, in memory %v; want %v", stored, !w.group.Blown().IsZero(), want)
	}
}

func (w *world) release(want int) {
	w.t.Helper()
	if n, err := w.group.ReleaseFuse(context.Background()); err != nil || n != want {
		w.t.Errorf("released %d, %v; want %d", n, err, want)
	}
}

func TestFuse(t *testing.T) {
	run(t, "grants beyond it are held, withdrawals and denials go on", fused(2), func(t *testing.T, w *world) {
		for _, citizen := range []string{"ada", "bob", "cleo", "dan"} {
			w.accept(citizen, "GRANTED")
			w.settle()
		}
		w.expect("ada GRANTED", "bob GRANTED")
		w.isBlown(true)
		d := w.delivery("cleo")
		if d.Status != store.Pending || d.Reason != store.ReasonFuse || d.Attempts != 0 || d.Given || !d.NextAttempt.IsZero() || w.held() != 2 {
			t.Errorf("delivery %+v, %d held", d, w.held())
		}
		w.accept("ada", "DENIED")  // of one who was let through
		w.accept("cleo", "DENIED") // of one who is held
		w.accept("eve", "DENIED")
		w.settle()
		got := w.vendor.delivered()[2:]
		slices.Sort(got)
		if !slices.Equal(got, []string{"ada DENIED", "cleo DENIED", "eve DENIED"}) {
			t.Errorf("after the withdrawals %q", got)
		}
		if w.held() != 1 || w.delivery("cleo").Status != store.Settled {
			t.Errorf("%d held; cleo %+v", w.held(), w.delivery("cleo"))
		}
		w.isBlown(true)
		if n := strings.Count(w.log.String(), "fuse blown"); n != 1 {
			t.Errorf("the log says %d times that the fuse has blown", n)
		}
	})
	run(t, "the hour rolls", fused(2), func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		time.Sleep(40 * time.Minute)
		w.accept("bob", "GRANTED")
		w.settle()
		time.Sleep(21 * time.Minute)
		w.accept("cleo", "GRANTED") // ada's is over
		w.expect("ada GRANTED", "bob GRANTED", "cleo GRANTED")
		w.isBlown(false)
		w.accept("dan", "GRANTED")
		w.expect("ada GRANTED", "bob GRANTED", "cleo GRANTED")
		w.isBlown(true)
		time.Sleep(3 * time.Hour) // it does not mend by itself
		w.accept("eve", "GRANTED")
		w.expect("ada GRANTED", "bob GRANTED", "cleo GRANTED")
		if w.held() != 2 {
			t.Errorf("%d held", w.held())
		}
	})
	run(t, "released, everything held goes, and the count begins anew", fused(1), func(t *testing.T, w *world) {
		for _, citizen := range []string{"ada", "bob", "cleo", "dan"} {
			w.accept(citizen, "GRANTED")
			w.settle()
		}
		w.expect("ada GRANTED")
		w.vendor.answer = func(key string, r sdk.Record) (sdk.Outcome, error) {
			if key == "bob" && w.delivery("bob").Attempts == 0 {
				return sdk.Retry("BUSY", "not now"), nil // what is let through stays so until it is delivered
			}
			return sdk.Delivered(""), nil
		}
		w.release(3)
		w.isBlown(false)
		time.Sleep(time.Minute)
		w.expect("ada GRANTED", "bob GRANTED", "cleo GRANTED", "dan GRANTED", "bob GRANTED")
		w.isBlown(false)
		w.accept("eve", "GRANTED")
		w.settle()
		w.accept("finn", "GRANTED")
		w.settle()
		if got := w.vendor.delivered(); got[len(got)-1] != "eve GRANTED" || w.held() != 1 {
			t.Errorf("the vendor got %q, %d held", got, w.held())
		}
		w.isBlown(true)
	})
	run(t, "a restart neither mends it nor lets as many through again", fused(2), func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		w.restart()
		w.accept("bob", "GRANTED")
		w.settle()
		w.restart()
		w.accept("cleo", "GRANTED")
		w.expect("ada GRANTED", "bob GRANTED")
		w.restart()
		w.settle()
		w.isBlown(true)
		w.accept("dan", "GRANTED")
		time.Sleep(2 * time.Hour)
		w.expect("ada GRANTED", "bob GRANTED")
		if w.held() != 2 {
			t.Errorf("%d held", w.held())
		}
		w.release(2)
		w.restart()
		w.settle()
		w.expect("ada GRANTED", "bob GRANTED", "cleo GRANTED", "dan GRANTED")
		w.restart() // what was let through before the release does not count
		w.accept("eve", "GRANTED")
		w.expect("ada GRANTED", "bob GRANTED", "cleo GRANTED", "dan GRANTED", "eve GRANTED")
		w.isBlown(false)
	})
	run(t, "a rule that grants everybody, and is mended", fused(1), func(t *testing.T, w *world) {
		for _, citizen := range []string{"ada", "bob", "cleo"} {
			w.accept(citizen, "DENIED")
		}
		w.settle()
		mended := w.target.Rules
		w.restart(func(target *Target) {
			target.Rules = map[string]*rules.Rule{"newsletter": compile(t, strings.Replace(ruleText, "permission.email.state", `"GRANTED"`, 1))}
		})
		for _, citizen := range []string{"ada", "bob", "cleo"} {
			w.accept(citizen, "PENDING")
			w.settle()
		}
		if got := w.vendor.delivered()[3:]; !slices.Equal(got, []string{"ada GRANTED"}) || w.held() != 2 {
			t.Errorf("granted %q, %d held", got, w.held())
		}
		w.restart(func(target *Target) { target.Rules = mended })
		w.settle()
		got := w.vendor.delivered()[4:]
		slices.Sort(got)
		if !slices.Equal(got, []string{"bob PENDING", "cleo PENDING"}) || w.held() != 0 {
			t.Errorf("under the mended rule %q, %d held", got, w.held())
		}
		w.isBlown(true) // until somebody has looked
		w.release(0)
		w.isBlown(false)
	})
	run(t, "taken out, it holds nothing", fused(1), func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("bob", "GRANTED")
		w.settle()
		w.restart(fused(0))
		w.expect("ada GRANTED", "bob GRANTED")
		w.isBlown(false)
	})
	run(t, "a retry counts once, and so does one who changes to and fro", fused(2), func(t *testing.T, w *world) {
		fails := 3
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if fails--; fails >= 0 {
				return sdk.Retry("BUSY", "not now"), nil
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		time.Sleep(time.Minute)
		w.accept("ada", "DENIED")
		w.settle()
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("bob", "GRANTED")
		w.expect("ada GRANTED", "ada GRANTED", "ada GRANTED", "ada GRANTED", "ada DENIED", "ada GRANTED", "bob GRANTED")
		w.isBlown(false)
		w.accept("cleo", "GRANTED")
		w.settle()
		w.isBlown(true)
		w.accept("ada", "DENIED")
		w.settle()
		w.accept("ada", "GRANTED") // news of one who counts already is held as well
		w.settle()
		if d := w.delivery("ada"); d.Reason != store.ReasonFuse {
			t.Errorf("delivery %+v", d)
		}
	})
	run(t, "what was let through before it blew is let through when it comes again", fused(1), func(t *testing.T, w *world) {
		fails := 1
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if fails--; fails >= 0 {
				return sdk.Retry("BUSY", "not now"), nil
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("bob", "GRANTED")
		w.settle()
		w.isBlown(true)
		time.Sleep(time.Minute)
		w.expect("ada GRANTED", "ada GRANTED")
	})
	run(t, "a withdrawal that is not confirmed is none the less for what came after it", fused(1), func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("bob", "GRANTED")
		w.settle()
		w.isBlown(true)
		w.group.Drain(context.Background())
		w.accept("ada", "DENIED")
		time.Sleep(time.Second)
		w.accept("ada", "CLAIMED")
		w.start()
		w.expect("ada GRANTED", "ada CLAIMED")
	})
	run(t, "what was not sent does not count", fused(1), func(t *testing.T, w *world) {
		var down atomic.Bool
		down.Store(true)
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if down.Load() {
				return sdk.Outcome{}, supervise.ErrDown
			}
			return sdk.Delivered(""), nil
		}
		close(w.vendor.ready)
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("ada", "DENIED")
		down.Store(false)
		time.Sleep(time.Minute)
		w.accept("bob", "GRANTED")
		w.settle()
		if d := w.delivery("bob"); d.Status != store.Settled {
			t.Errorf("delivery %+v", d)
		}
		w.isBlown(false)
	})
	run(t, "an equal record is no grant", fused(1), func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		time.Sleep(2 * time.Hour)
		w.accept("bob", "GRANTED")
		w.settle()
		w.accept("ada", "GRANTED")
		w.expect("ada GRANTED", "bob GRANTED")
		w.isBlown(false)
	})
	run(t, "a dead letter that would grant is held with the others", fused(1), func(t *testing.T, w *world) {
		w.vendor.answer = func(key string, _ sdk.Record) (sdk.Outcome, error) {
			if key == "ada" {
				return sdk.Rejected("NO", "not this one"), nil
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("bob", "GRANTED")
		w.settle()
		w.isBlown(true)
		time.Sleep(2 * time.Hour) // ada's own retry comes
		if d := w.delivery("ada"); d.Status != store.Pending || d.Reason != store.ReasonFuse {
			t.Errorf("delivery %+v", d)
		}
		w.vendor.answer = nil
		w.release(2)
		w.settle()
		if d := w.delivery("ada"); d.Status != store.Settled || d.Reason != "" {
			t.Errorf("delivery %+v", d)
		}
	})
}

// TestFuseHistories: whatever happens, no more grants go within an hour than the fuse allows but what was released,
// every withdrawal goes at once, and what memory holds of the fuse is what the store does.
func TestFuseHistories(t *testing.T) {
	const most = 3
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 19), 1, 40).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fused(most))
			defer w.close()
			state := map[string]string{}
			var grants []time.Time
			let := map[string]time.Time{}
			for _, step := range steps {
				citizen := fmt.Sprint("c", step%5)
				before := len(w.vendor.delivered())
				switch {
				case step < 10:
					w.accept(citizen, "GRANTED")
					state[citizen] = "GRANTED"
				case step < 15:
					w.accept(citizen, "DENIED")
					state[citizen] = "DENIED"
				case step == 15:
					w.restart()
				case step == 16:
					if _, err := w.group.ReleaseFuse(context.Background()); err != nil {
						t.Fatal(err)
					}
					w.settle()
					grants, let = nil, map[string]time.Time{}
					before = len(w.vendor.delivered())
				default:
					time.Sleep(25 * time.Minute)
				}
				w.settle()
				for _, one := range w.vendor.delivered()[before:] {
					if citizen, is, _ := strings.Cut(one, " "); is == "GRANTED" {
						if last, counted := let[citizen]; !counted || time.Since(last) >= fuseWindow {
							grants, let[citizen] = append(grants, time.Now()), time.Now()
						}
					}
				}
				within := 0
				for _, at := range grants {
					if time.Since(at) < fuseWindow-time.Minute {
						within++
					}
				}
				if within > most {
					t.Errorf("%d grants within an hour", within)
				}
				for citizen, is := range state {
					if d := w.delivery(citizen); is == "DENIED" && d.Status != store.Settled {
						t.Errorf("a withdrawal waits: %+v", d)
					} else if is == "GRANTED" && d.Status != store.Settled && d.Reason != store.ReasonFuse {
						t.Errorf("neither delivered nor held: %+v", d)
					}
				}
				w.isBlown(!w.group.Blown().IsZero())
				if w.held() > 0 && w.group.Blown().IsZero() {
					t.Errorf("%d are held by a fuse that is whole", w.held())
				}
			}
		})
	})
}
