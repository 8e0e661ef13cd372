package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/dispatch"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/repair"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/supervise"
	"github.com/consentd/consentd/core/webhook"
	"github.com/consentd/consentd/sdk"
)

// world is what one configuration asks for, once it runs. A reload makes another one and lets it take the place
// of the one before.
type world struct {
	config  *config.Config
	plan    *plan
	since   time.Time
	lookups *lookup.Set
	targets []*target
	handler *webhook.Handler
	// apis are by source, and so are repairs, once the world runs.
	apis    map[string]*cpm.Client
	repairs atomic.Pointer[map[string]*repair.Source]
}

// target is one target block at work.
type target struct {
	config.Target
	program supervise.Program
	process *supervise.Target
	rules   []string // names, sorted
	group   *dispatch.Group
}

// build makes the world of a plan, up to where updates flow: all that can be wrong shows here, and then nothing
// of it is left. Targets that the world before has alike keep their process.
func (d *daemon) build(ctx context.Context, p *plan, before *world) (_ *world, diags hcl.Diagnostics, err error) {
	w := &world{config: p.config, plan: p, since: time.Now()}
	defer func() {
		if err != nil || diags.HasErrors() {
			_ = w.close(ctx, before)
		}
	}()
	if err := d.openAPIs(w, before); err != nil {
		return nil, diags, err
	}
	if w.lookups, diags = lookup.Open(p.config.Lookups, d.lookups, d.Log.Named("lookup")); diags.HasErrors() {
		return nil, diags, nil
	}
	for _, t := range p.config.Targets {
		next := &target{Target: t, program: p.programs[t.Type], rules: slices.Sorted(maps.Keys(p.rulesOf(t.Name)))}
		if same := before.alike(next); same != nil {
			next.process = same.process
		} else {
			process, mistakes, err := p.launch(ctx, t)
			diags = append(diags, mistakes...)
			if err != nil {
				return nil, diags, environment(err)
			}
			if process == nil {
				continue
			}
			next.process = process
		}
		w.targets = append(w.targets, next)
	}
	w.handler, err = webhook.New(webhook.Options{
		Listener: p.config.Listener, Sources: p.config.Sources, Store: ingress{d.store, &d.heard, w}, Log: d.Log.Named("webhook"), Metrics: d.webhooks, Trace: d.trace,
	})
	return w, diags, environment(err)
}

// alike is the target whose process serves the next one as well; nil if there is none.
func (w *world) alike(next *target) *target {
	if w == nil {
		return nil
	}
	for _, t := range w.targets {
		if t.Name == next.Name && t.Type == next.Type && string(t.Fields) == string(next.Fields) && reflect.DeepEqual(t.program, next.program) {
			return t
		}
	}
	return nil
}

// enter lets a world take the place of the one before, if there is one. Deliveries pause while what is in flight
// ends; updates are taken in all the time. From here there is no way back, whatever becomes of who asked for it: as long as
// the store cannot commit it is tried again. An error means that the store fails, or the daemon ends.
func (d *daemon) enter(w *world) error {
	ctx, before, do := d.life, d.entered, d.patiently
	if before != nil {
		do = d.insist
		d.reconciling.cut()
		draining, cancel := context.WithTimeout(ctx, drainTimeout)
		before.drain(draining)
		cancel()
	}
	d.entered = w
	err := do("Putting rules in force", func() error { return d.store.Route(ctx, w.routes()) })
	if err != nil {
		return err
	}
	d.front.now.Store(w.handler)
	for _, source := range w.config.Sources {
		if source.Auth.Mode == config.AuthNone {
			d.Log.Warn("source takes updates from anybody; set auth, unless something in front of it does that", "source", source.Name)
		}
	}
	// To make deliveries of new rules can take long. Targets whose rules are the same need not wait.
	for _, t := range w.targets {
		if before != nil && slices.ContainsFunc(before.targets, func(b *target) bool { return b.Name == t.Name && slices.Equal(b.rules, t.rules) }) {
			d.deliver(w, t)
		}
	}
	d.filling.Store(w)
	err = do("Making the deliveries of new rules", func() error { return d.reroute(ctx) })
	d.filling.Store(nil)
	if err != nil {
		return err
	}
	if err := do("Giving up erasures", func() error { return d.dropErasures(ctx, w) }); err != nil {
		return err
	}
	for _, t := range w.targets {
		if t.group == nil {
			d.deliver(w, t)
		}
	}
	d.world.Store(w)
	if before != nil {
		if err := before.close(ctx, w); err != nil {
			d.Log.Warn("a target of the configuration before did not close in order", "error", err)
		}
	}
	d.startRepairs(w)
	return nil
}

