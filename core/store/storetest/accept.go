package storetest

import (
	"errors"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// What an update does to its citizen and to the deliveries.

func (s *suite) acceptMakesDeliveriesDue() {
	u := update("ada", "GRANTED", 1)
	if v := s.accept(u); v != consent.Accepted {
		s.Fatalf("verdict %v", v)
	}
	if early := s.claimAt(u.Received.Add(-time.Second), 10); len(early) != 0 {
		s.Error("claimed before it was due")
	}
	c := s.one()
	if c.Rule != "newsletter" || c.Target != "mail" || c.Source != source || c.CitizenID != "ada" || string(consent.Encode(s.state(c))) != string(u.Body) {
		s.Errorf("claimed %+v", c.Delivery)
	}
	if !c.SentAt.Equal(u.State.SentAt) || !c.Received.Equal(u.Received) || !c.Since.Equal(u.Received) {
		s.Errorf("times: %v %v %v", c.SentAt, c.Received, c.Since)
	}
	s.settled(c)
	if d := s.delivery("ada"); d.Status != store.Settled || d.Delivered != d.Desired || !d.NextAttempt.IsZero() {
		s.Errorf("settled as %+v", d)
	}
	if again := s.claim(10); len(again) != 0 {
		s.Error("claimed again after it was settled")
	}
	receipts, err := s.Receipts(ctx, source, "ada")
	if err != nil || len(receipts) != 1 || receipts[0].Version != c.Desired || receipts[0].Reference != "ref" {
		s.Errorf("receipts %+v, %v", receipts, err)
	}
}

func (s *suite) olderUpdateChangesNothing() {
	s.accept(update("ada", "DENIED", 5))
	s.settled(s.one())
	if v := s.accept(update("ada", "GRANTED", 4)); v != consent.Superseded {
		s.Errorf("verdict %v", v)
	}
	if c := s.claim(10); len(c) != 0 {
		s.Error("an older update made a delivery due")
	}
}

func (s *suite) duplicateChangesNothing() {
	s.accept(update("ada", "GRANTED", 5))
	s.settled(s.one())
	if v := s.accept(update("ada", "GRANTED", 5)); v != consent.Duplicate {
		s.Errorf("verdict %v", v)
	}
	if c := s.claim(10); len(c) != 0 {
		s.Error("a duplicate made a delivery due")
	}
}

func (s *suite) newerUpdateReplacesPending() {
	s.accept(update("ada", "GRANTED", 1))
	s.settled(s.one())
	s.accept(update("ada", "DENIED", 2))
	s.accept(update("ada", "GRANTED", 3))
	c := s.one()
	if got := s.state(c).Permissions[0].State; got != "GRANTED" {
		s.Errorf("claimed state %s", got)
	}
	if c.Digest != nil {
		s.Error("what was pending may have been attempted, yet the target is trusted to hold the older record")
	}
	if !c.Since.Equal(t0.Add(2 * time.Minute)) {
		s.Errorf("since %v, want the first update that the target does not hold", c.Since)
	}
	s.settled(c)
	s.balance()
}

func (s *suite) newerUpdateDuringAttempt() {
	s.accept(update("ada", "GRANTED", 1))
	c := s.one()
	s.accept(update("ada", "DENIED", 2))
	if more := s.claim(10); len(more) != 0 {
		s.Fatal("claimed while the citizen is in flight")
	}
	s.settled(c)
	d := s.delivery("ada")
	if d.Status != store.Pending || d.Delivered != c.Desired || d.Desired <= c.Desired {
		s.Fatalf("after the older version was delivered: %+v", d)
	}
	c = s.one()
	if got := s.state(c).Permissions[0].State; got != "DENIED" || string(c.Digest) != "d" {
		s.Errorf("claimed %s, digest %q", got, c.Digest)
	}
	s.settled(c)
	s.balance()
}

func (s *suite) receiptsMerge() {
	receipt := func(option, state string, minute int) consent.Update {
		u := update("ada", state, minute)
		u.Type = consent.ConsentReceipts
		u.State.Permissions[0].OptionID = option
		u.Body = consent.Encode(u.State)
		return u
	}
	s.accept(receipt("email", "GRANTED", 5))
	if v := s.accept(receipt("post", "GRANTED", 3)); v != consent.Accepted {
		s.Errorf("an older change of another option: %v", v)
	}
	if v := s.accept(receipt("email", "DENIED", 4)); v != consent.Superseded {
		s.Errorf("an older change of the same option: %v", v)
	}
	states := map[string]string{}
	for _, p := range s.state(s.one()).Permissions {
		states[p.OptionID] = p.State
	}
	if states["email"] != "GRANTED" || states["post"] != "GRANTED" || len(states) != 2 {
		s.Errorf("merged %v", states)
	}
}

func (s *suite) lapsedStays() {
	s.accept(update("ada", "GRANTED", 1))
	s.settled(s.one())
	u := update("ada", "GRANTED", 2)
	u.State.Permissions = nil
	u.Body = consent.Encode(u.State)
	s.accept(u)
	c := s.one()
	p := s.state(c).Permissions
	if !c.Withdrawal || len(p) != 1 || p[0].OptionID != "k3Rmx" || p[0].State != "" {
		s.Errorf("a permission that the sender left out: withdrawal %v, %+v", c.Withdrawal, p)
	}
}

func (s *suite) windows() {
	until := t0.Add(30 * 24 * time.Hour)
	u := update("ada", "GRANTED", 1)
	u.State.Permissions[0].ValidUntil = until
	u.Body = consent.Encode(u.State)
	s.accept(u)
	s.accept(update("bob", "GRANTED", 1))
	for _, c := range s.claim(10) {
		s.settled(c)
	}
	if at, err := s.NextTick(ctx); err != nil || !at.Equal(until) {
		s.Fatalf("next tick at %v, %v", at, err)
	}
	if n, err := s.Tick(ctx, until.Add(-time.Second), 10); n != 0 || err != nil {
		s.Errorf("a second early: %d, %v", n, err)
	}
	s.reopen() // what is to come survives
	if n, err := s.Tick(ctx, until, 10); n != 1 || err != nil {
		s.Fatalf("when it ends: %d, %v", n, err)
	}
	c := s.one()
	if c.CitizenID != "ada" || !c.Withdrawal || !c.Since.Equal(until) || s.state(c).Permissions[0].Allowed(until) {
		s.Errorf("claimed %+v", c.Delivery)
	}
	if n, err := s.Tick(ctx, late, 10); n != 0 || err != nil {
		s.Errorf("again: %d, %v", n, err)
	}
	if at, err := s.NextTick(ctx); err != nil || !at.IsZero() {
		s.Errorf("next tick at %v, %v", at, err)
	}
	s.settled(c)
	s.balance()
}

func (s *suite) held() {
	s.accept(update("ada", "DENIED", 10))
	s.settled(s.one())
	u := update("ada", "GRANTED", 5)
	u.State.SentAt = t0.Add(20 * time.Minute)
	u.Body = consent.Encode(u.State)
	s.accept(u)
	c := s.one()
	if got := s.state(c).Permissions[0].State; got != "DENIED" {
		s.Errorf("a grant on older evidence became %s", got)
	}
	s.settled(c)
	s.reopen()
	if n, err := s.Held(ctx); n != 1 || err != nil {
		s.Errorf("held: %d, %v", n, err)
	}
	if k, err := s.Citizen(ctx, source, "ada"); err != nil || k.Held == nil || len(k.Body) == 0 {
		s.Errorf("citizen %+v, %v", k, err)
	}
	if _, err := s.Citizen(ctx, source, "nobody"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("nobody: %v", err)
	}
	if err := s.ReleaseHeld(ctx, source, "bob", late); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("release of nobody: %v", err)
	}
	if err := s.ReleaseHeld(ctx, source, "ada", late); err != nil {
		s.Fatal(err)
	}
	c = s.one()
	if got := s.state(c).Permissions[0].State; got != "GRANTED" {
		s.Errorf("released as %s", got)
	}
	s.settled(c)
	if err := s.ReleaseHeld(ctx, source, "ada", late); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("release twice: %v", err)
	}
	s.balance()
}
