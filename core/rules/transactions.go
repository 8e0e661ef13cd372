package rules

import (
	"slices"

	"github.com/consentd/consentd/core/consent"
)

// names is whether a permission goes by the option's name.
func (o Option) names(p consent.Permission) bool {
	return p.OptionID == o.ID && p.OptionType == o.Type && (o.Justification == "" || p.Justification == o.Justification)
}

// Transactions are the ids under which the sender recorded the permissions that the rule reads, in the order of
// the state: what a record says comes from them.
func (r *Rule) Transactions(state consent.State) []string {
	var ids []string
	for _, p := range state.Permissions {
		reads := r.needs.rawPermissions != nil || slices.ContainsFunc(r.needs.permissions, func(n neededPermission) bool { return n.option.names(p) })
		if reads && p.TransactionID != "" && !slices.Contains(ids, p.TransactionID) {
			ids = append(ids, p.TransactionID)
		}
	}
	return ids
}
