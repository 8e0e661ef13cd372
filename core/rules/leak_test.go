package rules

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/consentd/consentd/core/consent"
)

// failing are expressions that fail for most citizens, each in another way; the library's own texts for
// several of them quote what they were given.
var failing = []string{
	`tonumber(citizen.external_ref)`,
	`tobool(citizen.id)`,
	`{ a = 1 }[citizen.external_ref]`,
	`lookup({ a = 1 }, citizen.external_ref)`,
	`{ for x in [citizen.id, citizen.id] : x => 1 }`,
	`regex(citizen.external_ref, "x")`,
	`regex("^never$", citizen.external_ref)`,
	`jsondecode(citizen.external_ref)`,
	`csvdecode(citizen.external_ref).x`,
	`format(citizen.external_ref, 1)`,
	`format("%d", citizen.external_ref)`,
	`formatdate(citizen.external_ref, sent_at)`,
	`formatdate("YYYY", citizen.external_ref)`,
	`timeadd(sent_at, citizen.external_ref)`,
	`parseint(citizen.external_ref, 10)`,
	`try(tonumber(citizen.external_ref), jsondecode(citizen.id))`,
	`zipmap([citizen.id], [citizen.id, citizen.external_ref])`,
	`tonumber(preference.interests.choices[0]) + 1`,
	`permission[citizen.external_ref].state`,
	`preference.interests.choices[citizen.external_ref]`,
	`merge({ a = 1 }, jsondecode(jsonencode(citizen.external_ref)))`,
	`jsondecode(jsonencode({ (citizen.external_ref) = 1 })).a`,
	`substr(citizen.external_ref, citizen.id, 1)`,
	`-citizen.external_ref`,
	`citizen.external_ref ? 1 : 2`,
	`[for x in jsondecode(jsonencode(citizen.external_ref)) : x]`,
	`toset([citizen.external_ref])[0]`,
	`citizen.external_ref`, // wrong type or outside the enum
	`[citizen.external_ref]`,
	`{ (citizen.external_ref) = citizen.external_ref }`,
}

func TestErrorsHoldNoValue(t *testing.T) {
	var compiled []*Rule
	for _, expression := range failing {
		for _, rule := range []string{
			"record {\n email = citizen.id\n score = " + expression + "\n}",
			"record {\n email = citizen.id\n status = " + expression + "\n}",
			"record {\n email = citizen.id\n interests = " + expression + "\n}",
			"when = " + expression + "\nrecord {\n email = citizen.id\n}",
			"for_each = " + expression + "\nrecord {\n email = each.value\n score = each.value\n}",
		} {
			if r, diags := Compile(define(t, rule), testNames, contact); !diags.HasErrors() {
				compiled = append(compiled, r)
			}
		}
	}
	if len(compiled) < 2*len(failing) {
		t.Fatalf("only %d rules compile", len(compiled))
	}
	failures := 0
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.Custom(func(t *rapid.T) string {
			return "Zq" + rapid.StringMatching(`[%"{}$a-z0-9@.\[\\]{3,12}`).Draw(t, "word") + "Zq"
		})
		state := full()
		state.CitizenID = consent.Identifier(word.Draw(t, "id"))
		state.ExternalRef = consent.Identifier(word.Draw(t, "ref"))
		state.Permissions[0].State = word.Draw(t, "state")
		for i := range state.Preferences[0].Choices {
			state.Preferences[0].Choices[i].Reference = word.Draw(t, "choice")
		}
		for _, r := range compiled {
			_, err := r.Evaluate("dataguard", state, now, nil)
			if err == nil {
				continue
			}
			failures++
			if strings.Contains(err.Error(), "Zq") || strings.Contains(err.Error(), "zq") {
				t.Fatalf("a value is in %q", err)
			}
		}
	})
	if failures == 0 {
		t.Fatal("nothing failed, so nothing was shown")
	}
}
