package dispatch

import (
	"slices"
	"time"

	"github.com/consentd/consentd/core/store"
)

// pollEvery bounds how long a due delivery can be overlooked, should a clock jump or a store's hint go
// missing.
const pollEvery = 30 * time.Second

// feed claims deliveries and hands them to workers until Drain.
func (g *Group) feed() {
	defer close(g.fed)
	changed := g.store.Changed(g.target.Name)
	for {
		wait := g.feedOnce()
		if g.stop.Err() != nil {
			return
		}
		if wait <= 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-g.freed:
		case <-timer.C:
		case <-g.stop.Done():
		}
		timer.Stop()
	}
}

// feedOnce starts at most one worker. It returns how long there is nothing more to do, unless something
// changes.
func (g *Group) feedOnce() (wait time.Duration) {
	now := time.Now()
	free, probe, closed := g.room(now)
	switch {
	case closed > 0:
		return closed
	case free == 0:
		return pollEvery
	}
	limit, wait := g.allowance(now, probe)
	if limit == 0 {
		return wait
	}
	withdrawalsOnly := free == 1 && g.target.MaxInFlight > 1 && !probe
	claims, err := g.store.Claim(g.stop, g.target.Name, now, limit, withdrawalsOnly)
	if err != nil {
		if g.stop.Err() == nil {
			g.pause(StoreState, 0, "claim deliveries: "+err.Error())
		}
		return 0
	}
	g.stored()
	g.spend(now, len(claims))
	if len(claims) == 0 {
		return g.untilNextDue(now)
	}
	if i := slices.IndexFunc(claims, func(c store.Claimed) bool { return c.Crashes > 0 }); i >= 0 {
		g.isolate(claims, i)
		return 0
	}
	g.start(claims)
	return 0
}

// room is how many calls may be started now. A paused target lets one through, alone, once its pause is
// over.
func (g *Group) room(now time.Time) (free int, probe bool, closed time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	free = g.target.MaxInFlight - g.inFlight
	if g.gate.state == Running {
		return free, false, 0
	}
	if now.Before(g.gate.until) {
		return free, true, g.gate.until.Sub(now)
	}
	if g.inFlight > 0 {
		return 0, true, 0
	}
	return 1, true, 0
}

// allowance is how many records the rate limit lets go now.
func (g *Group) allowance(now time.Time, probe bool) (limit int, wait time.Duration) {
	limit = g.target.MaxBatch
	if probe {
		limit = 1
	}
	if g.limiter == nil {
		return limit, 0
	}
	tokens := g.limiter.TokensAt(now)
	if tokens < 1 {
		return 0, max(time.Millisecond, time.Duration((1-tokens)/float64(g.limiter.Limit())*float64(time.Second)))
	}
	return min(limit, int(tokens)), 0
}

// spend takes records from the rate, running into debt if it must, which later ones wait off.
func (g *Group) spend(now time.Time, records int) {
	for g.limiter != nil && records > 0 {
		n := min(records, g.limiter.Burst())
		g.limiter.ReserveN(now, n)
		records -= n
	}
}

func (g *Group) untilNextDue(now time.Time) time.Duration {
	next, err := g.store.NextDue(g.stop, g.target.Name)
	if err != nil || next.IsZero() {
		return pollEvery
	}
	// What is due and was not claimed is in flight, or waits for a free call: both end with a change.
	if !next.After(now) {
		return pollEvery
	}
	return min(next.Sub(now), pollEvery)
}

// start gives the claims to a worker of their own.
func (g *Group) start(claims []store.Claimed) {
	g.mu.Lock()
	g.inFlight++
	g.mu.Unlock()
	g.workers.Go(func() {
		defer g.end()
		g.deliver(g.calls, claims)
	})
}

func (g *Group) end() {
	g.mu.Lock()
	g.inFlight--
	g.mu.Unlock()
	select {
	case g.freed <- struct{}{}:
	default:
	}
}

// isolate delivers one claim with nothing else in flight, because the plugin broke with it in flight before,
// and gives the others back. So the one that breaks it shows, no other is blamed, and what is more urgent by
// then comes before the next suspect.
func (g *Group) isolate(claims []store.Claimed, suspect int) {
	g.store.Release(slices.Concat(claims[:suspect], claims[suspect+1:]))
	if !g.idle() {
		g.store.Release(claims[suspect : suspect+1])
		return
	}
	g.start(claims[suspect : suspect+1])
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

// pause closes the gate and logs when that is news.
func (g *Group) pause(state State, atLeast time.Duration, text string) {
	g.mu.Lock()
	news := g.gate.close(state, time.Now(), atLeast, text)
	g.metrics.paused(g.target.Name, true)
	g.mu.Unlock()
	if !news {
		return
	}
	switch state {
	case UnauthorizedState:
		g.log.Error("target paused: credentials or configuration are wrong; its work is kept", "reason", text)
	default:
		g.log.Warn("target paused", "state", string(state), "reason", text)
	}
}

// pauses is how often the target was paused so far.
func (g *Group) pauses() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gate.closings
}

// resume opens the gate after a call that no pause was to blame for, unless the target was paused since the
// call began: then it says nothing about that.
func (g *Group) resume(pauses int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gate.closings == pauses {
		g.open()
	}
}

// stored opens the gate if it was closed because of the store, which has just worked.
func (g *Group) stored() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gate.state == StoreState {
		g.open()
	}
}

// open opens the gate; the caller holds the mutex.
func (g *Group) open() {
	if g.gate.open() {
		g.metrics.paused(g.target.Name, false)
		g.log.Info("target resumed")
	}
}
