package httpclient

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/consentd/consentd/sdk"
)

// Quota names the headers that say how much of a rate limit is left. When nothing is, calls wait here
// for Reset rather than being refused there; and a throttled answer without Retry-After takes Reset for
// it. There is no common form: read the vendor's documents. The zero value reads nothing.
type Quota struct {
	// Remaining is how many calls are left.
	Remaining string
	// Reset is when there are more: seconds, a Unix time in seconds or an HTTP date.
	Reset string
	// Unit is what Reset counts in where it is always a whole number of something else.
	Unit time.Duration
}

// read returns said false when there is no reset to go by. left is -1 when that is not told.
func (q Quota) read(h http.Header, now time.Time) (left int, wait time.Duration, said bool) {
	if q.Reset == "" {
		return 0, 0, false
	}
	if q.Unit == 0 {
		wait, said = sdk.RetryAfter(h.Get(q.Reset), now)
	} else if n, err := strconv.ParseUint(h.Get(q.Reset), 10, 32); err == nil {
		wait, said = time.Duration(min(float64(n)*float64(q.Unit), float64(sdk.MaxRetryAfter))), true
	}
	left, err := strconv.Atoi(h.Get(q.Remaining))
	if err != nil {
		left = -1
	}
	return left, wait, said
}

// maxHold is the longest that calls wait here for a quota. For a longer time the vendor is left to say so
// itself, to a call that the host makes to try.
const maxHold = time.Minute

// pace decides when a call may be made.
type pace struct {
	slots   chan struct{} // nil without a bound
	limiter *rate.Limiter

	mu    sync.Mutex
	until time.Time // no call before
}

func newPace(atOnce int, limiter *rate.Limiter) *pace {
	p := &pace{limiter: limiter}
	if atOnce > 0 {
		p.slots = make(chan struct{}, atOnce)
	}
	return p
}

// enter waits for a turn. The error is fit for sdk.FromError; leave is called after the exchange.
func (p *pace) enter(ctx context.Context) (leave func(), err error) {
	leave = func() {}
	if p.slots != nil {
		select {
		case p.slots <- struct{}{}:
			leave = func() { <-p.slots }
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := p.turn(ctx); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

func (p *pace) turn(ctx context.Context) error {
	p.mu.Lock()
	until := p.until
	p.mu.Unlock()
	if wait := time.Until(until); wait > 0 {
		if err := sleep(ctx, wait, "QUOTA_USED_UP"); err != nil {
			return err
		}
	}
	if p.limiter == nil {
		return ctx.Err()
	}
	turn := p.limiter.Reserve()
	if !turn.OK() {
		return sdk.Unauthorized("RATE_LIMIT", "the rate limit allows no call at all").Err()
	}
	if err := sleep(ctx, turn.Delay(), "RATE_LIMIT"); err != nil {
		turn.Cancel()
		return err
	}
	return nil
}

// hold lets no call start for a time. Calls that began earlier may report an older quota, so a longer
// hold stands.
func (p *pace) hold(wait time.Duration) {
	until := time.Now().Add(min(wait, maxHold))
	p.mu.Lock()
	defer p.mu.Unlock()
	if until.After(p.until) {
		p.until = until
	}
}

// sleep does not begin a wait that ctx cannot see the end of.
func sleep(ctx context.Context, wait time.Duration, code string) error {
	if err := ctx.Err(); err != nil || wait <= 0 {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return sdk.Throttled(wait, code, "the vendor's rate limit leaves no call for %s", wait.Round(time.Millisecond)).Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
