package dispatch

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// maxCrashes is how often the plugin may break with a delivery in flight, alone, before it is buried.
const maxCrashes = 3

// settle commits what became of the renderings.
func (g *Group) settle(ctx context.Context, all []*rendering) {
	now := time.Now()
	settlements := make([]store.Settlement, 0, len(all))
	var again []store.Settlement
	var released []store.Claimed
	for _, r := range all {
		switch {
		case r.untried, r.unanswered:
			released = append(released, r.claim)
			if r.granted {
				g.fuse.giveBack(r.claim.ID)
			}
		case r.held:
			settlements = append(settlements, g.hold(r.claim, now))
		case r.suspect && r.outcome.Kind == sdk.KindRejected:
			again = append(again, g.again(r, now))
		default:
			settlements = append(settlements, g.settlement(r, now))
		}
	}
	g.store.Release(released)
	if len(settlements)+len(again) == 0 {
		return
	}
	if err := g.store.Settle(ctx, slices.Concat(settlements, again)); err != nil {
		if !errors.Is(err, store.ErrPoisoned) {
			g.pause(StoreState, 0, "settle deliveries: "+err.Error())
		}
		return
	}
	g.clear(settlements)
	for i := range settlements {
		g.report(&settlements[i])
		if settlements[i].Reason == store.ReasonFuse {
			g.fuse.held(now)
		}
	}
	g.stored()
}

// settlement says where a delivery goes.
func (g *Group) settlement(r *rendering, now time.Time) store.Settlement {
	c := r.claim
	s := store.Settlement{Claim: c, At: now, Outcome: r.outcome.Kind.String(), Granted: r.granted}
	switch {
	case r.ruleErr != nil:
		s.Outcome, s.Digest = sdk.KindRejected.String(), c.Digest
		return g.bury(s, store.ReasonRule, r.ruleErr.Error(), now)
	case len(r.records) == 0 && c.Withdrawal && c.Given:
		// To settle this would be to say that the target knows, and it was told nothing.
		s.Outcome, s.Digest = sdk.KindRejected.String(), c.Digest
		return g.bury(s, store.ReasonRule, "the rule has nothing to say of a withdrawal, and the target still holds what it was given before: "+
			"let its when be true then, as with permission.NAME.known", now)
	case r.outcome.Kind.Done():
		s.Status, s.Digest, s.Given = store.Settled, r.digest, r.sent
		if len(r.records) == 0 {
			// The rule has nothing for the target, which was given nothing or no withdrawal is due.
			s.Digest = c.Digest
		} else if r.outcome.Kind != sdk.KindUnchanged || r.digest == nil || string(r.digest) != string(c.Digest) {
			s.Receipt = g.receipt(r, now)
		}
		return s
	}
	s.Error, s.Given = text(r.outcome), r.sent
	s.Attempts, s.Crashes, s.FailingSince = c.Attempts+1, c.Crashes, c.FailingSince
	if s.FailingSince.IsZero() {
		s.FailingSince = now
	}
	if r.crashed {
		s.Crashes++
	}
	switch {
	case r.outcome.Kind == sdk.KindRejected:
		return g.bury(s, store.ReasonRejected, s.Error, now)
	case s.Crashes >= maxCrashes:
		return g.bury(s, store.ReasonCrash, s.Error, now)
	case pausing(r.outcome.Kind) != "", r.blameless && r.outcome.Kind == sdk.KindRetry:
		// The target is to blame. The gate or the circuit holds the delivery back; it is due as soon as that opens.
		s.Status, s.Attempts, s.NextAttempt = c.Status, c.Attempts, now
		if r.blameless {
			s.NextAttempt = now.Add(named(r.outcome.RetryAfter))
		}
		s.Reason, s.FailingSince = c.Reason, c.FailingSince
		return s
	case c.Status == store.Dead:
		return g.bury(s, c.Reason, s.Error, now)
	case exhausted(g.target.Retry, s.Attempts, s.FailingSince, now) && !c.Withdrawal:
		return g.bury(s, store.ReasonExhausted, s.Error, now)
	}
	s.Status = store.Pending
	if c.Reason == store.ReasonReleased {
		s.Reason = c.Reason // until it is delivered
	}
	s.NextAttempt = now.Add(max(delay(g.target.Retry, c.Attempts), named(r.outcome.RetryAfter)))
	return s
}

