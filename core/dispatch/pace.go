package dispatch

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/consentd/consentd/core/store"
)

// withdrawalShare is the part of a rate that withdrawals can count on whatever else goes out. The rest is
// what the others can count on, so that withdrawals that fail again and again do not starve them.
const withdrawalShare = 0.9

// pace is a target's rate limit in records. Every record that is sent takes a token of all and one of its own
// lane's share. A lane may send while either has one: an idle lane leaves the whole rate to the other, and
// one that ran all into debt leaves the other its share. As the shares add up to the rate, all is exceeded
// by their bursts at most.
type pace struct {
	all, withdrawals, others *rate.Limiter
	// limit is for all replicas, among is how many share it.
	limit    float64
	maxBatch int
	among    int
}

// newPace is nil without a limit.
func newPace(limit float64, maxBatch int) *pace {
	if limit <= 0 {
		return nil
	}
	return &pace{
		all:         rate.NewLimiter(rate.Limit(limit), max(1, min(maxBatch, int(limit)))),
		withdrawals: rate.NewLimiter(rate.Limit(limit*withdrawalShare), 1),
		others:      rate.NewLimiter(rate.Limit(limit*(1-withdrawalShare)), 1),
		limit:       limit, maxBatch: maxBatch, among: 1,
	}
}

// divide leaves this replica its part of the rate. The feeder alone calls it.
func (p *pace) divide(among int) {
	if p == nil || among == p.among {
		return
	}
	p.among = among
	limit := p.limit / float64(among)
	p.all.SetLimit(rate.Limit(limit))
	p.all.SetBurst(max(1, min(p.maxBatch, int(limit))))
	p.withdrawals.SetLimit(rate.Limit(limit * withdrawalShare))
	p.others.SetLimit(rate.Limit(limit * (1 - withdrawalShare)))
}

// turn is one claim that may be tried.
type turn struct {
	lanes store.Lanes
	limit int
}

// turns are the claims to try now, in order, and how long it is until there are others.
func (p *pace) turns(now time.Time, lanes store.Lanes, limit int) (turns []turn, wait time.Duration) {
	if p == nil {
		return []turn{{lanes, limit}}, pollEvery
	}
	if n := int(p.all.TokensAt(now)); n >= 1 {
		return []turn{{lanes, min(limit, n)}}, pollEvery
	}
	wait = untilToken(p.all, now)
	for _, own := range []struct {
		lanes store.Lanes
		share *rate.Limiter
	}{{store.Withdrawals, p.withdrawals}, {store.Others, p.others}} {
		switch {
		case lanes != store.AllLanes && lanes != own.lanes:
		case own.share.TokensAt(now) >= 1:
			turns = append(turns, turn{own.lanes, 1})
		default:
			wait = min(wait, untilToken(own.share, now))
		}
	}
	return turns, wait
}

// spend takes tokens for records, running into debt if it must, which later ones wait off.
func (p *pace) spend(now time.Time, withdrawals, others int) {
	if p == nil {
		return
	}
	take(p.all, now, withdrawals+others)
	take(p.withdrawals, now, withdrawals)
	take(p.others, now, others)
}

func take(l *rate.Limiter, now time.Time, tokens int) {
	for tokens > 0 {
		n := min(tokens, l.Burst())
		l.ReserveN(now, n)
		tokens -= n
	}
}

// untilToken is how long it is until the limiter has a token.
func untilToken(l *rate.Limiter, now time.Time) time.Duration {
	missing := (1 - l.TokensAt(now)) / float64(l.Limit())
	return max(time.Millisecond, time.Duration(missing*float64(time.Second)))
}
