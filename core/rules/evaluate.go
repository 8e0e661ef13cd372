package rules

import (
	"encoding/json"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/rules/eval"
)

// Evaluate renders the records for one citizen as of now: none when the rule has nothing to say, several
// with for_each. Each is one JSON object in the plugin's schema, with its keys sorted, so that equal
// records are equal bytes. The error names the place in the rule and holds no value. found has what Lookups
// asks for.
func (r *Rule) Evaluate(source string, state consent.State, now time.Time, found Found) ([]json.RawMessage, error) {
	if r.when != nil {
		said, err := r.wants(source, state, now, found)
		if err != nil || !said {
			return nil, err
		}
	}
	return r.Records(source, state, now, found)
}

// Reads are the lookups that the rule reads at all, which is what Records needs.
func (r *Rule) Reads() []string { return r.needs.lookups }

// Lookups are those that Evaluate needs for one citizen: none when the rule has nothing to say of them whatever
// a lookup answers.
func (r *Rule) Lookups(source string, state consent.State, now time.Time) []string {
	if len(r.needs.lookups) == 0 || r.when == nil || len(r.gate.lookups) > 0 {
		return r.needs.lookups
	}
	if said, err := r.wants(source, state, now, nil); err != nil || !said {
		return nil
	}
	return r.needs.lookups
}

// Records renders as Evaluate does, whatever the rule's when says: so they tell how the target knows the
// citizen.
func (r *Rule) Records(source string, state consent.State, now time.Time, found Found) ([]json.RawMessage, error) {
	ctx := &hcl.EvalContext{Variables: r.needs.variables(source, state, now, found), Functions: functions}
	if r.forEach == nil {
		one, err := r.record.Append(nil, ctx, nil)
		if err != nil {
			return nil, err
		}
		return []json.RawMessage{one}, nil
	}
	elements, diags := r.forEach.Value(ctx)
	if diags.HasErrors() {
		return nil, eval.Failed("for_each", r.forEach, diags)
	}
	if elements.IsNull() || !elements.CanIterateElements() {
		return nil, &eval.Error{At: r.forEach.Range(), Where: "for_each", What: "value that cannot be gone through"}
	}
	var records []json.RawMessage
	for it := elements.ElementIterator(); it.Next(); {
		key, value := it.Element()
		ctx.Variables["each"] = cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})
		one, err := r.record.Append(nil, ctx, nil)
		if err != nil {
			return nil, err
		}
		records = append(records, one)
	}
	return records, nil
}

// wants is the rule's when.
func (r *Rule) wants(source string, state consent.State, now time.Time, found Found) (bool, error) {
	ctx := &hcl.EvalContext{Variables: r.gate.variables(source, state, now, found), Functions: functions}
	v, diags := r.when.Value(ctx)
	if diags.HasErrors() {
		return false, eval.Failed("when", r.when, diags)
	}
	if v.Type() != cty.Bool || v.IsNull() || !v.IsKnown() {
		return false, &eval.Error{At: r.when.Range(), Where: "when", What: "neither true nor false"}
	}
	return v.True(), nil
}
