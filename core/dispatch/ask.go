package dispatch

import (
	"errors"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// maxAsking is how many claims of a target may wait for what their rules look up. From half of it on only
// withdrawals are claimed, so that a slow lookup leaves them room.
const maxAsking = 512

func (g *Group) asked() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asking
}

// ask keeps those of the claims of which everything is known that their rules look up. The others are looked up
// without a worker's place, each by itself; once there is an answer the claim is given back, to be claimed anew
// with the newest state, in its order.
func (g *Group) ask(claims []store.Claimed) []store.Claimed {
	now := time.Now()
	ready := make([]store.Claimed, 0, len(claims))
	for _, c := range claims {
		names, p := g.unknown(c, now)
		if len(names) == 0 {
			ready = append(ready, c)
			continue
		}
		g.mu.Lock()
		g.asking++
		g.mu.Unlock()
		g.workers.Go(func() {
			g.lookUp(c, names, p)
			g.mu.Lock()
			g.asking--
			g.mu.Unlock()
			g.nudge()
		})
	}
	return ready
}

// unknown are the lookups whose answers are needed and not at hand. What goes wrong here goes wrong once more
// when the claim is rendered, where there is an answer to it.
func (g *Group) unknown(c store.Claimed, now time.Time) ([]string, lookup.Person) {
	rule := g.target.Rules[c.Rule]
	if rule == nil || len(rule.Reads()) == 0 {
		return nil, lookup.Person{}
	}
	state, err := stateOf(c)
	if err != nil {
		return nil, lookup.Person{}
	}
	names, p := needed(rule, c, *state, now), person(c, *state)
	if _, known := g.target.Lookups.Known(names, p); known {
		return nil, p
	}
	return names, p
}

// needed are the lookups of a rule, and none when it panics, as it will again.
func needed(rule *rules.Rule, c store.Claimed, state consent.State, now time.Time) (names []string) {
	defer func() {
		if recover() != nil {
			names = nil
		}
	}()
	return rule.Lookups(c.Source, state, now)
}

func person(c store.Claimed, state consent.State) lookup.Person {
	return lookup.Person{
		Source: c.Source, ID: c.CitizenID, ExternalRef: string(state.ExternalRef), ApplicationID: string(state.ApplicationID),
		Version: c.Desired, Urgent: c.Withdrawal,
	}
}

// lookUp asks, and gives the claim back or lets the delivery wait.
func (g *Group) lookUp(c store.Claimed, names []string, p lookup.Person) {
	_, err := g.target.Lookups.Fetch(g.stop, names, p)
	if err == nil || g.stop.Err() != nil {
		g.store.Release([]store.Claimed{c})
		return
	}
	s := g.waiting(c, err, time.Now())
	if err := g.store.Settle(g.calls, []store.Settlement{s}); err != nil {
		if !errors.Is(err, store.ErrPoisoned) {
			g.pause(StoreState, 0, "settle deliveries: "+err.Error())
		}
		return
	}
	g.report(&s)
}

// waits is whether a pending delivery waits for something else than its target.
func waits(reason string) bool {
	return reason == store.ReasonIdentity || reason == store.ReasonLookup
}

// waiting leaves a delivery pending until its rule's lookups answer. That is no attempt: the target was not
// asked, and neither its budget of attempts nor that of time is touched. How long a delivery has waited
// already tells how much longer it waits, which is the target's back-off without a count of its own.
func (g *Group) waiting(c store.Claimed, why error, now time.Time) store.Settlement {
	s := store.Settlement{
		Claim: c, At: now, Status: store.Pending, Outcome: sdk.KindRetry.String(), Reason: store.ReasonIdentity, Error: why.Error(),
		Attempts: c.Attempts, Crashes: c.Crashes, FailingSince: c.FailingSince, Digest: c.Digest,
	}
	var after time.Duration
	if failure := (*lookup.Failure)(nil); errors.As(why, &failure) {
		s.Reason, after = store.ReasonLookup, failure.After
	}
	if c.Status == store.Dead {
		return g.bury(s, c.Reason, s.Error, now)
	}
	if !waits(c.Reason) {
		s.FailingSince = now
	}
	retry := g.target.Retry
	grown := float64(retry.InitialInterval) + (retry.Multiplier-1)*float64(now.Sub(s.FailingSince))
	retry.InitialInterval = time.Duration(min(grown, float64(retry.MaxInterval)))
	s.NextAttempt = now.Add(max(delay(retry, 0), named(after)))
	return s
}
