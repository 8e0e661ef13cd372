package rules

import (
	"time"

	"github.com/consentd/consentd/core/consent"
)

// Standing is how a permission that a rule knows by name stands in a state.
type Standing struct {
	Name           string
	Known, Allowed bool
}

// Permissions are how those permissions stand that the rule reads by their names, as of now.
func (r *Rule) Permissions(state consent.State, now time.Time) []Standing {
	all := make([]Standing, len(r.needs.permissions))
	for i, n := range r.needs.permissions {
		s := permissionOf(n.option, state.Permissions, now)
		all[i] = Standing{n.option.Name, s.known, s.allowed}
	}
	return all
}

// Options are the names of the permissions that the rule reads by name.
func (r *Rule) Options() []string {
	all := make([]string, len(r.needs.permissions))
	for i, n := range r.needs.permissions {
		all[i] = n.option.Name
	}
	return all
}

// Preferences are the names of the preferences that the rule reads by name.
func (r *Rule) Preferences() []string {
	all := make([]string, len(r.needs.preferences))
	for i, n := range r.needs.preferences {
		all[i] = n.preference.Name
	}
	return all
}
