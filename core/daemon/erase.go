package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
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
	// What rules look up has to be fetched first: the store asks for the records in the middle of a commit.
	found, err := d.lookUp(ctx, w, source, citizenID)
	if err != nil {
		return out, err
	}
	done, err := d.store.Erase(ctx, source, citizenID, now, func(state consent.State) ([]store.ErasureRequest, error) {
		if found.asked && found.person != personOf(source, state) {
			return nil, errors.New("nothing was erased, because an update changed the citizen's ids meanwhile; do it again")
		}
		return w.erasures(source, state, now, found)
	})
	if err != nil {
		return out, err
	}
	w.lookups.Forget(source, citizenID)
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

// lookedUp is what the rules of targets that erase look up of a person.
type lookedUp struct {
	asked  bool // whether any rule looks anything up
	person lookup.Person
	values rules.Found
	// unknown are the rules that miss an answer; none of their targets was ever given the person by them.
	unknown map[string]bool
}

func personOf(source string, state consent.State) lookup.Person {
	return lookup.Person{Source: source, ID: string(state.CitizenID), ExternalRef: string(state.ExternalRef), ApplicationID: string(state.ApplicationID), Urgent: true}
}

// lookUp fetches what it takes to tell the targets whom to erase.
func (d *daemon) lookUp(ctx context.Context, w *world, source, citizenID string) (lookedUp, error) {
	out := lookedUp{values: rules.Found{}, unknown: map[string]bool{}}
	for _, r := range w.erasing(source) {
		out.asked = out.asked || len(r.Reads()) > 0
	}
	if !out.asked {
		return out, nil
	}
	c, err := d.store.Citizen(ctx, source, citizenID)
	if errors.Is(err, store.ErrNotFound) {
		return out, nil // and the store asks for no records
	}
	if err != nil {
		return out, err
	}
	state, err := consent.Decode(c.Body)
	if err != nil {
		return out, fmt.Errorf("read stored state: %w", err)
	}
	out.person = personOf(source, state)
	deliveries, err := d.store.Deliveries(ctx, source, citizenID)
	if err != nil {
		return out, err
	}
	given := map[string]bool{}
	for _, delivery := range deliveries {
		given[delivery.Rule] = delivery.Given
	}
	for _, r := range w.erasing(source) {
		values, err := w.lookups.Fetch(ctx, r.Reads(), out.person)
		missing := (*lookup.Missing)(nil)
		switch {
		case err == nil:
			maps.Copy(out.values, values)
		case errors.As(err, &missing) && !given[r.Name]:
			out.unknown[r.Name] = true
		case errors.As(err, &missing):
			return out, fmt.Errorf("nothing was erased, because target %q was given the person by rule %q, which cannot tell any more whom to erase: %w; "+
				"mend what the lookup asks, or set erase = false on the target and erase them there yourself", r.Target, r.Name, err)
		default:
			return out, fmt.Errorf("nothing was erased, because rule %q cannot tell target %q now whom to erase: %w; try again when the lookup answers", r.Name, r.Target, err)
		}
	}
	return out, nil
}

// erasing are the rules of a source that feed targets that erase.
func (w *world) erasing(source string) []*rules.Rule {
	var all []*rules.Rule
	for _, t := range w.targets {
		if !t.Erase {
			continue
		}
		for _, r := range w.plan.rulesOf(t.Name) {
			if r.Source == source {
				all = append(all, r)
			}
		}
	}
	return all
}

// erasures are the records by which each target that erases knows the citizen.
func (w *world) erasures(source string, state consent.State, now time.Time, found lookedUp) ([]store.ErasureRequest, error) {
	var all []store.ErasureRequest
	for _, rule := range w.erasing(source) {
		if found.unknown[rule.Name] {
			continue
		}
		records, err := rule.Records(source, state, now, found.values)
		if err != nil {
			return nil, fmt.Errorf("nothing was erased, because rule %q cannot tell target %q whom to erase: %w; mend the rule, or set erase = false on the target", rule.Name, rule.Target, err)
		}
		if len(records) > 0 {
			all = append(all, store.ErasureRequest{Rule: rule.Name, Target: rule.Target, Records: records})
		}
	}
	return all, nil
}
