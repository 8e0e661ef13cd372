package salesforce

import (
	"context"
	"maps"
	"strings"

	"github.com/consentd/consentd/sdk"
)

// takings is the part of the record that takes consent away, by Salesforce's own words: what must reach
// the org whatever else is wrong with the record. It is empty where there is nothing else.
func (r record) takings() (part record, some bool) {
	part = r
	part.Fields = maps.Clone(r.Fields)
	maps.DeleteFunc(part.Fields, func(name string, value any) bool {
		name = strings.ToLower(name)
		return !(optOutFields[name] && value == true || name == "privacyconsentstatus" && value == "OptOut")
	})
	return part, len(part.Fields) > 0 && len(part.Fields) < len(r.Fields)
}

// stuck is whether an outcome is about something in the record that may stay wrong.
func stuck(o sdk.Outcome) bool {
	return o.Kind == sdk.KindRejected || o.Kind == sdk.KindRetry && o.Code == codeInvalidField
}

// takeAway delivers the takings of those rows that are stuck and that Salesforce holds. Their outcomes
// stay, so that the fault is seen, except where the rest is better tried again.
func (t *target) takeAway(ctx context.Context, rows []record, outcomes []sdk.Outcome) {
	var parts []record
	var of []int
	for i, r := range rows {
		if part, some := r.takings(); some && stuck(outcomes[i]) {
			parts, of = append(parts, part), append(of, i)
		}
	}
	if len(parts) == 0 {
		return
	}
	held, err := t.held(ctx, parts)
	var there []record
	var at []int
	for n, part := range parts {
		if held[part.key()] {
			there, at = append(there, part), append(at, of[n])
		}
	}
	var each []sdk.Outcome
	if err == nil && len(there) > 0 {
		each, err = t.upsert(ctx, there)
	}
	again := func(i int, o sdk.Outcome) {
		if !o.Kind.Done() && o.Kind != sdk.KindRejected {
			outcomes[i] = o
		}
	}
	if err != nil {
		for _, i := range of {
			again(i, sdk.FromError(err))
		}
		return
	}
	for n, i := range at {
		again(i, each[n])
	}
}
