package rules

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/consentd/consentd/core/consent"
)

// Grants is whether records grant that the rule rendered of this state: whether they differ from what it renders of the
// same citizen with every permission not allowed. A rule that renders the same whatever is allowed says nothing
// of consent; it would hand everybody to its target, so its records grant too, as do those of which it cannot be told.
//
// It judges a rule by itself. One that turns yes and no around is not seen through; Compare can.
func (r *Rule) Grants(source string, state consent.State, now time.Time, found Found, records []json.RawMessage) bool {
	if len(records) == 0 {
		return false
	}
	if some := slices.ContainsFunc(state.Permissions, func(p consent.Permission) bool { return p.Allowed(now) }); some {
		no, err := r.Evaluate(source, Denied(state, now), now, found)
		if err != nil || !equal(no, records) {
			return true
		}
	}
	yes, err := r.Evaluate(source, r.allowed(state, now), now, found)
	return err == nil && equal(yes, records)
}

// Denied is a state in which nothing is allowed any more, and nothing else is otherwise.
func Denied(state consent.State, now time.Time) consent.State {
	state.Permissions = slices.Clone(state.Permissions)
	for i := range state.Permissions {
		if p := &state.Permissions[i]; p.Allowed(now) {
			p.State = "DENIED"
		}
	}
	return state
}

// allowed is a state in which everything is that is named or that the rule reads.
func (r *Rule) allowed(state consent.State, now time.Time) consent.State {
	state.Permissions = slices.Clone(state.Permissions)
	for _, n := range r.needs.permissions {
		if !slices.ContainsFunc(state.Permissions, n.option.names) {
			state.Permissions = append(state.Permissions, consent.Permission{
				OptionType: n.option.Type, OptionID: n.option.ID, Justification: n.option.Justification,
			})
		}
	}
	for i := range state.Permissions {
		if p := &state.Permissions[i]; !p.Allowed(now) {
			p.State, p.ValidFrom, p.ValidUntil = "GRANTED", time.Time{}, time.Time{}
		}
	}
	return state
}

func equal(a, b []json.RawMessage) bool {
	return slices.EqualFunc(a, b, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
}
