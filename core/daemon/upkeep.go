package daemon

import (
	"context"
	"time"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

const (
	// lookEvery bounds how late the end of a window can be noticed: the clock may jump, and an update may
	// bring an end that is nearer than the one waited for.
	lookEvery = 5 * time.Second
	// lookAt is how many citizens one commit looks at again.
	lookAt = 256
	// watchEvery and auditEvery are how often withdrawals are watched and the ledger is audited; an audit
	// reads every delivery.
	watchEvery = 5 * time.Second
	auditEvery = 10 * time.Minute
	// forwardEvery is how long a clock that was set back can hold attempts back.
	forwardEvery = time.Minute
	// tidyEvery is how often what was kept long enough is removed, tidyAt how much of it in one commit, and tidyPause
	// the pause between two.
	tidyEvery = time.Hour
	tidyAt    = 256
	tidyPause = 20 * time.Millisecond
)

// startUpkeep starts what is done by the clock: among it, looking again at citizens whenever a validity window
// begins or ends, of which the sender says nothing.
func (d *daemon) startUpkeep() {
	d.repeat("clock", d.look)
	d.repeat("retention", d.endOldDead)
	d.repeat("withdrawal watch", d.watchWithdrawals(map[string]bool{}))
	d.repeat("audit", d.audit)
	d.repeat("forward", d.forward)
	d.repeat("seal", d.reseal)
	d.repeat("pruning", d.prune)
	d.repeat("survey", d.survey)
	d.repeat("pauses", d.followPauses)
}

// config is the one in force.
func (d *daemon) config() *config.Config { return d.world.Load().config }

// repeat does something again and again, each time after what it returned, until the daemon stops.
func (d *daemon) repeat(name string, do func(context.Context) time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			select {
			case <-time.After(do(ctx)):
			case <-ctx.Done():
			}
		}
	}()
	d.later(name, func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

// endOldDead gives up the dead letters that were kept as long as they are to be kept.
func (d *daemon) endOldDead(ctx context.Context) time.Duration {
	n, err := d.store.DiscardDead(ctx, store.DeadFilter{StoppedBefore: time.Now().Add(-d.config().DeadLetter.Retain)})
	switch {
	case err != nil && ctx.Err() == nil:
		d.Log.Error("old dead letters cannot be ended", "error", err)
	case n > 0:
		d.Log.Warn("dead letters ended: they were older than dead_letter > retain", "count", n)
	}
	return time.Hour
}

// reroute brings the deliveries in line with rules that are new, gone or feed another target. It is done
// before anything is delivered to these, so that no delivery is met whose rule is gone.
func (d *daemon) reroute(ctx context.Context) error {
	done, err := d.store.Reroute(ctx, time.Now())
	if err != nil {
		return err
	}
	if done.Filled > 0 || done.Removed > 0 {
		d.Log.Info("rules changed", "deliveries filled", done.Filled, "removed", done.Removed)
	}
	if done.Withdrawals > 0 {
		d.Log.Warn("rules that are gone owed their targets withdrawals; unless other rules feed these targets, they were never told", "withdrawals", done.Withdrawals)
	}
	return nil
}

// dropErasures gives up what targets were asked to erase that are gone, or are not to erase any more.
func (d *daemon) dropErasures(ctx context.Context, w *world) error {
	var erasing []string
	for _, t := range w.config.Targets {
		if t.Erase {
			erasing = append(erasing, t.Name)
		}
	}
	n, err := d.store.DropErasures(ctx, erasing)
	if n > 0 {
		d.Log.Warn("citizens were erased here, and the targets that were to erase them never confirmed it; they are not asked any more", "erasures", n)
	}
	return err
}

// look looks at those who are due and answers how long there is nothing to look at.
func (d *daemon) look(ctx context.Context) time.Duration {
	n, err := d.store.Tick(ctx, time.Now(), lookAt)
	if err != nil {
		if ctx.Err() == nil {
			d.Log.Error("validity windows cannot be looked at", "error", err)
		}
		return lookEvery
	}
	if n > 0 {
		d.Log.Info("validity windows began or ended", "citizens", n)
	}
	if n == lookAt {
		return 0
	}
	next, err := d.store.NextTick(ctx)
	if err != nil || next.IsZero() {
		return lookEvery
	}
	return min(max(time.Until(next), 0), lookEvery)
}

// watchWithdrawals warns of targets that have not confirmed a withdrawal for too long, once until that is
// mended. late is where it remembers of which it has warned.
func (d *daemon) watchWithdrawals(late map[string]bool) func(context.Context) time.Duration {
	return func(ctx context.Context) time.Duration {
		counts, err := d.store.Counts(ctx)
		if err != nil {
			return watchEvery
		}
		for target, c := range counts {
			age := time.Since(c.OldestWithdrawal)
			isLate := c.Withdrawals > 0 && age > d.config().WithdrawalSLO
			switch {
			case isLate && !late[target]:
				d.Log.Warn("a withdrawal is not confirmed in time", "target", target, "age", age.Round(time.Second), "withdrawals", c.Withdrawals)
			case !isLate && late[target]:
				d.Log.Info("every withdrawal is confirmed or in time again", "target", target)
			}
			late[target] = isLate
		}
		return watchEvery
	}
}

// forward finds attempts that are due later than anything can be, after the clock was wrong.
func (d *daemon) forward(ctx context.Context) time.Duration {
	longest := d.config().DeadLetter.RetryEvery
	for _, t := range d.config().Targets {
		longest = max(longest, 2*t.Retry.MaxInterval, sdk.MaxRetryAfter)
	}
	now := time.Now()
	n, err := d.store.Forward(ctx, now.Add(longest+time.Hour), now)
	switch {
	case err != nil && ctx.Err() == nil:
		d.Log.Error("attempts cannot be moved forward", "error", err)
	case n > 0:
		d.Log.Warn("the clock was wrong: attempts were due later than any can be, and are due now", "count", n)
	}
	return forwardEvery
}

// audit holds the store to law 12.
func (d *daemon) audit(ctx context.Context) time.Duration {
	for _, t := range d.config().Targets {
		d.imbalance.WithLabelValues(t.Name) // shows also before anything was accepted
	}
	off, err := d.store.Audit(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.Log.Error("the ledger cannot be audited", "error", err)
		}
		return auditEvery
	}
	for target, n := range off {
		d.imbalance.WithLabelValues(target).Set(float64(n))
		if n != 0 {
			d.Log.Error("updates are not accounted for: accepted is not delivered + superseded + erased + pending + dead + discarded", "target", target, "difference", n)
		}
	}
	return auditEvery
}
