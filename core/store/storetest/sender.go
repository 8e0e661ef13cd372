package storetest

import (
	"slices"
	"time"

	"github.com/consentd/consentd/core/consent"
)

// What bringing the store in line with the sender and with targets needs.

// heldOnes: those who have held grants are listed until these are settled.
func (s *suite) heldOnes() {
	regress := func(citizen string) {
		s.accept(update(citizen, "DENIED", 5))
		u := update(citizen, "GRANTED", 1)
		u.State.SentAt = t0.Add(10 * time.Minute)
		u.Received, u.Body = u.State.SentAt, consent.Encode(u.State)
		s.accept(u)
	}
	for _, citizen := range []string{"ada", "bob"} {
		regress(citizen)
	}
	s.accept(update("cleo", "GRANTED", 1))
	list := func() (ids []string) {
		s.Helper()
		for after := int64(0); ; {
			page, err := s.ListHeld(ctx, after, 1)
			if err != nil {
				s.Fatal(err)
			}
			if len(page) == 0 {
				return ids
			}
			if h := page[0]; h.Source != source || !h.Received.Equal(t0.Add(10*time.Minute)) {
				s.Errorf("%+v", h)
			}
			after, ids = page[0].Number, append(ids, page[0].CitizenID)
		}
	}
	if got := list(); !slices.Equal(got, []string{"ada", "bob"}) {
		s.Errorf("held: %q", got)
	}
	s.accept(update("ada", "GRANTED", 20))
	if got := list(); !slices.Equal(got, []string{"bob"}) {
		s.Errorf("held after newer news: %q", got)
	}
}

// resend: what is sent again is due at once, under a new version, with nothing trusted.
func (s *suite) resend() {
	s.accept(update("ada", "GRANTED", 1))
	s.accept(update("bob", "GRANTED", 1))
	before := s.claim(10)
	for _, c := range before {
		s.settled(c)
	}
	changed := s.Changed("mail")
	for len(changed) > 0 {
		<-changed
	}
	if n, err := s.Resend(ctx, "mail", source, "bob", true, t0); n != 1 || err != nil {
		s.Fatalf("resend: %d, %v", n, err)
	}
	select {
	case <-changed:
	default:
		s.Error("nobody is told that something is due")
	}
	again := s.one()
	if again.CitizenID != "bob" || !again.Withdrawal || again.Digest != nil || again.Desired <= before[1].Desired || !again.Given {
		s.Errorf("again %+v", again)
	}
	// One in flight is of an older version, and the withdrawal stays.
	if n, err := s.Resend(ctx, "mail", source, "bob", false, t0); n != 1 || err != nil {
		s.Fatalf("resend in flight: %d, %v", n, err)
	}
	s.settled(again)
	if third := s.one(); third.Desired <= again.Desired || !third.Withdrawal {
		s.Errorf("third %+v", third)
	}
	if n, err := s.Resend(ctx, "mail", source, "nobody", false, t0); n != 0 || err != nil {
		s.Errorf("resend of nobody: %d, %v", n, err)
	}
	s.balance()
}

// marks survive reopening, until they are dropped.
func (s *suite) marks() {
	get := func(name string) string {
		s.Helper()
		v, err := s.Mark(ctx, name)
		if err != nil {
			s.Fatal(err)
		}
		return string(v)
	}
	set := func(name string, value []byte) {
		s.Helper()
		if err := s.SetMark(ctx, name, value); err != nil {
			s.Fatal(err)
		}
	}
	if v, err := s.Mark(ctx, "a"); v != nil || err != nil {
		s.Errorf("at first %q, %v", v, err)
	}
	set("a", []byte("1"))
	set("b", []byte("2"))
	set("a", []byte("3"))
	s.reopen()
	if get("a") != "3" || get("b") != "2" {
		s.Errorf("after reopening %q, %q", get("a"), get("b"))
	}
	set("a", nil)
	set("a", nil)
	if get("a") != "" || get("b") != "2" {
		s.Errorf("after one was dropped %q, %q", get("a"), get("b"))
	}
}
