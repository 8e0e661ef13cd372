package rules

import (
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/consent"
)

// needs is the part of the scope that expressions read. Making values is a good part of the cost of a
// rule, so what is not read is not made.
type needs struct {
	citizen     []attribute[consent.State]
	permissions []neededPermission
	preferences []neededPreference
	// Whether permission and preference are read at all, if only to see that no name is there.
	permission, preference bool
	// The raw lists; nil when they are not read.
	rawPermissions *[]attribute[consent.Permission]
	rawPreferences *[]attribute[consent.Preference]
	sentAt, source bool
	// lookups are read by name; lookup is whether any is, if only to see that no name is there.
	lookups []string
	lookup  bool
}

type neededPermission struct {
	option     Option
	attributes []attribute[*subject]
}

type neededPreference struct {
	preference Preference
	attributes []attribute[*subject]
}

// needsOf reads the traversals of expressions, which Compile has checked. A traversal that stops early
// needs everything below it.
func needsOf(names Names, expressions ...hcl.Expression) needs {
	var n needs
	citizen, permission, preference := reads{}, map[string]reads{}, map[string]reads{}
	rawPermissions, rawPreferences := reads{}, reads{}
	for _, expr := range expressions {
		for _, t := range expr.Variables() {
			switch t.RootName() {
			case "citizen":
				citizen.add(step(t, 1))
			case "permission":
				n.permission = true
				for _, o := range names.Options {
					if name := step(t, 1); name == "" || name == o.Name {
						permission[o.Name] = permission[o.Name].with(step(t, 2))
					}
				}
			case "preference":
				n.preference = true
				for _, p := range names.Preferences {
					if name := step(t, 1); name == "" || name == p.Name {
						preference[p.Name] = preference[p.Name].with(step(t, 2))
					}
				}
			case "lookup":
				n.lookup = true
				for _, l := range names.Lookups {
					if name := step(t, 1); (name == "" || name == l.Name) && !slices.Contains(n.lookups, l.Name) {
						n.lookups = append(n.lookups, l.Name)
					}
				}
			case "sent_at":
				n.sentAt = true
			case "source":
				n.source = true
			}
		}
		if elementReads(expr, "permissions", rawPermissions) {
			chosen := choose(rawPermissionAttributes, rawPermissions)
			n.rawPermissions = &chosen
		}
		if elementReads(expr, "preferences", rawPreferences) {
			chosen := choose(rawPreferenceAttributes, rawPreferences)
			n.rawPreferences = &chosen
		}
	}
	n.citizen = choose(citizenAttributes, citizen)
	for _, o := range names.Options {
		if r, ok := permission[o.Name]; ok {
			n.permissions = append(n.permissions, neededPermission{o, choose(permissionAttributes, r)})
		}
	}
	for _, p := range names.Preferences {
		if r, ok := preference[p.Name]; ok {
			n.preferences = append(n.preferences, neededPreference{p, choose(preferenceAttributes, r)})
		}
	}
	return n
}

// reads is the set of names read of one object; "" stands for all of them.
type reads map[string]bool

func (r reads) add(name string) { r[name] = true }

func (r reads) with(name string) reads {
	if r == nil {
		r = reads{}
	}
	r.add(name)
	return r
}

func choose[T any](attributes []attribute[T], r reads) []attribute[T] {
	if r[""] {
		return attributes
	}
	return slices.DeleteFunc(slices.Clone(attributes), func(a attribute[T]) bool { return !r[a.name] })
}
