package rules

import (
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/consent"
)

// attribute is one name of an object in the scope: its type, and how it is read from a T.
type attribute[T any] struct {
	name string
	typ  cty.Type
	read func(T) cty.Value
}

// subject is a permission or preference that a name stands for, as of an instant.
type subject struct {
	known   bool
	allowed bool
	// permission and preference are the deciding entry; zero when there is none.
	permission consent.Permission
	preference consent.Preference
}

var citizenAttributes = []attribute[consent.State]{
	{"id", cty.String, func(s consent.State) cty.Value { return text(string(s.CitizenID)) }},
	{"external_ref", cty.String, func(s consent.State) cty.Value { return text(string(s.ExternalRef)) }},
	{"application_id", cty.String, func(s consent.State) cty.Value { return text(string(s.ApplicationID)) }},
}

var permissionAttributes = []attribute[*subject]{
	{"known", cty.Bool, func(s *subject) cty.Value { return cty.BoolVal(s.known) }},
	{"allowed", cty.Bool, func(s *subject) cty.Value { return cty.BoolVal(s.allowed) }},
	{"state", cty.String, func(s *subject) cty.Value { return text(s.permission.State) }},
	{"justification", cty.String, func(s *subject) cty.Value { return text(s.permission.Justification) }},
	{"channel", cty.String, func(s *subject) cty.Value { return text(s.permission.Channel) }},
	{"campaign", cty.String, func(s *subject) cty.Value { return text(s.permission.Campaign) }},
	{"transaction_id", cty.String, func(s *subject) cty.Value { return text(s.permission.TransactionID) }},
	{"recorded_at", cty.String, func(s *subject) cty.Value { return instant(s.permission.RecordedAt) }},
	{"obtained_at", cty.String, func(s *subject) cty.Value { return instant(s.permission.ObtainedAt) }},
	{"valid_from", cty.String, func(s *subject) cty.Value { return instant(s.permission.ValidFrom) }},
	{"valid_until", cty.String, func(s *subject) cty.Value { return instant(s.permission.ValidUntil) }},
	{"statement_ref", cty.String, func(s *subject) cty.Value { return text(s.permission.PermissionStatementRef) }},
	{"policy_ref", cty.String, func(s *subject) cty.Value { return text(s.permission.PrivacyPolicyRef) }},
}

var preferenceAttributes = []attribute[*subject]{
	{"known", cty.Bool, func(s *subject) cty.Value { return cty.BoolVal(s.known) }},
	{"choices", cty.List(cty.String), func(s *subject) cty.Value {
		return texts(s.preference.Choices, func(c consent.Choice) string { return c.Reference })
	}},
	{"labels", cty.List(cty.String), func(s *subject) cty.Value {
		return texts(s.preference.Choices, func(c consent.Choice) string { return c.Label })
	}},
	{"updated_at", cty.String, func(s *subject) cty.Value { return instant(s.preference.UpdatedAt) }},
}

var rawPermissionAttributes = []attribute[consent.Permission]{
	{"transaction_id", cty.String, func(p consent.Permission) cty.Value { return text(p.TransactionID) }},
	{"option_type", cty.String, func(p consent.Permission) cty.Value { return text(p.OptionType) }},
	{"option_id", cty.String, func(p consent.Permission) cty.Value { return text(p.OptionID) }},
	{"justification", cty.String, func(p consent.Permission) cty.Value { return text(p.Justification) }},
	{"state", cty.String, func(p consent.Permission) cty.Value { return text(p.State) }},
	{"channel", cty.String, func(p consent.Permission) cty.Value { return text(p.Channel) }},
	{"campaign", cty.String, func(p consent.Permission) cty.Value { return text(p.Campaign) }},
	{"privacy_policy_id", cty.String, func(p consent.Permission) cty.Value { return text(p.PrivacyPolicyID) }},
	{"privacy_policy_ref", cty.String, func(p consent.Permission) cty.Value { return text(p.PrivacyPolicyRef) }},
	{"permission_statement_id", cty.String, func(p consent.Permission) cty.Value { return text(p.PermissionStatementID) }},
	{"permission_statement_ref", cty.String, func(p consent.Permission) cty.Value { return text(p.PermissionStatementRef) }},
	{"recorded_by", cty.String, func(p consent.Permission) cty.Value { return text(p.RecordedBy) }},
	{"recorded_by_name", cty.String, func(p consent.Permission) cty.Value { return text(p.RecordedByName) }},
	{"recorded_client", cty.String, func(p consent.Permission) cty.Value { return text(p.RecordedClient) }},
	{"recorded_client_name", cty.String, func(p consent.Permission) cty.Value { return text(p.RecordedClientName) }},
	{"delegated_authority_id", cty.String, func(p consent.Permission) cty.Value { return text(p.DelegatedAuthorityID) }},
	{"delegated_authority_name", cty.String, func(p consent.Permission) cty.Value { return text(p.DelegatedAuthorityName) }},
	{"recorded_at", cty.String, func(p consent.Permission) cty.Value { return instant(p.RecordedAt) }},
	{"obtained_at", cty.String, func(p consent.Permission) cty.Value { return instant(p.ObtainedAt) }},
	{"valid_from", cty.String, func(p consent.Permission) cty.Value { return instant(p.ValidFrom) }},
	{"valid_until", cty.String, func(p consent.Permission) cty.Value { return instant(p.ValidUntil) }},
}

var rawChoiceAttributes = []attribute[consent.Choice]{
	{"reference", cty.String, func(c consent.Choice) cty.Value { return text(c.Reference) }},
	{"label", cty.String, func(c consent.Choice) cty.Value { return text(c.Label) }},
}

var rawPreferenceAttributes = []attribute[consent.Preference]{
	{"preference", cty.String, func(p consent.Preference) cty.Value { return text(p.Preference) }},
	{"choices", cty.List(objectType(rawChoiceAttributes)), func(p consent.Preference) cty.Value {
		return objects(rawChoiceAttributes, p.Choices)
	}},
	{"label", cty.String, func(p consent.Preference) cty.Value { return text(p.Label) }},
	{"submission_id", cty.String, func(p consent.Preference) cty.Value { return text(p.SubmissionID) }},
	{"updated_at", cty.String, func(p consent.Preference) cty.Value { return instant(p.UpdatedAt) }},
}

func objectType[T any](attributes []attribute[T]) cty.Type {
	types := make(map[string]cty.Type, len(attributes))
	for _, a := range attributes {
		types[a.name] = a.typ
	}
	return cty.Object(types)
}

// scopeTypes are the types of all that a rule can see, but for each.
func scopeTypes(names Names) map[string]cty.Type {
	permissions, preferences, lookups := map[string]cty.Type{}, map[string]cty.Type{}, map[string]cty.Type{}
	for _, o := range names.Options {
		permissions[o.Name] = objectType(permissionAttributes)
	}
	for _, p := range names.Preferences {
		preferences[p.Name] = objectType(preferenceAttributes)
	}
	for _, l := range names.Lookups {
		lookups[l.Name] = cty.Object(l.Fields)
	}
	return map[string]cty.Type{
		"lookup":      cty.Object(lookups),
		"citizen":     objectType(citizenAttributes),
		"permission":  cty.Object(permissions),
		"preference":  cty.Object(preferences),
		"permissions": cty.List(objectType(rawPermissionAttributes)),
		"preferences": cty.List(objectType(rawPreferenceAttributes)),
		"sent_at":     cty.String,
		"source":      cty.String,
	}
}
