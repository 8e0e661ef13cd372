package storetest

import (
	"maps"

	"github.com/consentd/consentd/core/store"
)

// waiting: a pending delivery counts as waiting as long as it has a reason, and no other does.
func (s *suite) waiting() {
	for n, citizen := range []string{"ada", "bob", "cleo"} {
		s.accept(update(citizen, "GRANTED", n))
	}
	expect := func(when string, want map[string]int64) {
		s.Helper()
		all, err := s.Waiting(ctx)
		if err != nil || !maps.Equal(all["mail"], want) {
			s.Errorf("%s: %v, %v; want %v", when, all["mail"], err, want)
		}
	}
	expect("before anything", nil)
	for i, c := range s.claim(3) {
		reason := []string{store.ReasonIdentity, store.ReasonIdentity, store.ReasonLookup}[i]
		s.settle(store.Settlement{Claim: c, At: t0, Status: store.Pending, NextAttempt: t0, Outcome: "retry", Reason: reason})
	}
	expect("three wait", map[string]int64{store.ReasonIdentity: 2, store.ReasonLookup: 1})
	s.accept(update("ada", "DENIED", 10))
	expect("a newer update came for one", map[string]int64{store.ReasonIdentity: 1, store.ReasonLookup: 1})
	for _, c := range s.claim(3) {
		if c.CitizenID == "bob" {
			s.bury(c, late)
		} else {
			s.settled(c)
		}
	}
	expect("none waits any more", nil)
	s.balance()
}
