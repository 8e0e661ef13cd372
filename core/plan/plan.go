// Package plan says what a new configuration would change: it renders every citizen of a store through the rules in
// force and through those to come, and counts which way the records go. Nothing is delivered, and nobody is looked up.
//
// It is apart from daemon because it needs no process, no listener and no configuration, and from rules because
// those know one citizen alone.
package plan

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// Counts are of records: what one rule makes of one citizen, be it several with for_each, is one.
type Counts struct {
	Unchanged int64 `json:"unchanged"`
	// Granted and Withdrawn are those that grant from then on, and those that do not any more. Other are those that
	// change otherwise. See rules.Compare.
	Granted   int64 `json:"granted"`
	Withdrawn int64 `json:"withdrawn"`
	Other     int64 `json:"other"`
	// Silenced are those of which the rule has nothing more to say, so that the target keeps what it was given.
	Silenced int64 `json:"silenced"`
	// New are of rules that are new, or feed another target or from another source than before; NewGranted those of them that grant.
	New        int64 `json:"new"`
	NewGranted int64 `json:"new_granted"`
	// Gone are of rules that are gone. The target keeps what it was given.
	Gone int64 `json:"gone"`
	// Errors are those that the new rule cannot make: each would be a dead letter.
	Errors int64 `json:"errors"`
	// NotLookedUp are those that take an answer which is not at hand, so that nothing is known of them.
	NotLookedUp int64 `json:"not_looked_up"`
}

// Grants are all that grant and did not.
func (c Counts) Grants() int64 { return c.Granted + c.NewGranted }

// Add adds another's.
func (c *Counts) Add(o Counts) {
	for i, p := range c.all() {
		*p += *o.all()[i]
	}
}

func (c *Counts) all() []*int64 {
	return []*int64{&c.Unchanged, &c.Granted, &c.Withdrawn, &c.Other, &c.Silenced, &c.New, &c.NewGranted, &c.Gone, &c.Errors, &c.NotLookedUp}
}

// Target is what would change at one target.
type Target struct {
	Name string `json:"name"`
	Counts
	Samples []Sample `json:"samples,omitempty"`
}

// Side is one of two configurations.
type Side struct {
	Rules []*rules.Rule
	// Records are the schemas of records by target.
	Records map[string]sdk.Schema
	// Known are the answers to all of the names, if they are at hand. Nil: none is.
	Known func(names []string, p lookup.Person) (map[string]cty.Value, bool)
}

// Options are what is compared, and how.
type Options struct {
	// Citizens lists them, as a store does.
	Citizens func(ctx context.Context, after int64, limit int) ([]store.Known, error)
	// HashKey hashes who samples are of.
	HashKey       []byte
	Before, After Side
	// Target is the only one to look at; empty: all.
	Target string
	// Samples is how many are kept of each target and direction.
	Samples int
	// Now is the instant as of which everything is rendered.
	Now time.Time
	// Progress, if not nil, is called now and then with how many citizens were read, never twice at once.
	Progress func(citizens int64)
}

// pageSize is how many citizens are read at once. Some pages wait to be rendered, so it bounds the memory.
const pageSize = 500

// Count goes through every citizen there is. It leaves one core to others, if there is more than one.
func Count(ctx context.Context, o Options) ([]Target, error) {
	pairs := o.pairs()
	pages := make(chan []store.Known, 1)
	workers := max(1, runtime.GOMAXPROCS(0)-1)
	tallies := make([]tally, workers)
	var all sync.WaitGroup
	for i := range tallies {
		tallies[i] = tally{o: &o, targets: map[string]*Target{}}
		all.Go(func() {
			for page := range pages {
				for _, k := range page {
					if ctx.Err() != nil {
						break
					}
					tallies[i].count(k, pairs[k.Source])
				}
			}
		})
	}
	err := o.read(ctx, pages)
	all.Wait()
	if err == nil {
		err = ctx.Err() // then a page may not have been rendered whole
	}
	if err != nil {
		return nil, err
	}
	sum := tally{o: &o, targets: map[string]*Target{}}
	for _, of := range pairs {
		for _, p := range of {
			sum.of(p.target) // also where there is nobody
		}
	}
	for _, t := range tallies {
		for name, one := range t.targets {
			into := sum.of(name)
			into.Counts.Add(one.Counts)
			for _, s := range one.Samples {
				into.Samples = keep(into.Samples, s, o.Samples)
			}
		}
	}
	var targets []Target
	for _, name := range slices.Sorted(maps.Keys(sum.targets)) {
		targets = append(targets, *sum.targets[name])
	}
	return targets, nil
}

