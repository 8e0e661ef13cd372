package dispatch

import (
	"context"
	"time"

	"github.com/consentd/consentd/core/store"
)

const (
	// shareEvery is how often a replica looks whether it has got a share of a target's calls, while it has none.
	shareEvery = time.Second
	// leastTime is what a call needs of the time for which its claims are held, or it is not begun.
	leastTime = store.LeastHold / 2
)

// share is how many calls may be in flight here, and brings the rate to what goes with that: replicas share
// both.
func (g *Group) share() int {
	mine, among := g.store.Share().Part(g.target.MaxInFlight, g.target.Name)
	g.pace.divide(among)
	return mine
}

// within bounds a call by the target's timeout, and by the time for which its claims are held: what comes later could
// come after something newer, which another replica sent. It is false when there is too little of that left.
func (g *Group) within(ctx context.Context, owner []*rendering) (context.Context, context.CancelFunc, bool) {
	deadline := time.Now().Add(g.target.Timeout)
	for _, r := range owner {
		until := g.store.Until(r.claim)
		if until.IsZero() {
			continue
		}
		if time.Until(until) < leastTime {
			return nil, nil, false
		}
		if until.Before(deadline) {
			deadline = until
		}
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	return ctx, cancel, true
}

// asClaim is a request to erase as the store knows its claim.
func asClaim(e store.Erasure) []*rendering {
	return []*rendering{{claim: store.Claimed{Epoch: e.Epoch}}}
}
