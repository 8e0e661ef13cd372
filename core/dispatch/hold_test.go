package dispatch

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

func TestHold(t *testing.T) {
	run(t, "nothing goes until it is resumed, and then withdrawals first", nil, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.expect("ada GRANTED")
		w.group.Hold(store.Pause{Since: time.Now()})
		w.accept("bob", "GRANTED")
		w.accept("ada", "DENIED")
		time.Sleep(10 * time.Hour)
		w.expect("ada GRANTED")
		if s := w.group.Status(); s.State != PausedState || s.Pause == nil || !s.Until.IsZero() || s.InFlight != 0 {
			t.Errorf("status %+v", s)
		}
		if n := testutil.ToFloat64(w.group.metrics.holds.WithLabelValues("mail")); n != 1 {
			t.Errorf("the metric is %v", n)
		}
		// Nothing is claimed meanwhile.
		claims, err := w.store.Claim(context.Background(), "mail", time.Now(), 10, store.AllLanes)
		if err != nil || len(claims) != 2 {
			t.Errorf("%d left to claim, %v", len(claims), err)
		}
		w.store.Release(claims)
		w.group.Resume()
		w.expect("ada GRANTED", "ada DENIED", "bob GRANTED")
		if s := w.group.Status(); s.State != Running || s.Pause != nil {
			t.Errorf("status %+v", s)
		}
		if n := testutil.ToFloat64(w.group.metrics.holds.WithLabelValues("mail")); n != 0 {
			t.Errorf("the metric is %v", n)
		}
		if strings.Count(w.log.String(), "withdrawals wait as well") != 1 || strings.Count(w.log.String(), "its pause is over") != 1 {
			t.Errorf("the log says %s", w.log)
		}
	})
	run(t, "it ends by itself", nil, func(t *testing.T, w *world) {
		w.group.Hold(store.Pause{Until: time.Now().Add(time.Hour)})
		w.accept("ada", "GRANTED")
		time.Sleep(time.Hour - time.Second)
		w.expect()
		time.Sleep(time.Second)
		w.expect("ada GRANTED")
		w.group.Hold(store.Pause{Until: time.Now().Add(-time.Second)}) // over before it begins
		w.accept("bob", "GRANTED")
		w.expect("ada GRANTED", "bob GRANTED")
	})
	pause := &store.Pause{}
	run(t, "a target may start with it", func(target *Target) { target.Pause = pause }, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		time.Sleep(time.Hour)
		w.expect()
		w.group.Resume()
		w.expect("ada GRANTED")
	})
	run(t, "what the vendor says does not end it", nil, func(t *testing.T, w *world) {
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			w.group.Hold(store.Pause{})
			return sdk.Throttled(time.Minute, "429", "slow down"), nil
		}
		w.accept("ada", "GRANTED")
		time.Sleep(time.Hour)
		w.expect("ada GRANTED")
		if s := w.group.Status(); s.State != PausedState {
			t.Errorf("status %+v", s)
		}
		w.vendor.answer = nil
		w.group.Resume()
		w.expect("ada GRANTED", "ada GRANTED")
	})
	run(t, "between the calls of one batch", func(target *Target) {
		target.MaxBatch = 2
		target.Rules["newsletter"] = compile(t, `
rule "newsletter" {
  for_each = ["x", "y", "z"]
  record {
    key   = "${citizen.id}-${each.value}"
    state = permission.email.state
  }
}`)
	}, func(t *testing.T, w *world) {
		first := true
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if first {
				w.group.Hold(store.Pause{})
			}
			first = false
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		time.Sleep(time.Hour)
		w.expect("ada-x GRANTED", "ada-y GRANTED")
		w.group.Resume()
		time.Sleep(time.Hour)
		w.expect("ada-x GRANTED", "ada-y GRANTED", "ada-x GRANTED", "ada-y GRANTED", "ada-z GRANTED")
	})
	asked := 0
	run(t, "erasures wait as well", func(target *Target) {
		target.Erase = func(context.Context, []sdk.Record) ([]sdk.Outcome, error) {
			asked++
			return []sdk.Outcome{sdk.Delivered("")}, nil
		}
	}, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		w.group.Hold(store.Pause{})
		_, err := w.store.Erase(context.Background(), "dataguard", "ada", time.Now(), func(consent.State) ([]store.ErasureRequest, error) {
			return []store.ErasureRequest{{Rule: "newsletter", Target: "mail", Records: []json.RawMessage{[]byte(`{"key":"ada"}`)}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.settle()
		if asked != 0 {
			t.Error("a paused target was asked to erase")
		}
		w.group.Resume()
		time.Sleep(time.Minute)
		w.settle()
		if asked != 1 {
			t.Errorf("asked %d times after it", asked)
		}
	})
}

// TestResync: what the target is known to hold is sent again all the same, under another id.
func TestResync(t *testing.T) {
	var ids []string
	run(t, "a settled delivery goes again", nil, func(t *testing.T, w *world) {
		w.vendor.answer = func(_ string, r sdk.Record) (sdk.Outcome, error) {
			ids = append(ids, r.ID)
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		w.expect("ada GRANTED")
		if _, err := w.store.Resync(context.Background(), store.ResyncFilter{Target: "mail", Limit: 10}, time.Now()); err != nil {
			t.Fatal(err)
		}
		w.expect("ada GRANTED", "ada GRANTED")
		if len(ids) != 2 || ids[0] == ids[1] {
			t.Errorf("ids %v", ids)
		}
	})
}
