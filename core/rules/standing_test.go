package rules

import (
	"slices"
	"testing"
)

// TestStandings: a rule tells of what it reads by name, and nothing else.
func TestStandings(t *testing.T) {
	state := full()
	for _, c := range []struct {
		rule        string
		permissions []Standing
		preferences []string
	}{
		{"record {\n" + `email = citizen.external_ref` + "\n}", nil, nil},
		{"when = permission.newsletter_email.known\nrecord {\n" + `email = "x"` + "\nvip = permission.post.allowed\n}",
			[]Standing{{"newsletter_email", true, true}, {"post", true, true}}, nil},
		{"record {\n" + `email = length(permissions) > 0 ? "a" : "b"` + "\ntags = preference.frequency.choices\n}", nil, []string{"frequency"}},
	} {
		r := compile(t, c.rule, contact)
		if got := r.Permissions(state, now); !slices.Equal(got, c.permissions) {
			t.Errorf("%s: permissions %v, want %v", c.rule, got, c.permissions)
		}
		var names []string
		for _, p := range c.permissions {
			names = append(names, p.Name)
		}
		if got := r.Options(); !slices.Equal(got, names) {
			t.Errorf("%s: options %v, want %v", c.rule, got, names)
		}
		if got := r.Preferences(); !slices.Equal(got, c.preferences) {
			t.Errorf("%s: preferences %v, want %v", c.rule, got, c.preferences)
		}
	}
	r := compile(t, "record {\n"+`email = permission.post.state`+"\n}", contact)
	if got := r.Permissions(state, at("2040-01-01T00:00:00Z")); !slices.Equal(got, []Standing{{"post", true, false}}) {
		t.Errorf("after its window: %v", got)
	}
}
