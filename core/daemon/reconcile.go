package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/reconcile"
	"github.com/consentd/consentd/core/store"
)

const (
	// reconcileLook is how often it is looked whether a comparison is due, and reconciledMark when the last one of
	// everything began, at any replica.
	reconcileLook  = time.Minute
	reconciledMark = "reconciled"
)

// reconciler is the comparison under way, or the last one.
type reconciler struct {
	mu      sync.Mutex
	run     *reconcile.Run
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// cut ends the one under way, if there is one, and waits for it.
func (r *reconciler) cut() {
	r.mu.Lock()
	if r.cancel != nil {
		r.cancel()
	}
	r.mu.Unlock()
	r.running.Wait()
}

// startReconciling compares by the clock, if the configuration says so.
func (d *daemon) startReconciling() {
	d.later("reconciliation", func(context.Context) error { d.reconciling.cut(); return nil })
	d.repeat("reconciliation by the clock", func(ctx context.Context) time.Duration {
		due, err := d.comparisonDue(ctx, d.config().Reconcile.Every)
		if due {
			_, err = d.reconcile(ctx, admin.Reconcile{})
		}
		if err != nil && ctx.Err() == nil {
			d.Log.Warn("senders, store and targets are not compared", "error", err)
		}
		return reconcileLook
	})
}

// comparisonDue is whether it is time to compare, and for this replica to do it for all. It ends where it began, also when
// another one's turn has come meanwhile, which finds the mark.
func (d *daemon) comparisonDue(ctx context.Context, every time.Duration) (bool, error) {
	if mine, _ := d.store.Share().Part(1, "reconciliation"); every == 0 || mine == 0 {
		return false, nil
	}
	last, err := d.store.Mark(ctx, reconciledMark)
	if err != nil {
		return false, err
	}
	at, err := time.Parse(time.RFC3339, string(last))
	if err != nil { // the first time, it is due after as long as between two
		return false, d.setReconciled(ctx)
	}
	return time.Since(at) >= every, nil
}

func (d *daemon) setReconciled(ctx context.Context) error {
	return d.store.SetMark(ctx, reconciledMark, []byte(time.Now().UTC().Format(time.RFC3339)))
}

// reconcile begins a comparison in the background.
func (d *daemon) reconcile(ctx context.Context, in admin.Reconcile) (admin.Reconciliation, error) {
	w := d.world.Load()
	if w == nil {
		return admin.Reconciliation{}, errStarting
	}
	o, err := d.reconcileOptions(w, in)
	if err != nil {
		return admin.Reconciliation{}, err
	}
	r := &d.reconciling
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run != nil && r.run.Report().Running {
		return r.run.Report(), fmt.Errorf("%w: a comparison is under way", admin.ErrBusy)
	}
	if in.Target == "" {
		if err := d.setReconciled(ctx); err != nil {
			return admin.Reconciliation{}, err
		}
	}
	run := reconcile.New(o)
	life, cancel := context.WithCancel(context.Background())
	r.run, r.cancel = run, cancel
	r.running.Go(func() {
		defer cancel()
		run.Do(life)
		d.logReconciled(run.Report())
	})
	return run.Report(), nil
}

func (d *daemon) reconcileOptions(w *world, in admin.Reconcile) (reconcile.Options, error) {
	c := w.config.Reconcile
	o := reconcile.Options{
		Store: d.store, Lookups: w.lookups, Repair: in.Repair, EraseGone: c.EraseGone, MaxErasures: c.MaxErasures, Log: d.Log.Named("reconcile"),
		Erase: func(ctx context.Context, source, citizenID string) error {
			_, err := d.erase(ctx, source, citizenID)
			return err
		},
	}
	switch o.Repair {
	case "":
		o.Repair = c.Repair
	case reconcile.RepairNone, reconcile.RepairWithdrawals, reconcile.RepairAll:
	default:
		return o, fmt.Errorf("repair %q is none: give none, withdrawals or all", o.Repair)
	}
	if running := w.repairs.Load(); running != nil && in.Target == "" {
		o.Senders = *running
	}
	for _, t := range w.targets {
		if in.Target != "" && t.Name != in.Target {
			continue
		}
		about := t.process.Description()
		one := reconcile.Target{Name: t.Name, MaxBatch: orElse(about.Limits.MaxBatch, 100), RateLimit: t.RateLimit, Timeout: t.Timeout}
		for _, rule := range w.plan.rulesOf(t.Name) {
			one.Rules = append(one.Rules, rule)
		}
		if t.process.Capabilities().Read {
			one.Read = t.process.Read
		}
		o.Targets = append(o.Targets, one)
	}
	if in.Target != "" && len(o.Targets) == 0 {
		return o, fmt.Errorf("target %q %w; `consentd status` lists them", in.Target, store.ErrNotFound)
	}
	return o, nil
}

// reconciled is how the comparison under way goes, or how the last one ended.
func (d *daemon) reconciled(context.Context) (admin.Reconciliation, error) {
	r := &d.reconciling
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil {
		return admin.Reconciliation{Sources: []admin.SourceDrift{}, Targets: []admin.TargetDrift{}}, nil
	}
	return r.run.Report(), nil
}

func (d *daemon) logReconciled(r admin.Reconciliation) {
	for _, s := range r.Sources {
		d.Log.Info("compared with the sender", "source", s.Name, "citizens", s.Citizens, "missing", s.Missing, "differ", s.Differ,
			"withdrawals", s.Withdrawals, "gone", s.Gone, "repaired", s.Repaired, "erased", s.Erased)
	}
	for _, t := range r.Targets {
		level := d.Log.Info
		if t.Withdrawals > 0 {
			level = d.Log.Warn // somebody is told what they said no to
		}
		level("compared with the target", "target", t.Name, "records", t.Records, "missing", t.Missing, "differ", t.Differ,
			"withdrawals", t.Withdrawals, "unreadable", t.Unreadable, "repaired", t.Repaired)
	}
}
