package dispatch

import (
	"time"

	"github.com/consentd/consentd/core/store"
)

// Hold sends the target nothing more, withdrawals and erasures included, until the pause is over or Resume is
// called. What is in flight ends; what is claimed and not sent is given back. It is beside the gate: what the
// vendor says opens it as little as time alone.
func (g *Group) Hold(p store.Pause) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.Over(time.Now()) {
		return
	}
	if g.ordered == nil {
		g.log.Warn("target paused by an operator: nothing is sent, withdrawals wait as well", "until", until(p))
	}
	g.ordered = &p
	g.metrics.held(g.target.Name, true)
}

func until(p store.Pause) string {
	if p.Until.IsZero() {
		return "resumed"
	}
	return p.Until.UTC().Format(time.RFC3339)
}

// Resume ends what Hold began.
func (g *Group) Resume() {
	g.mu.Lock()
	g.unhold()
	g.mu.Unlock()
	g.nudge()
}

// unhold ends a hold; the caller holds the mutex.
func (g *Group) unhold() {
	if g.ordered != nil {
		g.ordered = nil
		g.metrics.held(g.target.Name, false)
		g.log.Info("target resumed: its pause is over")
	}
}

// held is how long nothing is sent; 0: something is.
func (g *Group) held(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heldFor(now)
}

// heldFor is held; the caller holds the mutex.
func (g *Group) heldFor(now time.Time) time.Duration {
	switch {
	case g.ordered == nil:
		return 0
	case g.ordered.Over(now):
		g.unhold()
		return 0
	case g.ordered.Until.IsZero():
		return pollEvery
	}
	return min(g.ordered.Until.Sub(now), pollEvery)
}