// deliver starts a target's deliveries.
func (d *daemon) deliver(w *world, t *target) {
	about := t.process.Description()
	var erase func(context.Context, []sdk.Record) ([]sdk.Outcome, error)
	if t.Erase {
		erase = t.process.Erase
	}
	t.group = d.pauses.start(dispatch.Target{
		Name:           t.Name,
		Plugin:         about.Type + " " + about.Version,
		Deliverer:      t.process,
		Erase:          erase,
		Rules:          w.plan.rulesOf(t.Name),
		Lookups:        w.lookups,
		MaxBatch:       orElse(about.Limits.MaxBatch, 100),
		MaxInFlight:    inFlight(t.MaxInFlight, about.Limits.MaxInFlight),
		Timeout:        t.Timeout,
		RateLimit:      t.RateLimit,
		MaxGrants:      t.MaxGrants,
		Retry:          t.Retry,
		DeadRetryEvery: w.config.DeadLetter.RetryEvery,
		ConfigHash:     w.config.Hash,
		Identity:       identity(t.Target),
		Trace:          d.trace,
	}, func(t dispatch.Target) *dispatch.Group {
		return dispatch.Start(t, d.store, d.deliveries, d.Log.Named("dispatch"))
	})
}

// identity is the same as long as a target's type and config block are.
func identity(t config.Target) []byte {
	sum := sha256.Sum256(append([]byte(t.Type+"\x00"), t.Fields...))
	return sum[:]
}

// inFlight is what the configuration asks for within what the vendor allows.
func inFlight(asked, allowed int) int {
	switch {
	case asked == 0:
		return orElse(allowed, 4)
	case allowed == 0:
		return asked
	}
	return min(asked, allowed)
}

func orElse(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// leave ends the world that came last.
func (d *daemon) leave(ctx context.Context) error {
	d.changing.Lock() // until a reload under way has ended
	defer d.changing.Unlock()
	if d.entered == nil {
		return nil
	}
	d.entered.drain(ctx)
	return d.entered.close(ctx, nil)
}

// drain lets the calls in flight end, of all targets at once.
func (w *world) drain(ctx context.Context) {
	var all sync.WaitGroup
	for _, t := range w.targets {
		if t.group != nil {
			all.Go(func() { t.group.Drain(ctx) })
		}
	}
	all.Wait()
}

// close ends the lookups, and the plugins that the other world does not use, all at once.
func (w *world) close(ctx context.Context, other *world) error {
	w.closeAPIs(other)
	errs := make([]error, len(w.targets))
	var all sync.WaitGroup
	for i, t := range w.targets {
		if other != nil && slices.ContainsFunc(other.targets, func(o *target) bool { return o.process == t.process }) {
			continue
		}
		all.Go(func() { errs[i] = t.process.Close(ctx) })
	}
	all.Wait()
	w.lookups.Close()
	return errors.Join(errs...)
}

// source is nil if there is none of that name.
func (w *world) source(name string) *config.Source {
	for i := range w.config.Sources {
		if w.config.Sources[i].Name == name {
			return &w.config.Sources[i]
		}
	}
	return nil
}

// routes are those of each source.
func (w *world) routes() map[string][]store.Route {
	routes := map[string][]store.Route{}
	for _, s := range w.config.Sources {
		routes[s.Name] = w.plan.routesOf(s.Name)
	}
	return routes
}

// replay takes a quarantined body through the front door again, as if it came now.
func (d *daemon) replay(ctx context.Context, q store.Quarantined) (string, error) {
	w := d.world.Load()
	if w == nil {
		return "", errStarting
	}
	src := w.source(q.Source)
	if src == nil {
		return "", fmt.Errorf("there is no source %q any more", q.Source)
	}
	state, err := webhook.Decode(*src, q.Body)
	if err != nil {
		return "", err
	}
	verdict, err := d.store.Accept(ctx, consent.Update{
		Source: src.Name, Type: src.UpdateType, Received: time.Now(), State: state, Body: q.Body,
		ApplyRegressions: src.ApplyRegressions,
	})
	return verdict.String(), err
}

// release lets the held grants of a citizen through.
func (d *daemon) release(ctx context.Context, source, citizenID string) error {
	if d.world.Load() == nil {
		return errStarting
	}
	return d.store.ReleaseHeld(ctx, source, citizenID, time.Now())
}
