package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/lookup"
	planning "github.com/consentd/consentd/core/plan"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

const (
	// keepPlan is how long a reload can be held to a plan.
	keepPlan = time.Hour
	// sayEvery spaces what is said of how far a plan has come.
	sayEvery = 200 * time.Millisecond
)

// plans are those that a reload can be held to. They are in memory alone: what a plan was made beside ends with
// the process.
type plans struct {
	making sync.Mutex // held by the one that counts

	mu   sync.Mutex
	kept map[string]planned
}

// planned is what a plan said, as far as a reload is held to it.
type planned struct {
	at            time.Time
	before, after string // hashes of configurations
	extent        store.Extent
	grants        map[string]int64 // by target
}

// makePlan prepares another configuration as a reload does, and says what it would change. The world that it makes for that
// takes no one's place and is taken down again.
func (d *daemon) makePlan(ctx context.Context, r admin.PlanRequest, progress func(done, of int64)) (admin.Plan, error) {
	before := d.world.Load()
	if before == nil {
		return admin.Plan{}, errStarting
	}
	if !d.plans.making.TryLock() {
		return admin.Plan{}, errors.New("another plan is being made: wait until it is, or end that one")
	}
	defer d.plans.making.Unlock()
	w, err := d.next(ctx, before, r.Config)
	if err != nil {
		return admin.Plan{}, err
	}
	defer func() { _ = w.close(context.WithoutCancel(ctx), before) }()
	if r.Target != "" && !before.has(r.Target) && !w.has(r.Target) {
		return admin.Plan{}, fmt.Errorf("there is no target %q, neither in the configuration in force nor in this one", r.Target)
	}
	extent, err := d.store.Extent(ctx)
	if err != nil {
		return admin.Plan{}, err
	}
	said := time.Now()
	targets, err := d.count(ctx, before, w, r.Target, r.Samples, func(n int64) {
		if now := time.Now(); now.Sub(said) >= sayEvery {
			said = now
			progress(n, extent.Citizens)
		}
	})
	if err != nil {
		return admin.Plan{}, err
	}
	if d.world.Load() != before {
		return admin.Plan{}, errors.New("the configuration in force changed while the plan was made: plan again")
	}
	out := admin.Plan{
		InForce: before.config.Hash, Config: w.config.Hash, Citizens: extent.Citizens, Targets: targets, Changes: before.config.Changes(w.config),
	}
	if r.Target == "" {
		out.ID = d.plans.keep(planned{time.Now(), before.config.Hash, w.config.Hash, extent, grants(targets)})
	}
	return out, nil
}

// count compares two worlds over every citizen.
func (d *daemon) count(ctx context.Context, before, after *world, target string, samples int, progress func(int64)) ([]planning.Target, error) {
	changed := map[string]bool{}
	for _, c := range before.config.Changes(after.config) {
		changed[c.Block] = true
	}
	same := map[string]bool{} // lookups
	for _, l := range after.config.Lookups {
		same[l.Name] = !changed[fmt.Sprintf("lookup %q %q", l.Kind, l.Name)]
	}
	return planning.Count(ctx, planning.Options{
		Citizens: d.store.Citizens, HashKey: d.store.HashKey(), Target: target, Samples: samples, Now: time.Now(), Progress: progress,
		Before: planning.Side{Rules: before.plan.rules, Records: before.records(), Known: before.lookups.Known},
		After: planning.Side{Rules: after.plan.rules, Records: after.records(), Known: func(names []string, p lookup.Person) (map[string]cty.Value, bool) {
			found, ok := after.lookups.Known(names, p)
			if !ok && !slices.ContainsFunc(names, func(name string) bool { return !same[name] }) {
				found, ok = before.lookups.Known(names, p)
			}
			return found, ok
		}},
	})
}

// holdTo refuses a world that is not what a plan was made for, or that would grant more than it said. When nothing
// was taken in since, that is known; else everybody is counted again. What changes meanwhile in another way than
// granting is no reason to refuse: withdrawals of the last minutes must not stand in the way of a configuration.
func (d *daemon) holdTo(ctx context.Context, id string, before, w *world) error {
	kept, ok := d.plans.get(id)
	switch {
	case !ok:
		return fmt.Errorf("there is no plan %q: plans are kept for an hour, and not over a restart; make another with `consentd plan`", id)
	case kept.before != before.config.Hash:
		return fmt.Errorf("the configuration in force is another than when plan %s was made: plan again", id)
	case kept.after != w.config.Hash:
		return fmt.Errorf("the configuration that the daemon reads is not the one of plan %s: put that one in its place, or plan again", id)
	}
	extent, err := d.store.Extent(ctx)
	if err != nil || extent == kept.extent {
		return err
	}
	targets, err := d.count(ctx, before, w, "", 0, nil)
	if err != nil {
		return err
	}
	now := grants(targets)
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if now[name] > kept.grants[name] {
			return fmt.Errorf("updates came since plan %s was made, and now target %q would be granted %d records, where the plan said %d: plan again",
				id, name, now[name], kept.grants[name])
		}
	}
	return nil
}

func grants(targets []planning.Target) map[string]int64 {
	all := map[string]int64{}
	for _, t := range targets {
		all[t.Name] = t.Grants()
	}
	return all
}

func (w *world) has(name string) bool {
	return slices.ContainsFunc(w.targets, func(t *target) bool { return t.Name == name })
}

// records are the schemas of the targets' records.
func (w *world) records() map[string]sdk.Schema {
	all := map[string]sdk.Schema{}
	for _, t := range w.targets {
		all[t.Name] = t.process.Description().Record
	}
	return all
}

// keep remembers a plan and names it. The name is the same as long as the configurations and the state are.
func (p *plans) keep(one planned) (id string) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d", one.before, one.after, one.extent.Citizens, one.extent.Newest))
	id = hex.EncodeToString(sum[:6])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(one.at)
	if p.kept == nil {
		p.kept = map[string]planned{}
	}
	p.kept[id] = one
	return id
}

func (p *plans) get(id string) (planned, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(time.Now())
	one, ok := p.kept[id]
	return one, ok
}

// forget drops the plans that are too old. The caller holds the mutex.
func (p *plans) forget(now time.Time) {
	maps.DeleteFunc(p.kept, func(_ string, one planned) bool { return now.Sub(one.at) > keepPlan })
}
