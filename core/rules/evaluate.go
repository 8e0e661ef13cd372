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
// records are equal bytes. The error names the place in the rule and holds no value.
func (r *Rule) Evaluate(source string, state consent.State, now time.Time) ([]json.RawMessage, error) {
	if r.when != nil {
		said, err := r.wants(source, state, now)
		if err != nil || !said {
			return nil, err
		}
	}
	return r.Records(source, state, now)
}

// Records renders as Evaluate does, whatever the rule's when says: so they tell how the target knows the
// citizen.
func (r *Rule) Records(source string, state consent.State, now time.Time) ([]json.RawMessage, error) {
	ctx := &hcl.EvalContext{Variables: r.needs.variables(source, state, now), Functions: functions}
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
func (r *Rule) wants(source string, state consent.State, now time.Time) (bool, error) {
	ctx := &hcl.EvalContext{Variables: r.gate.variables(source, state, now), Functions: functions}
	v, diags := r.when.Value(ctx)
	if diags.HasErrors() {
		return false, eval.Failed("when", r.when, diags)
	}
	if v.Type() != cty.Bool || v.IsNull() || !v.IsKnown() {
		return false, &eval.Error{At: r.when.Range(), Where: "when", What: "neither true nor false"}
	}
	return v.True(), nil
}
