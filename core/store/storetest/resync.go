package storetest

import (
	"time"

	"github.com/consentd/consentd/core/store"
)

// What operators set anew, and hold back.

func (s *suite) resynced(f store.ResyncFilter) store.Resynced {
	s.Helper()
	done, err := s.Resync(ctx, f, late)
	if err != nil {
		s.Fatalf("resync: %v", err)
	}
	return done
}

// resync: whatever its status, a delivery is pending again, and nothing is known of what the target holds.
func (s *suite) resync() {
	for n, name := range []string{"settled", "dead", "discarded", "refused"} {
		s.accept(update(name, map[bool]string{true: "DENIED", false: "GRANTED"}[name == "refused"], n))
		c := s.one()
		if name == "settled" || name == "refused" {
			s.settled(c)
			continue
		}
		s.bury(c, time.Time{})
		if name == "discarded" {
			if _, err := s.DiscardDead(ctx, store.DeadFilter{ID: c.ID}); err != nil {
				s.Fatal(err)
			}
		}
	}
	s.accept(update("pending", "GRANTED", 10))
	s.settle(store.Settlement{Claim: s.one(), At: late, Status: store.Pending, NextAttempt: late.Add(time.Hour), Attempts: 3, Outcome: "retry", Error: "HTTP_500"})
	s.route(store.Route{Rule: "r", Target: "other"})
	s.accept(update("elsewhere", "GRANTED", 11))
	s.route(routes...)
	s.accept(update("withdrawn", "GRANTED", 12))
	s.settled(s.one())
	s.accept(update("withdrawn", "DENIED", 13))
	before := map[string]store.Delivery{}
	for _, name := range []string{"settled", "dead", "discarded", "refused", "pending", "withdrawn"} {
		before[name] = s.delivery(name)
	}
	if n := s.resynced(store.ResyncFilter{Target: "nowhere", Limit: 10}); n.N != 0 {
		s.Errorf("resynced of a target that is not there: %+v", n)
	}
	first := s.resynced(store.ResyncFilter{Target: "mail", Limit: 4})
	if first.N != 4 || first.Last != before["refused"].ID || first.End < before["withdrawn"].ID {
		s.Errorf("first chunk: %+v", first)
	}
	s.balance()
	if rest := s.resynced(store.ResyncFilter{Target: "mail", After: first.Last, Limit: 4}); rest.N != 2 || rest.Last != before["withdrawn"].ID {
		s.Errorf("second chunk: %+v", rest)
	}
	if d := s.delivery("elsewhere"); d.Outcome == store.OutcomeResync {
		s.Error("another target's delivery was resynced")
	}
	counts := s.balance()
	if counts.Pending != 6 || counts.Dead != 0 || counts.Discarded != 0 || counts.Withdrawals != 1 {
		s.Errorf("counts %+v", counts)
	}
	s.reopen()
	claims := s.claim(10)
	if len(claims) != 6 || claims[0].CitizenID != "withdrawn" || !claims[0].Withdrawal || claims[1].CitizenID != "refused" {
		s.Errorf("claimed in the order %v", names(claims))
	}
	for _, c := range claims {
		was := before[c.CitizenID]
		if c.Status != store.Pending || c.Digest != nil || c.Desired <= was.Desired || c.Attempts != 0 || c.Outcome != store.OutcomeResync || c.Reason != "" || c.Error != "" {
			s.Errorf("%s: %+v", c.CitizenID, c.Delivery)
		}
		if s.state(c).CitizenID == "" || c.Given != was.Given {
			s.Errorf("%s: %+v, was %+v", c.CitizenID, c.Delivery, was)
		}
		s.settled(c)
	}
	if c := s.balance(); c.Pending != 0 || c.Withdrawals != 0 {
		s.Errorf("counts %+v", c)
	}
	if c := s.delivery("settled"); string(c.Digest) != "d" || c.Outcome != "delivered" {
		s.Errorf("after the delivery: %+v", c)
	}
}

func names(claims []store.Claimed) (all []string) {
	for _, c := range claims {
		all = append(all, c.CitizenID)
	}
	return all
}

