package storetest

import (
	"slices"
	"time"

	"github.com/consentd/consentd/core/store"
)

// hold settles a claim as held by its target's fuse.
func (s *suite) hold(c store.Claimed, at time.Time) {
	s.Helper()
	s.settle(store.Settlement{Claim: c, At: at, Status: store.Pending, Outcome: "retry", Reason: store.ReasonFuse, Error: "the fuse has blown"})
}

func (s *suite) fuseIs(when string, want store.Fuse) {
	s.Helper()
	all, err := s.Fuses(ctx)
	if got := all["mail"]; err != nil || !got.Blown.Equal(want.Blown) || !got.Released.Equal(want.Released) || len(all) > 1 {
		s.Errorf("%s: fuses %+v, %v; want %+v", when, all, err, want)
	}
}

// fuse: what is held is not due and blows the fuse, durably, until it is released; newer news comes out of it.
func (s *suite) fuse() {
	for n, citizen := range []string{"ada", "bob", "cleo"} {
		s.accept(update(citizen, "GRANTED", n))
	}
	s.fuseIs("before anything", store.Fuse{})
	for _, c := range s.claim(3) {
		s.hold(c, t0.Add(time.Duration(c.ID)*time.Second))
	}
	blown := s.delivery("ada").SettledAt
	check := func(when string, held int64, whole store.Fuse) {
		s.Helper()
		s.fuseIs(when, whole)
		waiting, err := s.Waiting(ctx)
		if err != nil || waiting["mail"][store.ReasonFuse] != held {
			s.Errorf("%s: %v wait, %v; want %d", when, waiting, err, held)
		}
		if next, err := s.NextDue(ctx, "mail"); err != nil || !next.IsZero() {
			s.Errorf("%s: something is due at %v, %v", when, next, err)
		}
		if c := s.claim(10); len(c) != 0 {
			s.Errorf("%s: %d are handed out", when, len(c))
			s.Release(c)
		}
	}
	check("all are held", 3, store.Fuse{Blown: blown})
	s.reopen()
	check("after reopening", 3, store.Fuse{Blown: blown})
	if n, err := s.Forward(ctx, t0, t0); err != nil || n != 0 {
		s.Errorf("forward: %d, %v", n, err)
	}

	s.accept(update("ada", "DENIED", 10))
	if c := s.one(); c.CitizenID != "ada" || !c.Withdrawal || c.Reason != "" {
		s.Errorf("a withdrawal waits behind a held grant: %+v", c.Delivery)
	} else {
		s.settled(c)
	}
	check("a withdrawal took the place of one", 2, store.Fuse{Blown: blown})

	if n, err := s.RetryFuse(ctx, "mail", t0.Add(time.Hour)); err != nil || n != 2 {
		s.Errorf("retry: %d, %v", n, err)
	}
	again := s.claim(10)
	if len(again) != 2 || again[0].Reason != store.ReasonFuse || again[0].Status != store.Pending {
		s.Fatalf("to be judged anew: %+v", again)
	}
	for _, c := range again {
		s.hold(c, t0.Add(2*time.Hour))
	}
	check("both are held again", 2, store.Fuse{Blown: blown})
	if n, err := s.ReleaseFuse(ctx, "other", late); err != nil || n != 0 {
		s.Errorf("release of another target: %d, %v", n, err)
	}

	released := t0.Add(3 * time.Hour)
	if n, err := s.ReleaseFuse(ctx, "mail", released); err != nil || n != 2 {
		s.Errorf("release: %d, %v", n, err)
	}
	s.fuseIs("released", store.Fuse{Released: released})
	s.reopen()
	s.fuseIs("released and reopened", store.Fuse{Released: released})
	let := s.claim(10)
	if len(let) != 2 || let[0].Reason != store.ReasonReleased || !let[0].NextAttempt.Equal(released) {
		s.Fatalf("let through: %+v", let)
	}
	s.settled(let[0])
	s.hold(let[1], released.Add(time.Second))
	check("it has blown anew", 1, store.Fuse{Blown: released.Add(time.Second), Released: released})
	s.balance()
}

