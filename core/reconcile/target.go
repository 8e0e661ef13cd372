package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// wanted is one record that a target should hold.
type wanted struct {
	source, citizenID, rule string
	record                  sdk.Record
	fields                  map[string]any
	// denied and granted are the record if everything were denied, or allowed; nil when that cannot be told.
	denied, granted map[string]any
}

// reading is a target that is being read.
type reading struct {
	Target
	limiter *rate.Limiter
	waiting []wanted
}

// compareTargets renders what each target should hold of every citizen, and asks what it does.
func (r *Run) compareTargets(ctx context.Context) error {
	var all []*reading
	for _, t := range r.Targets {
		r.target(t.Name, func(d *admin.TargetDrift) { d.Readable = t.Read != nil })
		if t.Read == nil {
			continue
		}
		one := &reading{Target: t}
		if t.RateLimit > 0 {
			one.limiter = rate.NewLimiter(rate.Limit(t.RateLimit/2), max(1, t.MaxBatch))
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil
	}
	for after := int64(0); ; {
		page, err := r.Store.Citizens(ctx, after, pageOf)
		if err != nil {
			return err
		}
		for _, k := range page {
			after = k.Number
			if err := r.citizen(ctx, k, all); err != nil {
				return err
			}
		}
		if len(page) < pageOf {
			break
		}
	}
	for _, t := range all {
		if err := r.read(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// citizen adds what the targets should hold of one citizen. What is not settled is on its way anyway.
func (r *Run) citizen(ctx context.Context, k store.Known, all []*reading) error {
	state, err := consent.Decode(k.Body)
	if err != nil {
		return nil // verify finds those
	}
	deliveries, err := r.Store.Deliveries(ctx, k.Source, k.CitizenID)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, t := range all {
		for _, rule := range t.Rules {
			if rule.Source != k.Source {
				continue
			}
			i := slices.IndexFunc(deliveries, func(d store.Delivery) bool { return d.Rule == rule.Name })
			if i < 0 || deliveries[i].Status != store.Settled {
				r.target(t.Name, func(d *admin.TargetDrift) { d.Waiting++ })
				continue
			}
			found, err := r.Lookups.Fetch(ctx, rule.Lookups(k.Source, state, now), person(k, state))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var records []wanted
			if err == nil {
				records, err = want(rule, k, state, now, found)
			}
			if err != nil {
				r.target(t.Name, func(d *admin.TargetDrift) { d.Unreadable++ })
				continue
			}
			t.waiting = append(t.waiting, records...)
			if len(t.waiting) >= max(1, t.MaxBatch) {
				if err := r.read(ctx, t); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func person(k store.Known, state consent.State) lookup.Person {
	return lookup.Person{Source: k.Source, ID: k.CitizenID, ExternalRef: string(state.ExternalRef), ApplicationID: string(state.ApplicationID), Version: k.Version}
}

// want is what a rule makes of a citizen, as it is and as it would be.
func want(rule *rules.Rule, k store.Known, state consent.State, now time.Time, found rules.Found) ([]wanted, error) {
	records, err := rule.Evaluate(k.Source, state, now, found)
	if err != nil {
		return nil, err
	}
	// An error here only means that it cannot be told which way a difference goes.
	denied, _ := rule.Records(k.Source, all(state, "DENIED"), now, found)
	granted, _ := rule.Records(k.Source, all(state, "GRANTED"), now, found)
	var out []wanted
	for i, record := range records {
		w := wanted{source: k.Source, citizenID: k.CitizenID, rule: rule.Name, fields: object(record),
			record: sdk.Record{ID: fmt.Sprintf("%d-%s-%d", k.Number, rule.Name, i), Fields: record}}
		if len(denied) == len(records) && len(granted) == len(records) {
			w.denied, w.granted = object(denied[i]), object(granted[i])
		}
		out = append(out, w)
	}
	return out, nil
}

// all is a state in which every permission is in one state, for ever.
func all(s consent.State, is string) consent.State {
	s.Permissions = slices.Clone(s.Permissions)
	for i := range s.Permissions {
		p := &s.Permissions[i]
		p.State, p.ValidFrom, p.ValidUntil = is, time.Time{}, time.Time{}
	}
	return s
}

func object(record json.RawMessage) map[string]any {
	d := json.NewDecoder(bytes.NewReader(record))
	d.UseNumber()
	var fields map[string]any
	if d.Decode(&fields) != nil {
		return nil
	}
	return fields
}

// tries is how often a batch is read that the vendor asks to come again with.
const tries = 4

// read asks the target about what waits, and mends what differs.
func (r *Run) read(ctx context.Context, t *reading) error {
	waiting := t.waiting
	t.waiting = nil
	for try := 1; len(waiting) > 0; try++ {
		records := make([]sdk.Record, len(waiting))
		for i, w := range waiting {
			records[i] = w.record
		}
		if t.limiter != nil {
			if err := t.limiter.WaitN(ctx, min(len(records), t.limiter.Burst())); err != nil {
				return err
			}
		}
		within, cancel := context.WithTimeout(ctx, t.Timeout)
		readings, err := t.Read(within, records)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.target(t.Name, func(d *admin.TargetDrift) { d.Unreadable += len(waiting); d.Error = err.Error() })
			return nil
		}
		var again []wanted
		pause := time.Second
		for i, got := range readings {
			w := waiting[i]
			if k := got.Outcome.Kind; (k == sdk.KindThrottled || k == sdk.KindRetry) && try < tries {
				again, pause = append(again, w), max(pause, min(got.Outcome.RetryAfter, time.Minute))
				continue
			}
			if err := r.judge(ctx, t.Name, w, got); err != nil {
				return err
			}
		}
		if waiting = again; len(waiting) == 0 {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// judge compares one record with what the target holds.
func (r *Run) judge(ctx context.Context, target string, w wanted, got sdk.Reading) error {
	if got.Outcome.Kind != sdk.KindDelivered {
		r.target(target, func(d *admin.TargetDrift) { d.Unreadable++; d.Error = got.Outcome.Message })
		return nil
	}
	drift := admin.Drift{Citizen: r.masked(w.source, w.citizenID), Rule: w.rule}
	if got.Found {
		drift.Fields = differences(w.fields, got.Fields)
		drift.Withdrawal = slices.ContainsFunc(drift.Fields, func(field string) bool { return w.withdraws(field, got.Fields[field]) })
	} else {
		// Whom a target does not know needs no denial there.
		drift.Missing = w.denied == nil || len(differences(w.fields, w.denied)) > 0
	}
	if !drift.Missing && len(drift.Fields) == 0 {
		r.target(target, func(d *admin.TargetDrift) { d.Records++ })
		return nil
	}
	if r.mends(drift.Withdrawal) {
		n, err := r.Store.Resend(ctx, target, w.source, w.citizenID, drift.Withdrawal, time.Now())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		drift.Repaired = n > 0
	}
	r.target(target, func(d *admin.TargetDrift) {
		d.Records++
		if drift.Missing {
			d.Missing++
		} else {
			d.Differ++
		}
		if drift.Withdrawal {
			d.Withdrawals++
		}
		if drift.Repaired {
			d.Repaired++
		}
		sample(&d.Samples, drift)
	})
	return nil
}

// withdraws is whether a field that differs says that less is allowed than the target holds: what it should say
// depends on the permissions, and it should say what it says when all is denied. Of a map it is asked of each member.
func (w wanted) withdraws(field string, got any) bool {
	if w.denied == nil {
		return true // it cannot be told, so it is taken for the worse
	}
	for _, p := range parts(w.fields[field], w.denied[field], w.granted[field], got) {
		if !same(p.want, p.got) && !same(p.denied, p.granted) && same(p.want, p.denied) {
			return true
		}
	}
	return false
}

type part struct{ want, denied, granted, got any }

// parts are a field, or, if it is a map, its members.
func parts(want, denied, granted, got any) []part {
	members, isMap := want.(map[string]any)
	if !isMap {
		return []part{{want, denied, granted, got}}
	}
	d, _ := denied.(map[string]any)
	g, _ := granted.(map[string]any)
	is, _ := got.(map[string]any)
	var all []part
	for name := range members {
		all = append(all, part{members[name], d[name], g[name], is[name]})
	}
	return all
}

// differences are the fields that a target tells of and that are not as they should be, sorted.
func differences(want, got map[string]any) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if is, told := got[name]; told && !same(want[name], is) {
			names = append(names, name)
		}
	}
	return names
}
