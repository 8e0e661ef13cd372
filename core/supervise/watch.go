package supervise

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/host"
)

// pace says how a process that ends is launched again.
type pace struct {
	initial, max time.Duration
	// well is how long a process has to run for its end to count as the first one.
	well time.Duration
}

func (p pace) delays() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.initial), backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0),
		backoff.WithMaxInterval(p.max), backoff.WithMaxElapsedTime(0))
}

// launch makes a configured instance the current one.
func (t *Target) launch(ctx context.Context) (*instance, error) {
	inst, err := launch(ctx, t.spec.Program, t.spec.RuntimeDir, t.log.Named("plugin"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, configureTime)
	defer cancel()
	about, can, err := t.configure(ctx, inst)
	if err != nil {
		inst.kill()
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now, t.about, t.can = inst, about, can
	t.status.State, t.status.Pid, t.status.Since, t.status.NextLaunch = Running, inst.process.pid(), time.Now(), time.Time{}
	close(t.ready)
	t.log.Info("plugin runs", "type", about.Type, "version", about.Version, "pid", t.status.Pid)
	return inst, nil
}

func (t *Target) configure(ctx context.Context, inst *instance) (host.Description, host.Capabilities, error) {
	about, err := inst.describe(ctx, t.spec.Program)
	if err != nil {
		return about, host.Capabilities{}, err
	}
	can, mistakes, err := inst.client.Configure(ctx, sdk.Config{Target: t.spec.Name, Fields: t.spec.Config})
	if err != nil {
		return about, can, fmt.Errorf("configure target %s: %w", t.spec.Name, inst.failure(err))
	}
	if len(mistakes) > 0 {
		return about, can, Mistakes(mistakes)
	}
	return about, can, nil
}

// watch launches the process again when it ends, until ctx ends.
func (t *Target) watch(ctx context.Context, inst *instance) {
	defer close(t.done)
	delays := t.spec.pace.delays()
	for inst != nil {
		select {
		case <-inst.exited():
		case <-ctx.Done():
			return
		}
		how := inst.process.exit()
		t.down(inst)
		inst.kill()
		t.mu.Lock()
		t.status.LastExit = how
		t.mu.Unlock()
		if time.Since(inst.began) >= t.spec.pace.well {
			delays.Reset()
		}
		t.log.Error("plugin ended", "how", how, "ran", time.Since(inst.began).Round(time.Millisecond))
		inst = t.relaunch(ctx, delays)
	}
}

// relaunch tries until it has a new instance, or returns nil when ctx ends.
func (t *Target) relaunch(ctx context.Context, delays backoff.BackOff) *instance {
	for {
		delay := delays.NextBackOff()
		t.mu.Lock()
		t.status.NextLaunch = time.Now().Add(delay)
		t.mu.Unlock()
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil
		}
		inst, err := t.launch(ctx)
		if ctx.Err() != nil {
			return nil // Close ends what there may be
		}
		t.mu.Lock()
		t.status.Restarts++
		t.mu.Unlock()
		if err == nil {
			return inst
		}
		t.log.Error("plugin does not come up", "error", err)
	}
}

// down takes inst out of use, if it still is in use.
func (t *Target) down(inst *instance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != inst || t.status.State != Running {
		return
	}
	t.now = nil
	t.status.State, t.status.Pid, t.status.Since = BackingOff, 0, time.Now()
	t.ready = make(chan struct{})
}
