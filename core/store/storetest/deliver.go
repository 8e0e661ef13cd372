package storetest

import (
	"fmt"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// In which order deliveries are handed out, and what settling does to them.

func (s *suite) oneInFlight() {
	several := []store.Route{{Rule: "a", Target: "mail"}, {Rule: "b", Target: "mail"}, {Rule: "c", Target: "other"}}
	s.route(several...)
	s.accept(update("ada", "GRANTED", 1))
	first := s.one()
	if c := s.claim(10); len(c) != 0 {
		s.Error("two deliveries of one target and citizen in flight")
	}
	if c, err := s.Claim(ctx, "other", late, 10, store.AllLanes); err != nil || len(c) != 1 {
		s.Errorf("another target waits: %d, %v", len(c), err)
	}
	if err := s.Route(ctx, map[string][]store.Route{source: routes, "another": several}); err != nil {
		s.Fatal(err)
	}
	s.accept(update("bob", "GRANTED", 1))
	if behind := s.claim(1); len(behind) != 1 || behind[0].CitizenID != "bob" {
		s.Error("those in flight hide who is due behind them")
	} else {
		s.settled(behind[0])
	}
	s.settled(first)
	second := s.one()
	if second.Rule == first.Rule {
		s.Error("the same delivery twice")
	}
	s.Release([]store.Claimed{second})
	if again := s.one(); again.ID != second.ID {
		s.Error("a released delivery is not due")
	}
}

func (s *suite) withdrawalsFirst() {
	for i := range 50 {
		s.accept(update(fmt.Sprint("grant", i), "GRANTED", i))
	}
	s.accept(update("ada", "GRANTED", 100))
	for _, c := range s.claim(100) {
		if c.CitizenID == "ada" {
			s.settled(c)
		} else {
			s.Release([]store.Claimed{c})
		}
	}
	s.accept(update("ada", "DENIED", 200))
	c, err := s.Claim(ctx, "mail", late, 10, store.Withdrawals)
	if err != nil || len(c) != 1 || c[0].CitizenID != "ada" || !c[0].Withdrawal {
		s.Fatalf("withdrawals alone: %d, %v", len(c), err)
	}
	s.Release(c)
	c, err = s.Claim(ctx, "mail", late, 2, store.Others)
	if err != nil || len(c) != 2 || c[0].CitizenID != "grant0" || c[1].CitizenID != "grant1" {
		s.Fatalf("the others alone: %d, %v", len(c), err)
	}
	s.Release(c)
	if c := s.claim(3); len(c) != 3 || c[0].CitizenID != "ada" || c[1].CitizenID != "grant0" || c[2].CitizenID != "grant1" {
		s.Errorf("the withdrawal did not come first, or the grants not in order")
	}
}

func (s *suite) withdrawalStays() {
	s.accept(update("ada", "GRANTED", 1))
	s.settled(s.one())
	s.accept(update("ada", "DENIED", 2))
	u := update("ada", "DENIED", 3)
	u.State.Permissions[0].Channel = "web"
	u.Body = consent.Encode(u.State)
	s.accept(u)
	if c := s.balance(); c.Withdrawals != 1 || !c.OldestWithdrawal.Equal(t0.Add(2*time.Minute)) {
		s.Errorf("counts %+v", c)
	}
	c := s.one()
	if !c.Withdrawal {
		s.Error("a newer update took the withdrawal's place in the lane")
	}
	s.settled(c)
	if c := s.balance(); c.Withdrawals != 0 || !c.OldestWithdrawal.IsZero() {
		s.Errorf("counts after the confirmation %+v", c)
	}
}

func (s *suite) retryWaits() {
	s.accept(update("ada", "GRANTED", 1))
	c := s.one()
	next := late.Add(time.Hour)
	s.settle(store.Settlement{Claim: c, At: late, Status: store.Pending, NextAttempt: next, Attempts: 1, FailingSince: late, Outcome: "retry", Error: "HTTP_500"})
	if c := s.claimAt(next.Add(-time.Second), 10); len(c) != 0 {
		s.Error("claimed before its next attempt")
	}
	if at, err := s.NextDue(ctx, "mail"); err != nil || !at.Equal(next) {
		s.Errorf("next due %v, %v", at, err)
	}
	again := s.claimAt(next, 10)
	if len(again) != 1 || again[0].Attempts != 1 || !again[0].FailingSince.Equal(late) || again[0].Error != "HTTP_500" {
		s.Fatalf("claimed %+v", again)
	}
}

func (s *suite) bury(c store.Claimed, next time.Time) {
	s.Helper()
	s.settle(store.Settlement{Claim: c, At: late, Status: store.Dead, NextAttempt: next, Attempts: 1, Outcome: "rejected", Reason: store.ReasonRejected, Error: "INVALID_EMAIL"})
}

func (s *suite) deadLetters() {
	for _, name := range []string{"ada", "bob", "eve"} {
		s.accept(update(name, "GRANTED", 1))
		s.bury(s.one(), late.Add(time.Hour))
	}
	dead, err := s.ListDead(ctx, store.DeadFilter{})
	if err != nil || len(dead) != 3 || dead[0].Reason != store.ReasonRejected || dead[0].Error != "INVALID_EMAIL" {
		s.Fatalf("dead letters %+v, %v", dead, err)
	}
	if page, err := s.ListDead(ctx, store.DeadFilter{After: dead[0].ID, Limit: 1}); err != nil || len(page) != 1 || page[0].CitizenID != "bob" {
		s.Errorf("page %+v, %v", page, err)
	}
	if none, _ := s.ListDead(ctx, store.DeadFilter{Reason: store.ReasonCrash}); len(none) != 0 {
		s.Error("the reason does not filter")
	}
	if none, _ := s.ListDead(ctx, store.DeadFilter{Rule: "another"}); len(none) != 0 {
		s.Error("the rule does not filter")
	}
	if all, _ := s.ListDead(ctx, store.DeadFilter{Rule: "newsletter"}); len(all) != 3 {
		s.Errorf("%d of the rule", len(all))
	}
	if c := s.claim(10); len(c) != 0 {
		s.Error("a dead letter was claimed before its own retry")
	}
	if c := s.claimAt(late.Add(time.Hour), 1); len(c) != 1 || c[0].Status != store.Dead {
		s.Errorf("its own retry did not come: %+v", c)
	} else {
		s.Release(c)
	}
	if n, err := s.ReplayDead(ctx, store.DeadFilter{CitizenID: "ada"}, late); err != nil || n != 1 {
		s.Errorf("replayed %d, %v", n, err)
	}
	if n, err := s.DiscardDead(ctx, store.DeadFilter{ID: dead[1].ID}); err != nil || n != 1 {
		s.Errorf("discarded %d, %v", n, err)
	}
	c := s.one()
	if c.CitizenID != "ada" || c.Status != store.Pending || c.Attempts != 0 {
		s.Errorf("claimed %+v", c.Delivery)
	}
	s.settled(c)
	if c := s.balance(); c.Dead != 1 || c.Discarded != 1 || c.Delivered != 1 {
		s.Errorf("counts %+v", c)
	}
	if n, err := s.ReplayDead(ctx, store.DeadFilter{ID: dead[1].ID}, late); err != nil || n != 0 {
		s.Errorf("replayed what was discarded: %d, %v", n, err)
	}
}

// deadInParts: what is changed is changed in the order of ids, so that a caller can go on.
func (s *suite) deadInParts() {
	for i := range 5 {
		s.accept(update(fmt.Sprint("c", i), "GRANTED", 10-i))
	}
	for _, c := range s.claim(10) {
		s.bury(c, time.Time{})
	}
	dead, err := s.ListDead(ctx, store.DeadFilter{})
	if err != nil || len(dead) != 5 {
		s.Fatal(dead, err)
	}
	if n, err := s.ReplayDead(ctx, store.DeadFilter{After: dead[0].ID, Limit: 2}, late); err != nil || n != 2 {
		s.Errorf("replayed %d, %v", n, err)
	}
	left, err := s.ListDead(ctx, store.DeadFilter{})
	if err != nil || len(left) != 3 || left[0].ID != dead[0].ID || left[1].ID != dead[3].ID {
		s.Errorf("left: %+v, %v", left, err)
	}
	s.balance()
}

func (s *suite) oldDead() {
	for name, state := range map[string]string{"ada": "GRANTED", "bob": "DENIED"} {
		s.accept(update(name, state, 1))
		s.bury(s.one(), time.Time{})
	}
	if n, err := s.DiscardDead(ctx, store.DeadFilter{StoppedBefore: late}); n != 0 || err != nil {
		s.Errorf("not old yet: %d, %v", n, err)
	}
	if n, err := s.DiscardDead(ctx, store.DeadFilter{StoppedBefore: late.Add(1)}); n != 0 || err != nil {
		s.Errorf("a nanosecond is less than a store keeps: %d, %v", n, err)
	}
	if n, err := s.DiscardDead(ctx, store.DeadFilter{StoppedBefore: late.Add(time.Second)}); n != 1 || err != nil {
		s.Errorf("old: %d, %v", n, err)
	}
	dead, err := s.ListDead(ctx, store.DeadFilter{})
	if err != nil || len(dead) != 1 || dead[0].CitizenID != "bob" || !dead[0].Withdrawal {
		s.Errorf("left: %+v, %v", dead, err)
	}
}

func (s *suite) newerUpdateClosesDead() {
	s.accept(update("ada", "GRANTED", 1))
	s.bury(s.one(), time.Time{})
	s.accept(update("ada", "DENIED", 2))
	if dead, _ := s.ListDead(ctx, store.DeadFilter{}); len(dead) != 0 {
		s.Error("a newer update left the dead letter")
	}
	c := s.one()
	if s.state(c).Permissions[0].State != "DENIED" || c.Attempts != 0 || c.Reason != "" {
		s.Errorf("claimed %+v", c.Delivery)
	}
	s.balance()
}

func (s *suite) discardedInFlight() {
	s.accept(update("ada", "GRANTED", 1))
	s.bury(s.one(), late)
	c := s.claim(1)[0]
	if n, err := s.DiscardDead(ctx, store.DeadFilter{ID: c.ID}); n != 1 || err != nil {
		s.Fatalf("discarded %d, %v", n, err)
	}
	s.bury(c, late)
	if d := s.delivery("ada"); d.Status != store.Discarded {
		s.Errorf("its retry in vain brought it back: %+v", d)
	}
	s.balance()
}

// forward: a clock that was years ahead when an attempt failed must not hold the next one back for years.
func (s *suite) forward() {
	s.accept(update("ada", "GRANTED", 1))
	s.accept(update("bob", "GRANTED", 1))
	wrong := late.AddDate(4, 0, 0)
	for _, c := range s.claim(2) {
		next := late.Add(time.Minute)
		if c.CitizenID == "ada" {
			next = wrong
		}
		s.settle(store.Settlement{Claim: c, At: late, Status: store.Pending, NextAttempt: next, Outcome: "retry", Attempts: 1})
	}
	if c := s.claim(10); len(c) != 0 {
		s.Fatalf("claimed %d before their time", len(c))
	}
	if n, err := s.Forward(ctx, late.Add(time.Hour), late); err != nil || n != 1 {
		s.Errorf("moved %d, %v", n, err)
	}
	if c := s.one(); c.CitizenID != "ada" {
		s.Errorf("claimed a delivery of %s", c.CitizenID)
	}
}
