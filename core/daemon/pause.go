package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/dispatch"
	"github.com/consentd/consentd/core/store"
)

// pauses are the targets that operators hold back, and the groups that heed it. The store has the truth, as it
// outlives the process and may be of several.
type pauses struct {
	mu     sync.Mutex
	all    map[string]store.Pause
	groups map[string]*dispatch.Group
}

const (
	// followEvery is how soon a pause that another process of the same store set is heeded here.
	followEvery = 5 * time.Second
	// endingWait is how long a pause waits for what is in flight, and endingEvery how often it looks.
	endingWait  = 10 * time.Second
	endingEvery = 20 * time.Millisecond
	// resyncAt is how many deliveries one commit resyncs, and resyncFor how long one request goes on.
	resyncAt  = 1000
	resyncFor = time.Second
)

// start starts a target's group with the pause that it has.
func (p *pauses) start(t dispatch.Target, start func(dispatch.Target) *dispatch.Group) *dispatch.Group {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held, ok := p.all[t.Name]; ok {
		t.Pause = &held
	}
	if p.groups == nil {
		p.groups = map[string]*dispatch.Group{}
	}
	g := start(t)
	p.groups[t.Name] = g
	return g
}

// follow heeds the pauses as they stand in the store now.
func (p *pauses) follow(now map[string]store.Pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.all
	p.all = now
	for name, g := range p.groups {
		held, is := now[name]
		was, had := before[name]
		switch {
		case is && (!had || was != held):
			g.Hold(held)
		case !is && had:
			g.Resume()
		}
	}
}

func (p *pauses) list() []*dispatch.Group {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.groups))
}

func (p *pauses) group(target string) *dispatch.Group {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.groups[target]
}

// followPauses reads again which targets are paused, and which fuses have blown.
func (d *daemon) followPauses(ctx context.Context) time.Duration {
	if err := d.readPauses(ctx); err != nil && ctx.Err() == nil {
		d.Log.Error("pauses of targets cannot be read", "error", err)
	}
	for _, g := range d.pauses.list() {
		if err := g.FollowFuse(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("fuses of targets cannot be read", "error", err)
		}
	}
	return followEvery
}

func (d *daemon) readPauses(ctx context.Context) error {
	all, err := d.store.Pauses(ctx)
	if err != nil {
		return fmt.Errorf("read pauses: %w", err)
	}
	d.pauses.follow(all)
	return nil
}

// hasTarget is an error that names the targets there are, unless it is one of them.
func (w *world) hasTarget(name string) error {
	var names []string
	for _, t := range w.config.Targets {
		if t.Name == name {
			return nil
		}
		names = append(names, t.Name)
	}
	return fmt.Errorf("target %q %w: there are %s", name, store.ErrNotFound, strings.Join(names, ", "))
}

// pause holds a target back, for so long or until it is resumed, and waits a while for what is in flight.
func (d *daemon) pause(ctx context.Context, target string, howLong time.Duration) (admin.Paused, error) {
	out := admin.Paused{Target: target}
	w := d.world.Load()
	if w == nil {
		return out, errStarting
	}
	if err := w.hasTarget(target); err != nil {
		return out, err
	}
	p := store.Pause{Since: time.Now()}
	if howLong > 0 {
		p.Until = p.Since.Add(howLong)
	}
	if err := d.store.SetPause(ctx, target, &p); err != nil {
		return out, err
	}
	if err := d.readPauses(ctx); err != nil {
		return out, err
	}
	for end := time.Now().Add(endingWait); ; time.Sleep(endingEvery) {
		if g := d.pauses.group(target); g != nil {
			out.InFlight = g.Status().InFlight
		}
		if out.InFlight == 0 || time.Now().After(end) || ctx.Err() != nil {
			break
		}
	}
	out.Until = admin.When(p.Until)
	return out, d.countPending(ctx, &out)
}

// resume ends a pause. A target that is gone may have one.
func (d *daemon) resume(ctx context.Context, target string) (admin.Paused, error) {
	out := admin.Paused{Target: target}
	w := d.world.Load()
	if w == nil {
		return out, errStarting
	}
	all, err := d.store.Pauses(ctx)
	if err != nil {
		return out, err
	}
	if p, is := all[target]; !is || p.Over(time.Now()) {
		if err := w.hasTarget(target); err != nil {
			return out, err
		}
		return out, d.countPending(ctx, &out)
	}
	out.Was = true
	if err := d.store.SetPause(ctx, target, nil); err != nil {
		return out, err
	}
	if err := d.readPauses(ctx); err != nil {
		return out, err
	}
	return out, d.countPending(ctx, &out)
}

func (d *daemon) countPending(ctx context.Context, p *admin.Paused) error {
	counts, err := d.store.Counts(ctx)
	p.Pending, p.Withdrawals = counts[p.Target].Pending, counts[p.Target].Withdrawals
	return err
}

// resync goes on with a resync for a while, in small commits.
func (d *daemon) resync(ctx context.Context, f store.ResyncFilter) (admin.Resynced, error) {
	var out admin.Resynced
	w := d.world.Load()
	if w == nil {
		return out, errStarting
	}
	if f.Target != "" {
		if err := w.hasTarget(f.Target); err != nil {
			return out, err
		}
	}
	f.Limit = resyncAt
	for end := time.Now().Add(resyncFor); ; {
		done, err := d.store.Resync(ctx, f, time.Now())
		if err != nil {
			return out, err
		}
		out.Changed, out.End = out.Changed+done.N, done.End
		if done.N < f.Limit {
			out.Next = 0
			break
		}
		f.After, out.Next = done.Last, done.Last
		if time.Now().After(end) {
			break
		}
	}
	if f.CitizenID != "" && out.Changed == 0 {
		return out, fmt.Errorf("a delivery of that citizen %w", store.ErrNotFound)
	}
	return out, nil
}
