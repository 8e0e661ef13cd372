package dispatch

import (
	"time"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/sdk"
)

// State is whether a target's deliveries flow.
type State string

const (
	// Running: deliveries flow.
	Running State = "running"
	// ThrottledState: the vendor asked to slow down; tried again after the wait it named, or a back-off.
	ThrottledState State = "throttled"
	// UnauthorizedState: credentials or configuration are wrong, and a person has to act. Tried again with
	// back-off, so that it resumes by itself.
	UnauthorizedState State = "unauthorized"
	// DownState: the plugin broke or does not run. It is relaunched with back-off, and tried as soon as it runs.
	DownState State = "down"
	// FailingState: call after call fails for a while, whomever it is about; see circuit.
	FailingState State = "failing"
	// StoreState: what became of attempts cannot be committed.
	StoreState State = "store"
	// PausedState: an operator holds the target back; see Hold.
	PausedState State = "paused"
)

// States are all of them.
var States = []State{Running, PausedState, ThrottledState, UnauthorizedState, DownState, FailingState, StoreState}

// pauseRetry spaces the probes of a paused target.
var pauseRetry = config.Retry{InitialInterval: time.Second, Multiplier: 2, MaxInterval: time.Minute, Jitter: 0.3}

// downPause is how long a plugin that broke or does not run is left alone. Its relaunches have a back-off of
// their own.
const downPause = 250 * time.Millisecond

// gate holds a target's deliveries back while no record is to blame for what goes wrong. After each pause a
// single delivery goes through as a probe; its outcome opens the gate or closes it for longer.
type gate struct {
	retry    config.Retry
	state    State
	pauses   int // in a row
	closings int // ever
	until    time.Time
	// plugin is closed when the plugin runs that was found not to; nil if none was.
	plugin      <-chan struct{}
	lastError   string
	lastErrorAt time.Time
}

// close pauses the target for at least the time given and tells whether that is news.
func (g *gate) close(state State, now time.Time, atLeast time.Duration, text string) (news bool) {
	news = g.state != state || g.lastError != text
	// Calls that were in flight together fail together: that is one pause.
	same := g.state == state && now.Before(g.until)
	if g.state != state {
		g.pauses = 0
	}
	g.closings++
	g.state, g.lastError, g.lastErrorAt = state, text, now
	wait := named(atLeast)
	switch {
	case state == DownState:
		wait = downPause
	case same:
	case state == ThrottledState:
		// A vendor throttles all that call it, so whoever else is told so must not come back in step.
		wait = max(wait, fullJitter(g.retry, g.pauses))
	default:
		wait = max(wait, delay(g.retry, g.pauses))
	}
	if !same {
		g.pauses++
	}
	if until := now.Add(wait); until.After(g.until) {
		g.until = until
	}
	return news
}

// open lets everything through again.
func (g *gate) open() (news bool) {
	news = g.state != Running
	g.state, g.pauses, g.until, g.plugin = Running, 0, time.Time{}, nil
	return news
}

// waitsForPlugin is whether the target is down and its plugin was not seen to run since.
func (g *gate) waitsForPlugin() bool {
	select {
	case <-g.plugin:
		g.plugin = nil
	default:
	}
	return g.plugin != nil
}

// failure notes what went wrong with a record and tells whether that is news.
func (g *gate) failure(text string, now time.Time) (news bool) {
	news = g.lastError != text
	g.lastError, g.lastErrorAt = text, now
	return news
}

// pausing says which state an outcome asks for; it is empty when the outcome is the record's own affair.
func pausing(k sdk.Kind) State {
	switch k {
	case sdk.KindThrottled:
		return ThrottledState
	case sdk.KindUnauthorized:
		return UnauthorizedState
	}
	return ""
}
