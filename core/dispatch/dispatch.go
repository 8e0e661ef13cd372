// Package dispatch brings targets to the wanted state: one group of workers a target claims due
// deliveries, renders the newest state under the current rules, calls the plugin, and settles each record
// by its own outcome. It owns everything about when: order, rate, back-off, pauses and giving up.
package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/trace"
	"github.com/consentd/consentd/sdk"
)

// Deliverer is the plugin of a target. An error means that the plugin broke, or with supervise.ErrDown
// that it does not run; outcomes come one a record, in order.
type Deliverer interface {
	Deliver(ctx context.Context, records []sdk.Record) ([]sdk.Outcome, error)
	// Ready is closed while it runs. A channel taken after a supervise.ErrDown tells when to try again.
	Ready() <-chan struct{}
}

// Target is one external system with what feeds it.
type Target struct {
	Name      string
	Plugin    string // type and version, for receipts
	Deliverer Deliverer
	Rules     map[string]*rules.Rule // by name
	Lookups   *lookup.Set            // what the rules read
	// MaxBatch is the most records of one call, MaxInFlight the most calls at once; both at least 1.
	MaxBatch    int
	MaxInFlight int
	Timeout     time.Duration
	RateLimit   float64 // records a second; 0: none
	MaxGrants   int     // within an hour; 0: any number. See fuse.
	Retry       config.Retry
	// DeadRetryEvery is how often a dead letter is tried again; 0: only on demand.
	DeadRetryEvery time.Duration
	// ConfigHash names the configuration in receipts.
	ConfigHash string
	// Erase is the plugin's; nil when the target is not to erase people.
	Erase func(ctx context.Context, records []sdk.Record) ([]sdk.Outcome, error)
	// Identity changes when the target becomes another system, say another account or list. What the system
	// before was given says nothing of what this one holds.
	Identity []byte
	// Trace follows what is delivered; nil is no tracing.
	Trace *trace.Tracer
	// Pause, if not nil, is the one with which the target starts.
	Pause *store.Pause
}

// Group is the workers of one target. When more than one call may be in flight, the last free one is kept
// for withdrawals, so that slow grants cannot hold them up.
type Group struct {
	target  Target
	store   store.Store
	log     hclog.Logger
	metrics *Metrics
	pace    *pace // nil: no limit
	fuse    fuse

	stop    context.Context // ends: claim nothing more
	halt    context.CancelFunc
	calls   context.Context // ends: cut calls short
	cut     context.CancelFunc
	fed     chan struct{} // closed when the feeder is done
	workers sync.WaitGroup
	freed   chan struct{} // receives after a worker ended

	mu       sync.Mutex
	inFlight int
	asking   int // claims that wait for what their rules look up
	gate     gate
	circuits [2]circuit   // by lane
	ordered  *store.Pause // an operator's pause; nil: none
	// suspects are deliveries that were rejected together with all others in their call, and with how many
	// records at most the next may go.
	suspects map[int64]int
}

// Start starts the workers of a target.
func Start(t Target, s store.Store, m *Metrics, log hclog.Logger) *Group {
	g := &Group{
		target: t, store: s, metrics: m,
		log:      log.With("target", t.Name),
		fed:      make(chan struct{}),
		freed:    make(chan struct{}, 1),
		gate:     gate{retry: pauseRetry, state: Running},
		pace:     newPace(t.RateLimit, t.MaxBatch),
		suspects: map[int64]int{},
	}
	g.fuse = fuse{most: t.MaxGrants, log: g.log}
	g.stop, g.halt = context.WithCancel(context.Background())
	g.calls, g.cut = context.WithCancel(context.Background())
	m.begin(t.Name)
	m.held(t.Name, false)
	if t.Pause != nil {
		g.Hold(*t.Pause)
	}
	go g.feed()
	if t.Erase != nil {
		g.workers.Go(g.erase)
	}
	return g
}

// Drain claims nothing more and waits for the calls in flight; when ctx ends it cuts them short.
func (g *Group) Drain(ctx context.Context) {
	g.halt()
	done := make(chan struct{})
	go func() {
		<-g.fed
		g.workers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		g.cut()
		<-done
	}
	g.cut()
}

// Status is how a target stands.
type Status struct {
	State    State
	InFlight int
	// Until is when a paused target is tried again.
	Until time.Time
	// Pause is an operator's; nil if there is none.
	Pause *store.Pause
	// LastError is of the last attempt that failed, in this process.
	LastError   string
	LastErrorAt time.Time
}

// Status of the target now.
func (g *Group) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Status{
		State: g.gate.state, InFlight: g.inFlight,
		Until: g.gate.until, LastError: g.gate.lastError, LastErrorAt: g.gate.lastErrorAt,
	}
	for i := range g.circuits {
		if c := &g.circuits[i]; c.failing() && g.gate.state == Running {
			s.State, s.Until = FailingState, c.until
			break
		}
	}
	if g.heldFor(time.Now()) > 0 {
		held := *g.ordered
		s.State, s.Until, s.Pause = PausedState, held.Until, &held
	}
	return s
}
