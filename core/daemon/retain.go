package daemon

import (
	"context"
	"time"
)

// reseal brings what is personal under the key that seals now, in small commits, once after each start: keys change
// with the configuration.
func (d *daemon) reseal(ctx context.Context) time.Duration {
	err := bitByBit(ctx, func() (bool, error) { return d.store.Reseal(ctx, tidyAt) })
	if err != nil {
		if ctx.Err() == nil {
			d.Log.Error("values cannot be sealed with the first key of encryption > keys; the others stay necessary", "error", err)
		}
		return tidyEvery
	}
	if n := len(d.config().Encryption.Keys); n > 1 {
		d.Log.Info("every value is sealed with the first key of encryption > keys: the others are not needed any more", "others", n-1)
	}
	<-ctx.Done()
	return 0
}

// prune removes what was kept as long as it is to be kept, and gives the space back.
func (d *daemon) prune(ctx context.Context) time.Duration {
	steps := []struct {
		what string
		keep time.Duration
		run  func(ctx context.Context, before time.Time, limit int) (int, error)
	}{
		{"receipts", d.config().Retention.Receipts, d.store.PruneReceipts},
		{"quarantine", d.config().Retention.Quarantine, d.store.PruneQuarantine},
	}
	for _, s := range steps {
		if s.keep == 0 {
			continue
		}
		removed := 0
		err := bitByBit(ctx, func() (bool, error) {
			n, err := s.run(ctx, time.Now().Add(-s.keep), tidyAt)
			removed += n
			return n == tidyAt, err
		})
		if err != nil && ctx.Err() == nil {
			d.Log.Error("what is older than retention says cannot be removed", "what", s.what, "error", err)
		}
		if removed > 0 {
			d.Log.Info("removed what is older than retention says", "what", s.what, "count", removed)
		}
	}
	if err := bitByBit(ctx, func() (bool, error) { return d.store.Shrink(ctx) }); err != nil && ctx.Err() == nil {
		d.Log.Error("free space of the store cannot be given back", "error", err)
	}
	return tidyEvery
}

// bitByBit does something as long as there is more of it, with pauses in which updates have the store for themselves.
func bitByBit(ctx context.Context, do func() (more bool, err error)) error {
	for {
		more, err := do()
		if err != nil || !more {
			return err
		}
		select {
		case <-time.After(tidyPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
