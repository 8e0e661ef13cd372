package daemon

import (
	"context"
	"time"

	"github.com/consentd/consentd/core/store"
)

const (
	// lookEvery bounds how late the end of a window can be noticed: the clock may jump, and an update may
	// bring an end that is nearer than the one waited for.
	lookEvery = 5 * time.Second
	// lookAt is how many citizens one commit looks at again.
	lookAt = 256
)

// startClock looks again at citizens whenever a validity window begins or ends: the sender says nothing then.
func (d *daemon) startClock(p *plan) {
	routes := map[string][]store.Route{}
	for _, s := range d.Config.Sources {
		routes[s.Name] = p.routesOf(s.Name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			select {
			case <-time.After(d.look(ctx, routes)):
			case <-ctx.Done():
			}
		}
	}()
	d.later("clock", func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

// look looks at those who are due and answers how long there is nothing to look at.
func (d *daemon) look(ctx context.Context, routes map[string][]store.Route) time.Duration {
	n, err := d.store.Tick(ctx, time.Now(), lookAt, routes)
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
