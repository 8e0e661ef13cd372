package rules

import (
	"fmt"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// A rule gives the same whether all of the scope is made or only what it needs.
func TestNeedsAreEnough(t *testing.T) {
	whole, diags := hclsyntax.ParseExpression([]byte(`[citizen, permission, preference, permissions, preferences, sent_at, source]`), "x", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	everything := needsOf(testNames, whole)
	for _, expression := range []string{
		`citizen.id`, `citizen["id"]`, `citizen[lower("ID")]`, `values(citizen)`,
		`permission.post.state`, `permission["post"]["state"]`, `permission[source == "x" ? "post" : "newsletter_email"].state`,
		`permission.post`, `[for n, p in permission : "${n} ${p.allowed}"]`, `keys(permission)`,
		`[permission.post.known, permission.post.channel, permission.any_newsletter.valid_until]`,
		`preference.interests.labels`, `[for c in preference.interests.choices : upper(c)]`, `preference.frequency.choices[0]`,
		`[for p in permissions : p.state]`, `[for p in permissions : p]`, `[for p in permissions : p["option_id"]]`,
		`[for p in permissions : p[lower("STATE")]]`, `{ for i, p in permissions : i => p.recorded_at if p.state != "DENIED" }`,
		`{ for p in permissions : p.option_id => p... }`, `[for p in permissions : [for q in permissions : "${p.option_id} ${q.campaign}"]]`,
		`[for p in permissions : [for p in preferences : p.preference]]`, `permissions[*].channel`, `permissions[*]["channel"]`, `permissions[*]`, `permissions.*.state`,
		`permissions[0].recorded_by`, `length(permissions)`, `[for p in permissions : 1]`, `[for p in reverse(permissions) : p.option_id]`,
		`concat(permissions[*].state, [for p in permissions : p.campaign])`, `permissions[length(permissions) - 1].state`,
		`[for permissions in permissions : permissions.state]`, `[for p in preferences : p.choices[*].label]`, `preferences[*].choices`,
		`flatten([for p in preferences : [for c in p.choices : c.reference]])`, `sent_at`, `source`, `try(permissions[9].state, sent_at)`,
		`jsonencode([for p in permissions : p if can(p.state)])`,
	} {
		r := compile(t, "when = length(permissions) + length(preferences) > 0\nrecord { v = "+expression+" }", anything)
		got, err := r.Evaluate("dataguard", full(), now, nil)
		r.gate, r.needs = everything, everything
		want, wantErr := r.Evaluate("dataguard", full(), now, nil)
		if fmt.Sprintf("%s %v", got, err) != fmt.Sprintf("%s %v", want, wantErr) {
			t.Errorf("%s:\n got %s %v\nwant %s %v", expression, got, err, want, wantErr)
		}
	}
}
