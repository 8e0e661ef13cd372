package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/webhook"
)

// Explain says what each rule of a source makes of a state. Rules that would ask a lookup are not rendered when
// lookups is nil. The error is that of ctx.
func Explain(ctx context.Context, all []*rules.Rule, lookups *lookup.Set, source string, state consent.State, now time.Time) ([]admin.Explained, error) {
	explained := []admin.Explained{}
	for _, r := range all {
		if r.Source != source {
			continue
		}
		e := admin.Explained{Rule: r.Name, Target: r.Target, Records: []json.RawMessage{}}
		found, err := ask(ctx, &e, lookups, r, source, state, now)
		if err != nil {
			return nil, err
		}
		if len(e.Lookups) == 0 && e.Waits == "" {
			records, err := r.Evaluate(source, state, now, found)
			if err != nil {
				e.Error = err.Error()
			}
			e.Records = append(e.Records, records...)
		}
		explained = append(explained, e)
	}
	return explained, nil
}

// ask asks what the rule needs, or notes that it was not asked.
func ask(ctx context.Context, e *admin.Explained, lookups *lookup.Set, r *rules.Rule, source string, state consent.State, now time.Time) (rules.Found, error) {
	names := r.Lookups(source, state, now)
	if len(names) == 0 {
		return nil, nil
	}
	if lookups == nil {
		e.Lookups = names
		return nil, nil
	}
	found, err := lookups.Fetch(ctx, names, personOf(source, state))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		e.Waits = err.Error()
	}
	return found, nil
}

// explain says what would become of a body that came now, and changes nothing.
func (d *daemon) explain(ctx context.Context, source string, body []byte, lookUp bool) (admin.Explanation, error) {
	var out admin.Explanation
	w := d.world.Load()
	if w == nil {
		return out, errStarting
	}
	src := w.source(source)
	if src == nil {
		return out, fmt.Errorf("source %q %w; `consentd status` lists them", source, store.ErrNotFound)
	}
	state, err := webhook.Decode(*src, body)
	if err != nil {
		out.Quarantined, out.Rules = err.Error(), []admin.Explained{}
		return out, nil
	}
	now := time.Now()
	applied, err := d.try(ctx, src, state, body, now)
	if err != nil {
		return out, err
	}
	out.Verdict, out.Withdrawal = applied.Verdict.String(), applied.Withdrawal
	if applied.Verdict == consent.Accepted {
		// The newest state is rendered, which may be more than the update says.
		if state, err = consent.Decode(applied.Citizen.Body); err != nil {
			return out, err
		}
		out.Held = applied.Citizen.Held != nil
	}
	lookups := w.lookups
	if !lookUp {
		lookups = nil
	}
	out.Rules, err = Explain(ctx, w.plan.rules, lookups, source, state, now)
	return out, err
}

// try is what Accept would do to the citizen.
func (d *daemon) try(ctx context.Context, src *config.Source, state consent.State, body []byte, now time.Time) (consent.Applied, error) {
	u := consent.Update{Source: src.Name, Type: src.UpdateType, Received: now, State: state, Body: body, ApplyRegressions: src.ApplyRegressions}
	known, err := d.store.Citizen(ctx, src.Name, string(state.CitizenID))
	if errors.Is(err, store.ErrNotFound) {
		return consent.Apply(nil, u)
	}
	if err != nil {
		return consent.Applied{}, err
	}
	return consent.Apply(&known, u)
}
