package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// twentyRecords is a rule that makes twenty records of each citizen.
const twentyRecords = `
rule "newsletter" {
  for_each = range(20)
  record {
    key   = "${citizen.id}-${each.value}"
    state = permission.email.state
  }
}`

func (v *vendor) count(part string) (n int) {
	for _, k := range v.delivered() {
		if strings.Contains(k, part) {
			n++
		}
	}
	return n
}

// TestWithdrawalsHaveAShareOfTheRate is law 5 under a rate limit.
func TestWithdrawalsHaveAShareOfTheRate(t *testing.T) {
	run(t, "a fresh one waits for no token of the backlog", func(target *Target) {
		target.RateLimit = 1
		target.Rules["newsletter"] = compile(t, twentyRecords)
	}, func(t *testing.T, w *world) {
		for _, c := range citizens("c", 50) {
			w.accept(c, "GRANTED")
		}
		for i := range 5 {
			time.Sleep(33 * time.Second) // at different points of the wait for the backlog's tokens
			name := fmt.Sprint("ada", i)
			w.accept(name, "DENIED")
			time.Sleep(time.Second)
			if n := w.vendor.count(name + "-"); n != 20 {
				t.Errorf("after a second the vendor has %d of 20 records of %s", n, name)
			}
			time.Sleep(30 * time.Second)
		}
	})
	run(t, "and grants do not starve", func(target *Target) {
		target.RateLimit = 10
		target.Retry = config.Retry{InitialInterval: 100 * time.Millisecond, Multiplier: 1, MaxInterval: 100 * time.Millisecond}
	}, func(t *testing.T, w *world) {
		w.vendor.answer = func(_ string, r sdk.Record) (sdk.Outcome, error) {
			if r.Withdrawal {
				return sdk.Retry("HTTP_500", ""), nil
			}
			return sdk.Delivered(""), nil
		}
		for _, c := range citizens("w", failingFrom-1) { // one more, and their lane would count as failing
			w.accept(c, "DENIED")
		}
		time.Sleep(time.Minute)
		for _, c := range citizens("g", 99) {
			w.accept(c, "GRANTED")
		}
		before := len(w.vendor.delivered())
		time.Sleep(time.Minute)
		grants, all := w.vendor.count("GRANTED"), len(w.vendor.delivered())-before
		if grants < 50 || grants > 75 {
			t.Errorf("%d grants in a minute at 10/s beside withdrawals that come again and again", grants)
		}
		if all < 590 || all > 615 {
			t.Errorf("%d records in a minute at 10/s", all)
		}
	})
}

// TestRateCountsWhatIsSent: what makes no call takes nothing from the rate.
func TestRateCountsWhatIsSent(t *testing.T) {
	run(t, "", func(target *Target) { target.RateLimit = 1 }, func(t *testing.T, w *world) {
		all := citizens("c", 20)
		for _, c := range all {
			w.accept(c, "GRANTED")
		}
		time.Sleep(time.Minute)
		for _, c := range all {
			w.accept(c, "GRANTED")
		}
		w.accept("ada", "GRANTED")
		w.settle()
		if d := w.delivery(all[19]); d.Status != store.Settled || d.Outcome != "unchanged" {
			t.Errorf("delivery %+v", d)
		}
		if got := w.vendor.delivered(); len(got) != 21 || got[20] != "ada GRANTED" {
			t.Errorf("the vendor got %q", got)
		}
	})
}

// TestRateCoversIsolation: what a vendor rejects whole is tried again within the rate.
func TestRateCoversIsolation(t *testing.T) {
	run(t, "", func(target *Target) { target.RateLimit = 10 }, func(t *testing.T, w *world) {
		all := citizens("c", 10)
		for _, c := range all {
			w.vendor.poison[c] = true
		}
		w.acceptTogether("GRANTED", all...)
		time.Sleep(550 * time.Millisecond)
		if n := len(w.vendor.delivered()); n < 14 || n > 17 {
			t.Errorf("%d records in half a second at 10/s and a burst of 10", n)
		}
		time.Sleep(10 * time.Second)
		for _, c := range all {
			if d := w.delivery(c); d.Status != store.Dead {
				t.Errorf("delivery %+v", d)
			}
		}
	})
}

// TestFreshWithdrawalBeforeBacklog: what piled up while everything failed does not stand before a withdrawal.
func TestFreshWithdrawalBeforeBacklog(t *testing.T) {
	run(t, "", nil, func(t *testing.T, w *world) {
		up := time.Now().Add(2 * time.Minute)
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if time.Now().Before(up) {
				return sdk.Retry("HTTP_503", ""), nil
			}
			time.Sleep(100 * time.Millisecond) // a call of ten takes a second
			return sdk.Delivered(""), nil
		}
		for _, c := range citizens("c", 300) {
			w.accept(c, "GRANTED")
		}
		time.Sleep(time.Until(up))
		for w.vendor.count("") == 0 || w.vendor.made()[len(w.vendor.made())-1].at.Before(up) {
			time.Sleep(time.Second)
		}
		start := len(w.vendor.delivered())
		for i := range 5 {
			name := fmt.Sprint("ada", i)
			w.accept(name, "DENIED")
			time.Sleep(1100 * time.Millisecond)
			if d := w.delivery(name); d.Status != store.Settled {
				t.Errorf("delivery %+v", d)
			}
		}
		got := w.vendor.delivered()[start:]
		if len(got) < 20 || len(got) > 200 || slices.Index(got, "ada4 DENIED") < 0 {
			t.Errorf("no backlog beside the withdrawals: %d records", len(got))
		}
	})
}

// TestRateIsPaidBeforeMoreIsClaimed: how many records a citizen comes to shows only when it is rendered.
func TestRateIsPaidBeforeMoreIsClaimed(t *testing.T) {
	run(t, "", func(target *Target) {
		target.RateLimit, target.MaxBatch, target.MaxInFlight = 1, 1000, 10
		target.Rules["newsletter"] = compile(t, strings.Replace(twentyRecords, "20", "1000", 1))
	}, func(t *testing.T, w *world) {
		w.acceptTogether("GRANTED", citizens("c", 10)...)
		time.Sleep(time.Minute)
		if n := len(w.vendor.delivered()); n != 1000 {
			t.Errorf("%d records in a minute at 1/s, a thousand for each citizen", n)
		}
	})
}