// again leaves a delivery as it stands and where it stands in the order, so that it comes again at once: it
// was rejected, and another one in its call may be to blame. What the target holds of it is not known.
func (g *Group) again(r *rendering, now time.Time) store.Settlement {
	c := r.claim
	return store.Settlement{
		Claim: c, At: now, Status: c.Status, NextAttempt: c.NextAttempt, Attempts: c.Attempts, Crashes: c.Crashes,
		FailingSince: c.FailingSince, Outcome: r.outcome.Kind.String(), Reason: c.Reason, Error: text(r.outcome), Given: true,
		Granted: r.granted,
	}
}

// bury makes a dead letter.
func (g *Group) bury(s store.Settlement, reason, text string, now time.Time) store.Settlement {
	s.Status, s.Reason, s.Error = store.Dead, reason, text
	if g.target.DeadRetryEvery > 0 {
		s.NextAttempt = now.Add(g.target.DeadRetryEvery)
	}
	return s
}

func (g *Group) receipt(r *rendering, now time.Time) *store.Receipt {
	c := r.claim
	return &store.Receipt{
		Source: c.Source, CitizenID: c.CitizenID, Rule: c.Rule, Target: c.Target,
		Version: c.Desired, SentAt: c.SentAt, Received: c.Received, Confirmed: now,
		Withdrawal: c.Withdrawal, Outcome: r.outcome.Kind.String(), Digest: r.content,
		Plugin: g.target.Plugin, Reference: r.outcome.Reference, Transactions: r.transactions, Config: g.target.ConfigHash,
	}
}

// report logs and counts one settled delivery.
func (g *Group) report(s *store.Settlement) {
	c := s.Claim
	outcome := s.Outcome
	if s.Status == store.Dead || s.Status == store.Discarded {
		outcome = s.Status.String()
	}
	if s.Status == store.Pending && (waits(s.Reason) || s.Reason == store.ReasonFuse) {
		outcome = s.Reason
	}
	g.metrics.delivery(g.target.Name, outcome)
	switch s.Status {
	case store.Settled:
		switch {
		case c.Withdrawal && (s.Receipt != nil || c.Given):
			g.metrics.withdrawal(g.target.Name, s.At.Sub(c.Since))
		case s.Receipt != nil:
			g.metrics.confirmed(g.target.Name, s.At.Sub(c.Since))
		}
		if c.Attempts == 0 && c.Status == store.Pending {
			g.log.Debug("delivered", "delivery", c.ID, "outcome", s.Outcome)
		} else {
			g.log.Info("delivered after failures", "delivery", c.ID, "outcome", s.Outcome, "attempt", c.Attempts+1)
		}
	case store.Dead:
		if c.Status == store.Dead {
			g.log.Debug("dead letter tried again in vain", "delivery", c.ID, "reason", s.Reason)
			return
		}
		g.log.Error("delivery stopped and is a dead letter now", "delivery", c.ID, "rule", c.Rule, "reason", s.Reason, "error", s.Error)
	case store.Discarded:
		g.log.Info("delivery ended: its rule is gone", "delivery", c.ID, "rule", c.Rule)
	case store.Pending:
		if s.Reason == store.ReasonFuse {
			g.log.Debug("delivery held: the fuse has blown", "delivery", c.ID, "rule", c.Rule, "reason", s.Reason)
			return
		}
		if waits(s.Reason) {
			g.log.Debug("delivery waits for a lookup", "delivery", c.ID, "rule", c.Rule, "reason", s.Reason, "error", s.Error)
			return
		}
		g.mu.Lock()
		news := g.gate.failure(s.Error, s.At)
		g.mu.Unlock()
		if news && s.Attempts > c.Attempts {
			g.log.Warn("delivery failed, will be tried again", "delivery", c.ID, "attempt", s.Attempts, "error", s.Error,
				"next", s.NextAttempt.Sub(s.At).Round(time.Millisecond).String())
		}
	}
}