func (s *suite) resyncCitizen() {
	both := []store.Route{{Rule: "newsletter", Target: "mail"}, {Rule: "crm", Target: "other"}}
	s.route(both...)
	for _, name := range []string{"ada", "bob"} {
		s.accept(update(name, "GRANTED", 1))
	}
	for _, target := range []string{"mail", "other"} {
		claims, err := s.Claim(ctx, target, late, 10, store.AllLanes)
		if err != nil || len(claims) != 2 {
			s.Fatal(claims, err)
		}
		for _, c := range claims {
			s.settled(c)
		}
	}
	pending := func() (all []string) {
		for _, name := range []string{"ada", "bob"} {
			deliveries, err := s.Deliveries(ctx, source, name)
			if err != nil {
				s.Fatal(err)
			}
			for _, d := range deliveries {
				if d.Status == store.Pending {
					all = append(all, name+" "+d.Target)
				}
			}
		}
		return all
	}
	for _, nobody := range []store.ResyncFilter{{Source: "another", CitizenID: "ada", Limit: 10}, {Source: source, CitizenID: "eve", Limit: 10}} {
		if n := s.resynced(nobody); n.N != 0 {
			s.Errorf("resynced nobody: %+v", n)
		}
	}
	if n := s.resynced(store.ResyncFilter{Source: source, CitizenID: "ada", Target: "other", Limit: 10}); n.N != 1 {
		s.Errorf("one target: %+v", n)
	}
	if got := pending(); len(got) != 1 || got[0] != "ada other" {
		s.Errorf("pending %v", got)
	}
	if n := s.resynced(store.ResyncFilter{Source: source, CitizenID: "ada", Limit: 10}); n.N != 2 {
		s.Errorf("all targets: %+v", n)
	}
	if got := pending(); len(got) != 2 {
		s.Errorf("pending %v", got)
	}
	s.balance()
}

// resyncInFlight: an attempt that began before says nothing of what the target holds after.
func (s *suite) resyncInFlight() {
	s.accept(update("ada", "GRANTED", 1))
	c := s.one()
	s.resynced(store.ResyncFilter{Target: "mail", Limit: 10})
	if again := s.claim(10); len(again) != 0 {
		s.Error("in flight twice")
	}
	s.settled(c)
	again := s.one()
	if again.Digest != nil || again.Status != store.Pending || again.Desired <= c.Desired {
		s.Errorf("after the attempt: %+v", again.Delivery)
	}
	s.settled(again)
	s.balance()
	// What comes later is trusted as ever.
	s.accept(update("ada", "DENIED", 2))
	if c := s.one(); string(c.Digest) != "d" {
		s.Errorf("digest %q", c.Digest)
	}
}

func (s *suite) pauses() {
	expect := func(want map[string]store.Pause) {
		s.Helper()
		got, err := s.Pauses(ctx)
		if err != nil || len(got) != len(want) {
			s.Fatalf("pauses %v, %v; want %v", got, err, want)
		}
		for target, p := range want {
			if g := got[target]; !g.Since.Equal(p.Since) || !g.Until.Equal(p.Until) {
				s.Errorf("pauses %v; want %v", got, want)
			}
		}
	}
	expect(nil)
	mail, other := store.Pause{Since: t0}, store.Pause{Since: t0, Until: late}
	for target, p := range map[string]store.Pause{"mail": mail, "other": other} {
		if err := s.SetPause(ctx, target, &p); err != nil {
			s.Fatal(err)
		}
	}
	expect(map[string]store.Pause{"mail": mail, "other": other})
	s.reopen()
	expect(map[string]store.Pause{"mail": mail, "other": other})
	longer := store.Pause{Since: t0, Until: late.Add(time.Hour)}
	if err := s.SetPause(ctx, "mail", &longer); err != nil {
		s.Fatal(err)
	}
	for range 2 {
		if err := s.SetPause(ctx, "other", nil); err != nil {
			s.Fatal(err)
		}
	}
	expect(map[string]store.Pause{"mail": longer})
	if longer.Over(late) || !longer.Over(longer.Until) || mail.Over(late.AddDate(9, 0, 0)) {
		s.Error("a pause is over before its time, or goes on after it")
	}
}
