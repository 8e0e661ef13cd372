package dispatch

import (
	"time"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// failingRetry spaces the probes of a lane that fails: nobody asked to be left alone, and a withdrawal may be
// waiting.
var failingRetry = config.Retry{InitialInterval: time.Second, Multiplier: 2, MaxInterval: 10 * time.Second, Jitter: 0.3}

// failingFrom is after how many calls in a row, each beginning with another delivery, a lane fails. A record that
// fails alone, however often, is not enough.
const failingFrom = 10

// circuit holds one lane's deliveries back while all calls with them fail for a while, whomever they are about:
// they wait without an attempt of theirs, and single ones, in turns, try whether that is over, which is held against
// none of them. Withdrawals and the others have one each, as a vendor may fail at the one and not at the other.
type circuit struct {
	// failed are the deliveries with which the calls began that failed since the last one that did not.
	failed  map[int64]bool
	pauses  int // in a row
	until   time.Time
	probing bool
}

func (c *circuit) failing() bool { return len(c.failed) >= failingFrom }

// fail notes a call in which everything failed, and tells whether the lane fails from now on.
func (c *circuit) fail(first int64, now time.Time) (news bool) {
	before := c.failing()
	if !before {
		if c.failed == nil {
			c.failed = map[int64]bool{}
		}
		c.failed[first] = true
	}
	// Calls that were in flight together fail together: that is one pause.
	if c.failing() && !now.Before(c.until) {
		c.until = now.Add(delay(failingRetry, c.pauses))
		c.pauses++
	}
	return c.failing() && !before
}

// answered notes a call that did not fail whole, and tells whether the lane failed before.
func (c *circuit) answered() (news bool) {
	news = c.failing()
	*c = circuit{}
	return news
}

// lane is the index of a delivery's circuit.
func lane(withdrawal bool) int {
	if withdrawal {
		return 0
	}
	return 1
}

// judge learns from a call whether the lanes in it fail.
func (g *Group) judge(owner []*rendering, outcomes []sdk.Outcome) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, withdrawal := range []bool{true, false} {
		var first *rendering
		var worst sdk.Outcome
		answered := false
		for i, r := range owner {
			if r.claim.Withdrawal != withdrawal {
				continue
			}
			if first == nil {
				first, worst = r, outcomes[i]
			}
			answered = answered || outcomes[i].Kind != sdk.KindRetry
		}
		switch c := &g.circuits[n]; {
		case first == nil:
		case answered && c.answered():
			g.log.Info("target does not fail any more", "withdrawals", withdrawal)
		case !answered:
			if c.fail(first.claim.ID, now) {
				g.log.Warn("target fails; what is due waits, and single deliveries try again", "withdrawals", withdrawal, "error", text(worst))
			}
			for _, r := range owner {
				r.blameless = r.blameless || r.claim.Withdrawal == withdrawal && c.failing()
			}
		}
	}
}

// probes notes that the claims are on their way, or with false that they came back.
func (g *Group) probes(claims []store.Claimed, are bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range claims {
		if l := &g.circuits[lane(c.Withdrawal)]; l.failing() {
			l.probing = are
		}
	}
}

// passing are the claims that the circuits let through, of these lanes and up to so many: a lane that fails has one
// delivery at a time as its probe. Without any, wait is how long until there are others.
func (g *Group) passing(now time.Time, lanes store.Lanes, limit int) (through []turn, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wait = pollEvery
	if !g.circuits[0].failing() && !g.circuits[1].failing() {
		return []turn{{lanes, limit}}, wait
	}
	for n, own := range []store.Lanes{store.Withdrawals, store.Others} {
		c := &g.circuits[n]
		switch {
		case lanes != store.AllLanes && lanes != own:
		case !c.failing():
			through = append(through, turn{own, limit})
		case now.Before(c.until):
			wait = min(wait, c.until.Sub(now))
		case !c.probing:
			through = append(through, turn{own, 1})
		}
	}
	return through, wait
}