// read hands out all pages, and closes the channel.
func (o *Options) read(ctx context.Context, pages chan<- []store.Known) error {
	defer close(pages)
	var after, read int64
	for {
		page, err := o.Citizens(ctx, after, pageSize)
		if err != nil {
			return fmt.Errorf("list citizens: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		select {
		case pages <- page:
		case <-ctx.Done():
			return ctx.Err()
		}
		after, read = page[len(page)-1].Number, read+int64(len(page))
		if o.Progress != nil {
			o.Progress(read)
		}
	}
}

// pair is a rule before and after; one of the two may be nil.
type pair struct {
	target        string
	before, after *rules.Rule
}

// pairs are by source.
func (o *Options) pairs() map[string][]pair {
	type key struct{ name, source, target string }
	found := map[key]*pair{}
	var order []key
	at := func(r *rules.Rule) *pair {
		k := key{r.Name, r.Source, r.Target}
		if found[k] == nil {
			found[k] = &pair{target: r.Target}
			order = append(order, k)
		}
		return found[k]
	}
	for _, r := range o.Before.Rules {
		at(r).before = r
	}
	for _, r := range o.After.Rules {
		at(r).after = r
	}
	pairs := map[string][]pair{}
	for _, k := range order {
		if o.Target == "" || o.Target == k.target {
			pairs[k.source] = append(pairs[k.source], *found[k])
		}
	}
	return pairs
}

// tally is what one worker counts.
type tally struct {
	o       *Options
	targets map[string]*Target
}

func (t *tally) of(name string) *Target {
	if t.targets[name] == nil {
		t.targets[name] = &Target{Name: name}
	}
	return t.targets[name]
}

func (t *tally) count(k store.Known, pairs []pair) {
	if len(pairs) == 0 {
		return
	}
	state, err := consent.Decode(k.Body)
	for _, p := range pairs {
		into := t.of(p.target)
		if err != nil {
			into.Errors++
			continue
		}
		t.countOne(into, k, state, p)
	}
}

func (t *tally) countOne(into *Target, k store.Known, state consent.State, p pair) {
	defer func() {
		if recover() != nil { // as when it is delivered
			into.Errors++
		}
	}()
	person := lookup.Person{
		Source: k.Source, ID: k.CitizenID, ExternalRef: string(state.ExternalRef), ApplicationID: string(state.ApplicationID), Version: k.Version,
	}
	before, ok := t.found(t.o.Before, p.before, k.Source, state, person)
	after, also := t.found(t.o.After, p.after, k.Source, state, person)
	if !ok || !also {
		into.NotLookedUp++
		return
	}
	var c rules.Change
	var err error
	var direction string
	switch {
	case p.before == nil:
		if c.After, err = p.after.Evaluate(k.Source, state, t.o.Now, after); err == nil && len(c.After) > 0 {
			into.New++
			direction = "new"
			if p.after.Grants(k.Source, state, t.o.Now, after, c.After) {
				into.NewGranted++
				direction = "new, granted"
			}
		}
	case p.after == nil:
		if c.Before, _ = p.before.Evaluate(k.Source, state, t.o.Now, before); len(c.Before) > 0 {
			into.Gone++
			direction = "gone"
		}
	default:
		if c, err = rules.Compare(p.before, p.after, k.Source, state, t.o.Now, before, after); err == nil {
			direction = into.enter(c.Direction)
		}
	}
	if err != nil {
		into.Errors++
		return
	}
	if direction == "" || !wanted(into.Samples, direction, t.o.Samples) {
		return
	}
	into.Samples = keep(into.Samples, t.o.sample(k, p, direction, c), t.o.Samples)
}

// enter counts a direction and names it, unless nothing has changed.
func (t *Target) enter(d rules.Direction) string {
	switch d {
	case rules.Granted:
		t.Granted++
		return "granted"
	case rules.Withdrawn:
		t.Withdrawn++
		return "withdrawn"
	case rules.Other:
		t.Other++
		return "other"
	case rules.Silenced:
		t.Silenced++
		return "silenced"
	}
	t.Unchanged++
	return ""
}

// found is what a rule looks up of a person; not ok when any of it is not at hand.
func (t *tally) found(side Side, r *rules.Rule, source string, state consent.State, person lookup.Person) (rules.Found, bool) {
	if r == nil {
		return nil, true
	}
	names := r.Lookups(source, state, t.o.Now)
	if len(names) == 0 {
		return nil, true
	}
	if side.Known == nil {
		return nil, false
	}
	return side.Known(names, person)
}
