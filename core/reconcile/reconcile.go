// Package reconcile compares three things that should be one: what the sender says, what is stored, and what targets
// hold. It is apart from package repair, which follows the sender alone, and from dispatch, which trusts what targets
// confirmed: this finds what was changed behind everybody's back.
//
// Reports hold nothing of a person: citizens stand in them as keyed hashes, and of records there are the names of
// fields.
package reconcile

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/repair"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// What is done about differences.
const (
	RepairNone        = "none"
	RepairWithdrawals = "withdrawals"
	RepairAll         = "all"
)

// Target is a target to compare with.
type Target struct {
	Name  string
	Rules []*rules.Rule
	// Read asks what it holds; nil when it cannot tell.
	Read     func(ctx context.Context, records []sdk.Record) ([]sdk.Reading, error)
	MaxBatch int
	// RateLimit is the target's, in records a second, of which reading takes half; 0: none.
	RateLimit float64
	Timeout   time.Duration
}

// Store is what is needed of the store.
type Store interface {
	Citizens(ctx context.Context, after int64, limit int) ([]store.Known, error)
	Deliveries(ctx context.Context, source, citizenID string) ([]store.Delivery, error)
	Resend(ctx context.Context, target, source, citizenID string, withdrawal bool, now time.Time) (int, error)
	HashKey() []byte
}

// Options are what one run is made of.
type Options struct {
	Store   Store
	Senders map[string]*repair.Source
	Targets []Target
	Lookups *lookup.Set
	Repair  string
	// EraseGone is whether citizens whom their sender does not know any more are erased, by Erase, unless there are
	// more than MaxErasures.
	EraseGone   bool
	MaxErasures int
	Erase       func(ctx context.Context, source, citizenID string) error
	Log         hclog.Logger
}

// maxSamples is how many differences of each source and target are named.
const maxSamples = 10

// Run is one comparison. Its report can be read while it goes on.
type Run struct {
	Options
	mu     sync.Mutex
	report admin.Reconciliation
}

// New makes a run.
func New(o Options) *Run {
	return &Run{Options: o, report: admin.Reconciliation{Running: true, Started: time.Now(), Repair: o.Repair, Sources: []admin.SourceDrift{}, Targets: []admin.TargetDrift{}}}
}

// Report is what was found so far.
func (r *Run) Report() admin.Reconciliation {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.report
	out.Sources, out.Targets = slices.Clone(out.Sources), slices.Clone(out.Targets)
	return out
}

// Do compares. Senders come first, so that targets are compared with what is true.
func (r *Run) Do(ctx context.Context) {
	names := make([]string, 0, len(r.Senders))
	for name := range r.Senders {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := r.compareSender(ctx, name); err != nil {
			r.Log.Warn("what is stored cannot be compared with the sender", "source", name, "error", err)
			r.source(name, func(d *admin.SourceDrift) { d.Error = err.Error() })
		}
	}
	if err := r.compareTargets(ctx); err != nil {
		r.Log.Warn("targets cannot be compared with what is stored", "error", err)
		r.mu.Lock()
		r.report.Error = err.Error()
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Running, r.report.Ended = false, time.Now()
	if ctx.Err() != nil {
		r.report.Error = "it was cut short"
	}
}

func (r *Run) source(name string, change func(*admin.SourceDrift)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.report.Sources, func(d admin.SourceDrift) bool { return d.Name == name })
	if i < 0 {
		i = len(r.report.Sources)
		r.report.Sources = append(r.report.Sources, admin.SourceDrift{Name: name, Samples: []admin.Drift{}})
	}
	change(&r.report.Sources[i])
}

func (r *Run) target(name string, change func(*admin.TargetDrift)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.report.Targets, func(d admin.TargetDrift) bool { return d.Name == name })
	if i < 0 {
		i = len(r.report.Targets)
		r.report.Targets = append(r.report.Targets, admin.TargetDrift{Name: name, Samples: []admin.Drift{}})
	}
	change(&r.report.Targets[i])
}

// masked is how a report calls a citizen: as receipts and the log do.
func (r *Run) masked(source, citizenID string) string {
	return hex.EncodeToString(store.Subject(r.Store.HashKey(), source, citizenID))
}

func sample(to *[]admin.Drift, d admin.Drift) {
	if len(*to) < maxSamples {
		// A report that was handed out shares what was there before.
		*to = append(slices.Clip(*to), d)
	}
}

// mends is whether a difference is to be mended.
func (r *Run) mends(withdrawal bool) bool {
	return r.Repair == RepairAll || r.Repair == RepairWithdrawals && withdrawal
}

var errControl = errors.New("the API does not know a citizen whom it has just listed: is api > paths > citizens right? Nobody is taken for gone")
