package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// erase removes a citizen, and has the targets that are to erase people asked for the same.
func (d *daemon) erase(ctx context.Context, source, citizenID string) (admin.Erased, error) {
	out := admin.Erased{Asked: []string{}, NotAsked: []string{}}
	w := d.world.Load()
	if w == nil {
		return out, errStarting
	}
	if w.source(source) == nil {
		return out, fmt.Errorf("source %q %w; `consentd status` lists them", source, store.ErrNotFound)
	}
	now := time.Now()
	done, err := d.store.Erase(ctx, source, citizenID, now, func(state consent.State) ([]store.ErasureRequest, error) {
		return w.erasures(source, state, now)
	})
	if err != nil {
		return out, err
	}
	out.Known, out.Quarantined = done.Known, done.Quarantined
	out.Asked = append(out.Asked, done.Asked...)
	for _, r := range w.plan.routesOf(source) {
		if !slices.Contains(out.Asked, r.Target) && !slices.Contains(out.NotAsked, r.Target) {
			out.NotAsked = append(out.NotAsked, r.Target)
		}
	}
	d.Log.Info("citizen erased", "source", source, "citizen", fmt.Sprintf("%x", store.Subject(d.store.HashKey(), source, citizenID)), "asked", out.Asked)
	return out, nil
}

// erasures are the records by which each target that erases knows the citizen.
func (w *world) erasures(source string, state consent.State, now time.Time) ([]store.ErasureRequest, error) {
	var all []store.ErasureRequest
	for _, t := range w.targets {
		if !t.Erase {
			continue
		}
		for name, rule := range w.plan.rulesOf(t.Name) {
			if rule.Source != source {
				continue
			}
			records, err := rule.Records(source, state, now)
			if err != nil {
				return nil, fmt.Errorf("nothing was erased, because rule %q cannot tell target %q whom to erase: %w; mend the rule, or set erase = false on the target", name, t.Name, err)
			}
			if len(records) > 0 {
				all = append(all, store.ErasureRequest{Rule: name, Target: t.Name, Records: records})
			}
		}
	}
	return all, nil
}