// granted: the last grant of each delivery, as long as the delivery is there.
func (s *suite) granted() {
	expect := func(when string, since time.Time, want ...string) {
		s.Helper()
		all, err := s.Granted(ctx, "mail", since)
		var got []string
		for _, citizen := range []string{"ada", "bob", "cleo"} {
			if d, err := s.Deliveries(ctx, source, citizen); err == nil && len(d) == 1 && !all[d[0].ID].IsZero() {
				got = append(got, citizen+" "+all[d[0].ID].Format("15:04"))
			}
		}
		if err != nil || !slices.Equal(got, want) || len(all) != len(want) {
			s.Errorf("%s: %v of %v, %v; want %v", when, got, all, err, want)
		}
	}
	grant := func(c store.Claimed, at time.Time, status store.Status) {
		s.Helper()
		s.settle(store.Settlement{Claim: c, At: at, Status: status, NextAttempt: at, Outcome: "retry", Given: true, Granted: true})
	}
	for n, citizen := range []string{"ada", "bob", "cleo"} {
		s.accept(update(citizen, "GRANTED", n))
	}
	expect("before anything", time.Time{})
	claims := s.claim(3)
	grant(claims[0], t0, store.Settled)
	grant(claims[1], t0.Add(time.Minute), store.Pending)
	s.accept(update("cleo", "GRANTED", 20)) // in flight
	grant(claims[2], t0.Add(2*time.Minute), store.Settled)
	expect("three", t0, "ada 09:00", "bob 09:01", "cleo 09:02")
	expect("since", t0.Add(time.Minute), "bob 09:01", "cleo 09:02")
	for _, c := range s.claim(2) {
		if c.CitizenID == "bob" {
			s.settled(c) // a retry of what counts already
		} else {
			grant(c, t0.Add(time.Hour), store.Settled)
		}
	}
	s.reopen()
	expect("again, and after reopening", t0, "ada 09:00", "bob 09:01", "cleo 10:00")
	if _, err := s.Erase(ctx, source, "ada", late, askNothing); err != nil {
		s.Fatal(err)
	}
	expect("one is erased", t0, "bob 09:01", "cleo 10:00")
	s.balance()
}

// citizens: everybody once, in pages, with the newest state; and an extent that tells whether any of it changed.
func (s *suite) citizens() {
	extent := func() store.Extent {
		s.Helper()
		e, err := s.Extent(ctx)
		if err != nil {
			s.Fatal(err)
		}
		return e
	}
	if none := extent(); none.Citizens != 0 {
		s.Errorf("an empty store has %+v", none)
	}
	want := []string{"ada", "bob", "cleo", "dan", "eve"}
	for n, citizen := range want {
		s.accept(update(citizen, "GRANTED", n))
	}
	before := extent()
	s.accept(update("bob", "DENIED", 10))
	if after := extent(); before.Citizens != 5 || after.Citizens != 5 || after.Newest <= before.Newest {
		s.Errorf("extent %+v, and after an update %+v", before, after)
	}
	before = extent()
	s.accept(update("bob", "GRANTED", 1))
	for _, c := range s.claim(5) {
		s.settled(c)
	}
	s.reopen()
	if now := extent(); now != before {
		s.Errorf("extent %+v, and after nothing changed %+v", before, now)
	}
	var got []string
	for after := int64(0); ; {
		page, err := s.Citizens(ctx, after, 2)
		if err != nil {
			s.Fatal(err)
		}
		if len(page) > 2 {
			s.Fatalf("a page of %d", len(page))
		}
		for _, k := range page {
			state := s.state(store.Claimed{Body: k.Body})
			if k.Number <= after || k.Source != source || string(state.CitizenID) != k.CitizenID || k.Version > before.Newest {
				s.Errorf("citizen %+v after %d", k, after)
			}
			if denied := state.Permissions[0].State == "DENIED"; denied != (k.CitizenID == "bob") {
				s.Errorf("%s is in state %s", k.CitizenID, state.Permissions[0].State)
			}
			after, got = k.Number, append(got, k.CitizenID)
		}
		if len(page) < 2 {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.Errorf("listed %v", got)
	}
	if _, err := s.Erase(ctx, source, "dan", late, askNothing); err != nil {
		s.Fatal(err)
	}
	if now := extent(); now == before || now.Citizens != 4 {
		s.Errorf("extent %+v, and after an erasure %+v", before, now)
	}
}
