package rules

import (
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/consent"
)

var nullText = cty.NullVal(cty.String)

// text is a string; the empty one stands for absent.
func text(s string) cty.Value {
	if s == "" {
		return nullText
	}
	return cty.StringVal(s)
}

// instant is a time in RFC 3339 and UTC; the zero one stands for absent.
func instant(t time.Time) cty.Value {
	if t.IsZero() {
		return nullText
	}
	return cty.StringVal(t.UTC().Format(time.RFC3339Nano))
}

func texts(choices []consent.Choice, read func(consent.Choice) string) cty.Value {
	if len(choices) == 0 {
		return cty.ListValEmpty(cty.String)
	}
	values := make([]cty.Value, len(choices))
	for i, c := range choices {
		values[i] = text(read(c))
	}
	return cty.ListVal(values)
}

func object[T any](attributes []attribute[T], from T) cty.Value {
	values := make(map[string]cty.Value, len(attributes))
	for _, a := range attributes {
		values[a.name] = a.read(from)
	}
	return cty.ObjectVal(values)
}

func objects[T any](attributes []attribute[T], from []T) cty.Value {
	if len(from) == 0 {
		return cty.ListValEmpty(objectType(attributes))
	}
	values := make([]cty.Value, len(from))
	for i, one := range from {
		values[i] = object(attributes, one)
	}
	return cty.ListVal(values)
}

// permissionOf finds what an option's name stands for. Entries match on type, id and, where the option
// narrows it, justification. One entry that denies wins over all that allow; among equals the newest
// record decides.
func permissionOf(o Option, entries []consent.Permission, now time.Time) subject {
	var s subject
	for _, p := range entries {
		if !o.names(p) {
			continue
		}
		allowed := p.Allowed(now)
		if !s.known || s.allowed && !allowed || s.allowed == allowed && newer(p, s.permission) {
			s.permission, s.allowed = p, allowed
		}
		s.known = true
	}
	return s
}

// newer orders entries by time of record. The justification settles a draw, so that the order in which
// the sender lists them changes nothing.
func newer(a, b consent.Permission) bool {
	if c := a.RecordedAt.Compare(b.RecordedAt); c != 0 {
		return c > 0
	}
	return a.Justification < b.Justification
}

func preferenceOf(p Preference, entries []consent.Preference) subject {
	var s subject
	for _, e := range entries {
		if e.Preference == p.Reference && (!s.known || e.UpdatedAt.After(s.preference.UpdatedAt)) {
			s.preference, s.known = e, true
		}
	}
	return s
}

// variables makes the values of what is needed.
func (n *needs) variables(source string, state consent.State, now time.Time, found Found) map[string]cty.Value {
	vars := make(map[string]cty.Value, 8)
	if len(n.citizen) > 0 {
		vars["citizen"] = object(n.citizen, state)
	}
	if n.permission {
		named := make(map[string]cty.Value, len(n.permissions))
		for _, p := range n.permissions {
			s := permissionOf(p.option, state.Permissions, now)
			named[p.option.Name] = object(p.attributes, &s)
		}
		vars["permission"] = cty.ObjectVal(named)
	}
	if n.preference {
		named := make(map[string]cty.Value, len(n.preferences))
		for _, p := range n.preferences {
			s := preferenceOf(p.preference, state.Preferences)
			named[p.preference.Name] = object(p.attributes, &s)
		}
		vars["preference"] = cty.ObjectVal(named)
	}
	if n.rawPermissions != nil {
		vars["permissions"] = objects(*n.rawPermissions, state.Permissions)
	}
	if n.rawPreferences != nil {
		vars["preferences"] = objects(*n.rawPreferences, state.Preferences)
	}
	if n.lookup {
		named := make(map[string]cty.Value, len(n.lookups))
		for _, name := range n.lookups {
			if v, ok := found[name]; ok {
				named[name] = v
			}
		}
		vars["lookup"] = cty.ObjectVal(named)
	}
	if n.sentAt {
		vars["sent_at"] = instant(state.SentAt)
	}
	if n.source {
		vars["source"] = cty.StringVal(source)
	}
	return vars
}
