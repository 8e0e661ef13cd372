package dispatch

import (
	"slices"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// suspect notes that a call of several records was rejected whole, so that nobody can tell whether one of
// them sank the rest: their deliveries come again at once, in calls half as large. What is noted is in
// memory alone, as nothing is lost with it: after a restart they begin with a whole batch again.
func (g *Group) suspect(owner []*rendering) {
	half := (len(owner) + 1) / 2
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range owner {
		r.suspect = true
		if most, ok := g.suspects[r.claim.ID]; !ok || half < most {
			g.suspects[r.claim.ID] = half
		}
	}
	g.log.Debug("batch rejected whole, trying its halves", "records", len(owner))
}

// clear forgets the suspects among settled deliveries.
func (g *Group) clear(settlements []store.Settlement) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range settlements {
		if settlements[i].Status != store.Pending {
			delete(g.suspects, settlements[i].Claim.ID)
		}
	}
}

// alike is how many of the first claims may go together, and in calls of how many records: suspects
// only with suspects and no more than each allows, so that nothing new sinks with them.
func (g *Group) alike(claims []store.Claimed) (n, size int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	size = g.target.MaxBatch
	_, suspects := g.suspects[claims[0].ID]
	for _, c := range claims {
		most, is := g.suspects[c.ID]
		if is != suspects {
			break
		}
		if is && most < size {
			if n >= most {
				break
			}
			size = most
		}
		if n == size {
			break
		}
		n++
	}
	return n, size
}

// rejectedWhole is whether every one of several records was rejected, and none of them by itself.
func rejectedWhole(outcomes []sdk.Outcome) bool {
	return len(outcomes) > 1 && !slices.ContainsFunc(outcomes, func(o sdk.Outcome) bool { return o.Kind != sdk.KindRejected || o.Individual })
}

// alone delivers one claim with nothing else in flight, because the plugin broke with it in flight before,
// and gives the others back. So the one that breaks it shows, no other is blamed, and what is more urgent by
// then comes before the next suspect.
func (g *Group) alone(claims []store.Claimed, which int) {
	g.store.Release(slices.Concat(claims[:which], claims[which+1:]))
	if !g.idle() {
		g.store.Release(claims[which : which+1])
		return
	}
	_, size := g.alike(claims[which : which+1])
	g.start(claims[which:which+1], size)
	g.idle()
}

// idle waits until nothing is in flight; it is false when the group is told to stop before.
func (g *Group) idle() bool {
	for {
		g.mu.Lock()
		idle := g.inFlight == 0
		g.mu.Unlock()
		if idle {
			return g.stop.Err() == nil
		}
		select {
		case <-g.freed:
		case <-g.stop.Done():
			return false
		}
	}
}
