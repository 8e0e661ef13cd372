package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

func (s *suite) reroute() {
	move := func(want store.Rerouted, r ...store.Route) {
		s.Helper()
		s.route(r...)
		got, err := s.Reroute(ctx, late)
		if err != nil || got != want {
			s.Fatalf("reroute: %+v, %v, want %+v", got, err, want)
		}
		s.balance()
	}
	old := store.Route{Rule: "newsletter", Target: "mail"}
	move(store.Rerouted{}, old)
	s.accept(update("ada", "GRANTED", 1))
	s.accept(update("bob", "GRANTED", 1))
	for _, c := range s.claim(2) {
		s.settled(c)
	}
	s.accept(update("ada", "DENIED", 2))
	move(store.Rerouted{}, old) // nothing new

	// A rule that is new reaches those who are known.
	post := store.Route{Rule: "post", Target: "mail"}
	move(store.Rerouted{Filled: 2}, old, post)
	if all, _ := s.Deliveries(ctx, source, "bob"); len(all) != 2 || all[1].Rule != "post" || all[1].Status != store.Pending {
		s.Errorf("deliveries of bob: %+v", all)
	}
	move(store.Rerouted{Removed: 2, Withdrawals: 1}, old)

	// One that is renamed takes over the withdrawal that the old one owes.
	renamed := store.Route{Rule: "mailing", Target: "mail"}
	move(store.Rerouted{Filled: 2, Removed: 2, Withdrawals: 1}, renamed)
	c := s.claim(1)[0]
	if c.CitizenID != "ada" || !c.Withdrawal || c.Rule != "mailing" || c.Digest != nil {
		s.Errorf("claimed %+v", c.Delivery)
	}
	s.settled(c)
	s.settled(s.one())

	// One that feeds another target starts anew there.
	s.reopen()
	move(store.Rerouted{Filled: 2}, store.Route{Rule: "mailing", Target: "other"})
	if c := s.claim(10); len(c) != 0 {
		s.Errorf("still due at the old target: %+v", c)
	}
	if c, err := s.Claim(ctx, "other", late, 10, store.AllLanes); err != nil || len(c) != 2 || c[0].Digest != nil || c[0].Given {
		s.Errorf("claimed at the new target: %+v, %v", c, err)
	}
	counts, err := s.Counts(ctx)
	if o := counts["other"]; err != nil || o.Accepted != 2 || o.Pending != 2 {
		s.Errorf("counts of the new target: %+v, %v", o, err)
	}

	// One that is about another source is about nobody of this one any more.
	if err := s.Route(ctx, map[string][]store.Route{"another": s.routes}); err != nil {
		s.Fatal(err)
	}
	if got, err := s.Reroute(ctx, late); err != nil || got != (store.Rerouted{Removed: 2}) {
		s.Errorf("reroute: %+v, %v", got, err)
	}
}

// interrupted ends after it was looked at so many times.
type interrupted struct {
	context.Context
	looks atomic.Int32
	ended chan struct{}
}

func interrupt(after int) *interrupted {
	c := &interrupted{Context: ctx, ended: make(chan struct{})}
	c.looks.Store(int32(after))
	return c
}

func (c *interrupted) Done() <-chan struct{} {
	if c.looks.Add(-1) == 0 {
		close(c.ended)
	}
	return c.ended
}

func (c *interrupted) Err() error {
	select {
	case <-c.Done():
		return context.Canceled
	default:
		return nil
	}
}

// anyRoutes are up to three rules, each of one of two sources, and each of which feeds one of two targets.
func anyRoutes(rnd *rand.Rand) map[string][]store.Route {
	all := map[string][]store.Route{}
	for _, rule := range []string{"a", "b", "c"} {
		if n := rnd.IntN(6); n < 4 {
			of := sources[n%2]
			all[of] = append(all[of], store.Route{Rule: rule, Target: []string{"mail", "post"}[n/2]})
		}
	}
	return all
}

var sources = []string{source, "another"}

// rerouteInterrupted goes from configuration to configuration, each of them given up somewhere on the way to it, while
// updates come and are delivered. Once one is reached whole, everybody has its deliveries and no others, and each
// target is told the newest; a withdrawal as one, if it was told otherwise and that is known still.
func (s *suite) rerouteInterrupted() {
	seed := rand.Uint64()
	defer func() {
		if s.T.Failed() {
			s.Log("seed ", seed)
		}
	}()
	rnd := rand.New(rand.NewPCG(seed, 1))
	type place struct{ rule, target, citizen string }
	newest, told := map[string]consent.State{}, map[place]consent.State{}
	from := func(citizen string) string { return sources[int(citizen[1])%len(sources)] }
	var routes map[string][]store.Route
	route := func() {
		routes = anyRoutes(rnd)
		if err := s.Route(ctx, routes); err != nil {
			s.Fatal(err)
		}
	}
	minute := 0
	now := func() time.Time { return t0.Add(time.Duration(minute) * time.Minute) }
	some := func() {
		for range rnd.IntN(3) {
			minute++
			u := update(fmt.Sprint("c", rnd.IntN(5)), []string{"GRANTED", "DENIED"}[rnd.IntN(2)], minute)
			u.Source = from(string(u.State.CitizenID))
			s.accept(u)
			newest[string(u.State.CitizenID)] = u.State
		}
	}
	deliver := func(limit int) (n int) {
		for _, target := range []string{"mail", "post"} {
			claims, err := s.Claim(ctx, target, late, limit, store.AllLanes)
			if err != nil {
				s.Fatal(err)
			}
			for _, c := range claims {
				n++
				at, state := place{c.Rule, target, c.CitizenID}, s.state(c)
				before, known := told[at]
				takesBack := known && before.Permissions[0].State == "GRANTED" && state.Permissions[0].State == "DENIED"
				if c.Given && takesBack && !c.Withdrawal {
					s.Errorf("%s of %s is a withdrawal, and is none", c.Rule, c.CitizenID)
				}
				s.settled(c)
				told[at] = state
			}
		}
		return n
	}
	for range 60 {
		for range rnd.IntN(4) {
			route()
			_, _ = s.Reroute(interrupt(1+rnd.IntN(40)), now())
			some()
			deliver(rnd.IntN(3))
		}
		route()
		some()
		if _, err := s.Reroute(ctx, now()); err != nil {
			s.Fatal(err)
		}
		some()
		for deliver(10) > 0 {
		}
		for citizen, state := range newest {
			all, err := s.Deliveries(ctx, from(citizen), citizen)
			if err != nil {
				s.Fatal(err)
			}
			var there []store.Route
			for _, d := range all {
				there = append(there, store.Route{Rule: d.Rule, Target: d.Target})
				if told := told[place{d.Rule, d.Target, citizen}]; !told.SentAt.Equal(state.SentAt) {
					s.Errorf("%s has told %s of %s and not %s", d.Rule, d.Target, told.SentAt.Format(time.TimeOnly), state.SentAt.Format(time.TimeOnly))
				}
			}
			slices.SortFunc(there, func(a, b store.Route) int { return strings.Compare(a.Rule, b.Rule) })
			if !slices.Equal(there, routes[from(citizen)]) {
				s.Errorf("%s has the deliveries %v of %v", citizen, there, routes[from(citizen)])
			}
		}
		s.balance()
		if s.T.Failed() {
			return
		}
	}
}
