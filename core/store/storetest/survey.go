package storetest

import (
	"maps"
	"time"

	"github.com/consentd/consentd/core/store"
)

// survey: it finds the oldest of what is owed, the dead letters by reason, and what is in quarantine.
func (s *suite) survey() {
	expect := func(when string, want store.Survey) {
		s.Helper()
		got, err := s.Survey(ctx)
		if err != nil || !got.OldestPending["mail"].Equal(want.OldestPending["mail"]) || len(got.OldestPending) != len(want.OldestPending) ||
			!maps.Equal(got.Dead["mail"], want.Dead["mail"]) || !maps.Equal(got.Quarantined, want.Quarantined) {
			s.Errorf("%s: %+v, %v\nwant %+v", when, got, err, want)
		}
	}
	expect("before anything", store.Survey{})
	since := t0
	for n, citizen := range []string{"ada", "bob", "cleo"} {
		u := update(citizen, "GRANTED", n)
		if n == 0 {
			since = u.Received
		}
		s.accept(u)
	}
	expect("three are pending", store.Survey{OldestPending: map[string]time.Time{"mail": since}})
	for _, c := range s.claim(3) {
		if c.CitizenID == "cleo" {
			s.settled(c)
			continue
		}
		s.settle(store.Settlement{Claim: c, At: t0, Status: store.Dead, NextAttempt: late, Outcome: "rejected", Reason: store.ReasonRejected})
	}
	for _, body := range []string{"a", "b"} {
		if err := s.Quarantine(ctx, store.Quarantined{Source: source, Received: t0, Reason: "r", Size: 1, Body: []byte(body)}); err != nil {
			s.Fatal(err)
		}
	}
	expect("two are dead, and two bodies in quarantine", store.Survey{
		Dead: map[string]map[string]int64{"mail": {store.ReasonRejected: 2}}, Quarantined: map[string]int64{source: 2},
	})
	if n, err := s.DiscardDead(ctx, store.DeadFilter{}); err != nil || n != 2 {
		s.Errorf("discarded %d, %v", n, err)
	}
	expect("none is dead any more", store.Survey{Quarantined: map[string]int64{source: 2}})
}
