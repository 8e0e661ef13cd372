package dispatch

import (
	"slices"
	"sync"
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
		case <-g.up(time.Now()):
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
	if wait := g.held(now); wait > 0 {
		return wait
	}
	most := g.share()
	free, probe, closed := g.room(now, most)
	switch {
	case closed > 0:
		return closed
	case most == 0:
		return shareEvery
	case free <= 0:
		return pollEvery
	}
	if err := g.loadFuse(g.stop, now); err != nil {
		if g.stop.Err() == nil {
			g.pause(StoreState, 0, "read fuse: "+err.Error())
		}
		return 0
	}
	limit, lanes := g.target.MaxBatch, store.AllLanes
	switch asking := g.asked(); {
	case asking >= maxAsking:
		return pollEvery
	case asking >= maxAsking/2:
		lanes = store.Withdrawals
	}
	switch {
	case probe:
		limit = 1
	case free == 1 && most > 1:
		lanes = store.Withdrawals
	}
	claims, wait, err := g.claim(now, lanes, limit)
	if err != nil {
		if g.stop.Err() == nil {
			g.pause(StoreState, 0, "claim deliveries: "+err.Error())
		}
		return 0
	}
	g.stored()
	if len(claims) == 0 {
		return min(wait, g.untilNextDue(now))
	}
	if claims = g.ask(claims); len(claims) == 0 {
		return 0
	}
	if i := slices.IndexFunc(claims, func(c store.Claimed) bool { return c.Crashes > 0 }); i >= 0 {
		g.alone(claims, i)
		return 0
	}
	n, size := g.alike(claims)
	g.store.Release(claims[n:])
	g.start(claims[:n], size)
	return 0
}

// claim claims what the circuits and the rate let go now. If that is nothing, wait is how long until they let more go.
func (g *Group) claim(now time.Time, lanes store.Lanes, limit int) (claims []store.Claimed, wait time.Duration, err error) {
	through, wait := g.passing(now, lanes, limit)
	for _, t := range through {
		turns, until := g.pace.turns(now, t.lanes, t.limit)
		wait = min(wait, until)
		for _, t := range turns {
			if claims, err = g.store.Claim(g.stop, g.target.Name, now, t.limit, t.lanes); err != nil || len(claims) > 0 {
				return claims, wait, err
			}
		}
	}
	return nil, wait, nil
}

// room is how many calls may be started now, of so many at most. A paused target lets one through, alone, once its pause is
// over.
func (g *Group) room(now time.Time, most int) (free int, probe bool, closed time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	free = most - g.inFlight
	if g.gate.state == Running {
		return free, false, 0
	}
	if now.Before(g.gate.until) {
		return free, true, g.gate.until.Sub(now)
	}
	if g.gate.waitsForPlugin() {
		return free, true, pollEvery
	}
	if g.inFlight > 0 {
		return 0, true, 0
	}
	return 1, true, 0
}

// up is closed when the plugin runs for which a target waits whose pause is over; it is nil if none waits.
func (g *Group) up(now time.Time) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.gate.until) {
		return nil
	}
	return g.gate.plugin
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

// start gives the claims to a worker of their own, for calls of so many records. With a rate limit they are
// rendered before more is claimed, as only then it is known how many of them are sent.
func (g *Group) start(claims []store.Claimed, size int) {
	g.mu.Lock()
	g.inFlight++
	g.mu.Unlock()
	g.probes(claims, true)
	render := sync.OnceValue(func() *batch { return g.render(claims) })
	if g.pace != nil {
		render()
	}
	g.workers.Go(func() {
		defer g.end()
		defer g.probes(claims, false)
		b := render()
		g.deliver(b.ctx, b, size)
	})
}

func (g *Group) end() {
	g.mu.Lock()
	g.inFlight--
	g.mu.Unlock()
	g.nudge()
}

// nudge has the feeder look again.
func (g *Group) nudge() {
	select {
	case g.freed <- struct{}{}:
	default:
	}
}

// down closes the gate until the plugin runs.
func (g *Group) down() {
	ready := g.target.Deliverer.Ready()
	g.pause(DownState, 0, "the plugin does not run")
	g.mu.Lock()
	g.gate.plugin = ready
	g.mu.Unlock()
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
