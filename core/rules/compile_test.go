package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/sdk"
)

// render writes diagnostics as line,column-column: severity: summary: detail.
func render(diags hcl.Diagnostics) string {
	var lines []string
	for _, d := range diags {
		severity := "error"
		if d.Severity == hcl.DiagWarning {
			severity = "warning"
		}
		lines = append(lines, fmt.Sprintf("%d,%d-%d: %s: %s: %s", d.Subject.Start.Line, d.Subject.Start.Column, d.Subject.End.Column, severity, d.Summary, d.Detail))
	}
	return strings.Join(lines, "\n")
}

// Each case is the inside of a rule, and what must stand in the one diagnostic it gets; "" for none.
func TestCompile(t *testing.T) {
	record := func(attributes string) string { return "record {\n email = citizen.id\n " + attributes + "\n}" }
	for name, c := range map[string]struct{ rule, want string }{
		"all well": {typical, ""},

		"root":           {record("vip = citizn.id != null"), `3,8-14: error: Unknown name: There is nothing named "citizn" here. Did you mean "citizen"?`},
		"attribute":      {record("vip = citizen.external_reff == null"), `3,16-29: error: Unknown name: There is nothing named "external_reff" here. Did you mean "external_ref"?`},
		"option":         {record("vip = permission.newsletter_emial.known"), `3,19-35: error: Unknown name: There is nothing named "newsletter_emial" here. Did you mean "newsletter_email"?`},
		"unlike any":     {record("vip = permission.telephone.known"), `No option block has that name. Add option "telephone" { id = "..." }, or use one that is there. Write one of "any_newsletter", "newsletter_email" or "post".`},
		"indexed":        {record(`vip = permission["pst"].known`), `3,18-25: error: Unknown name: There is nothing named "pst" here. Did you mean "post"?`},
		"its attribute":  {record("vip = permission.post.alowed"), `3,24-30: error: Unknown name: There is nothing named "alowed" here. Did you mean "allowed"?`},
		"preference":     {record("tags = preference.intrests.choices"), `3,20-28: error: Unknown name: There is nothing named "intrests" here. Did you mean "interests"?`},
		"in when":        {"when = permission.pots.known\n" + record(""), `1,19-23: error: Unknown name: There is nothing named "pots" here. Did you mean "post"?`},
		"in for_each":    {"for_each = preference.interests.choice\n" + record(""), `1,33-39: error: Unknown name: There is nothing named "choice" here. Did you mean "choices"?`},
		"in try":         {record("vip = try(permission.pots.known, false)"), `3,23-27: error: Unknown name: There is nothing named "pots" here. Did you mean "post"?`},
		"too deep":       {record("vip = citizen.id.length > 3"), `3,19-25: error: Attribute of a plain value: This is a string, and has no attribute "length". Leave out everything from here on.`},
		"list":           {record("tags = permissions.state"), `3,21-26: error: Attribute of a list: This is a list, and a list has no attributes. Write [for x in LIST : x.state] to get it of every element.`},
		"for body":       {record("tags = [for p in permissions : p.optionid]"), `3,35-43: error: Unknown name: There is nothing named "optionid" here. Did you mean "option_id"?`},
		"for key":        {record("interests = { for p in permissions : p.optionid => true }"), `3,41-49: error`},
		"for condition":  {record(`tags = [for p in permissions : p.state if p.stat == "x"]`), `3,46-50: error: Unknown name: There is nothing named "stat" here. Did you mean "state"?`},
		"for in for":     {record("tags = flatten([for p in preferences : [for c in p.choices : c.ref]])"), `"ref" here. Did you mean "reference"?`},
		"for name":       {record("tags = [for c in preference.interests.choices : d]"), `3,50-51: error: Unknown name: There is nothing named "d" here. `},
		"splat":          {record("tags = permissions[*].optionid"), `3,24-32: error: Unknown name: There is nothing named "optionid" here. Did you mean "option_id"?`},
		"after a call":   {record("tags = [reverse(permissions)[0].optionid]"), `"optionid"`},
		"each without":   {record("vip = each.value == 1"), `3,8-12: error: Unknown name: There is nothing named "each" here. The names each.key and each.value are there in the record block`},
		"each in when":   {"for_each = [1]\nwhen = each.value == 1\n" + record(""), `2,8-12: error: Unknown name`},
		"each's part":    {"for_each = preference.interests.choices\n" + record("vip = each.valeu == null"), `"valeu" here. Did you mean "value"?`},
		"element's part": {"for_each = permissions\n" + record("vip = each.value.optionid == null"), `"optionid" here. Did you mean "option_id"?`},
		"try may probe":  {"for_each = [{ a = 1 }, { b = 2 }]\n" + record("score = try(each.value.a, 0)"), ""},

		"function":             {record("tags = [uper(citizen.id)]"), `3,10-14: error: Unknown function: There is no function named "uper". Did you mean "upper"?`},
		"function in try":      {record("tags = try([uper(citizen.id)], [])"), `3,14-18: error: Unknown function`},
		"function from config": {record(`tags = [env("HOME")]`), `A rule cannot read files, the environment or credentials.`},
		"clock":                {record(`tags = [timestamp()]`), `A rule has no clock`},
		"argument":             {record("tags = [upper(permissions)]"), `3,16-27: error: Invalid function argument`},
		"in an arm":            {record("tags = permission.post.known ? [upper(permissions)] : []"), `3,40-51: error: Invalid function argument`},
		"in the other arm":     {record("tags = permission.post.known ? [] : [upper(permissions)]"), `3,45-56: error: Invalid function argument`},
		"in a for body":        {record("tags = [for c in preference.interests.choices : c if length(permissions) > upper(permissions)]"), `Invalid function argument`},
		"in a for key":         {record("interests = { for c in preference.interests.choices : upper(permissions) => true }"), `Invalid function argument`},
		"behind and":           {record("vip = permission.post.known && length(5) > 0"), `Invalid function argument`},
		"may be short":         {record("vip = length(preference.interests.choices) > 2 ? preference.interests.choices[2] == null : false"), ""},

		"record attribute":     {record("stauts = null"), `3,2-8: error: Unknown attribute: The record of rule "test" has no attribute "stauts". Did you mean "status"?`},
		"record block":         {record("adress { city = citizen.id }"), `3,2-8: error: Unknown block: The record of rule "test" has no block "adress". Did you mean "address"?`},
		"block as attribute":   {record("address = {}"), `3,2-9: error: Block written as an attribute: In the record of rule "test", "address" is a block. Write address { ... }, without the equals sign.`},
		"attribute as block":   {record("interests { }"), `3,2-11: error: Attribute written as a block: In the record of rule "test", "interests" is an attribute. Write interests = { ... }, with an equals sign.`},
		"block twice":          {record("address { city = citizen.id }\n address { city = citizen.id }"), `4,2-9: error: Block stands twice: The record of rule "test" takes one block "address"; the first is at rules.hcl:3,2. Keep one of them.`},
		"label":                {record(`phone "home" { }`), `3,8-14: error: Label where none belongs`},
		"missing":              {"record {\n}", `1,1-7: error: Missing attribute: The record of rule "test" needs "email" (string). Add email = ...`},
		"missing in a block":   {record("address { }"), `3,2-9: error: Missing attribute: The record of rule "test" needs "address.city" (string). Add city = ...`},
		"required null":        {"record {\n email = null\n}", `2,10-14: error: Required attribute is null: The record of rule "test" needs "email", so it cannot be null. Write a value.`},
		"required null in arm": {"record {\n email = permission.post.known ? citizen.id : null\n}", `2,47-51: error: Required attribute is null`},

		"enum":               {record(`status = "unsubscribd"`), `3,11-24: error: Wrong value: This is for "status" in the record of rule "test". "unsubscribd" is none of the values allowed. Did you mean "unsubscribed"?`},
		"enum in an arm":     {record(`status = permission.post.allowed ? "subscribed" : ("unsubscribd")`), `3,53-66: error: Wrong value`},
		"enum in a template": {record(`status = "${permission.post.allowed ? "subscribd" : "pending"}"`), `3,40-51: error: Wrong value`},
		"enum in a map":      {record(`levels = { a = "high", b = "lo" }`), `3,29-33: error: Wrong value: This is for "levels" in the record of rule "test". "lo" is none of the values allowed. Did you mean "low"?`},
		"enum in a for":      {record(`levels = { for c in preference.interests.choices : c => "hgih" }`), `3,58-64: error: Wrong value`},
		"enum unlike any":    {record(`status = "gone"`), `Write one of "pending", "subscribed" or "unsubscribed".`},

		"list for a string":  {record("status = preference.interests.choices"), `3,11-39: error: Wrong value: This is for "status" in the record of rule "test". It must be a string; this is a list(string). Write a string, in quotes: "...".`},
		"for for a string":   {record("status = [for c in preference.interests.choices : c]"), `It must be a string; this is a list.`},
		"text for a map":     {record("interests = citizen.id"), `It must be a map(bool); this is a string. Write { name = value }, or { for x in LIST : x => value }.`},
		"list for a map":     {record("interests = [for c in preference.interests.choices : c]"), `It must be a map(bool); this is a list.`},
		"map for a list":     {record("tags = { a = 1 }"), `It must be a list(string); this is a map. Write [value, ...], or [for x in LIST : value].`},
		"element of a map":   {record(`interests = { jazz = "yes" }`), `3,23-28: error: Wrong value: This is for "interests" in the record of rule "test". It must be a bool; this is a string. Write true or false.`},
		"element of a for":   {record(`interests = { for c in preference.interests.choices : c => [c] }`), `3,61-64: error: Wrong value`},
		"element of a list":  {record("tags = [citizen.id, permissions]"), `3,22-33: error: Wrong value`},
		"element of a call":  {record(`interests = merge({ a = [] }, {})`), `3,14-35: error: Wrong value`},
		"number":             {record(`score = "many"`), `It must be a number; this is a string. Write a number, without quotes.`},
		"bool for a number":  {record(`score = permission.post.allowed`), `It must be a number; this is a bool.`},
		"text may be number": {record(`score = citizen.id`), ""},
		"null is clear":      {record(`status = permission.post.allowed ? "subscribed" : null`), ""},

		"when is text":     {"when = citizen.id\n" + record(""), `1,8-18: error: Condition is not a bool: A rule's when must come to true or false. Write a comparison, or something like permission.NAME.known.`},
		"when is null":     {"when = null\n" + record(""), `1,8-12: error: Condition is not a bool`},
		"for_each is text": {"for_each = citizen.id\n" + record(""), `1,12-22: error: Nothing to go through`},

		"silent at a withdrawal": {"when = permission.post.known && permission.post.allowed\n" + record(""),
			`1,33-56: warning: Rule falls silent at a withdrawal: When the permission is withdrawn this condition turns false, and the target never hears of it. Write when = permission.post.known, and map permission.post.allowed inside the record.`},
		"allowed elsewhere": {record("vip = permission.post.allowed"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, diags := Compile(define(t, c.rule), testNames, contact)
			got := render(diags)
			if c.want == "" {
				if got != "" {
					t.Errorf("unexpected: %s", got)
				}
				return
			}
			if len(diags) != 1 || !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if (r == nil) != diags.HasErrors() {
				t.Errorf("rule %v with diagnostics %s", r, got)
			}
			for _, d := range diags {
				if d.Expression != nil || d.EvalContext != nil {
					t.Error("the diagnostic carries its expression or context")
				}
			}
		})
	}
}

func TestManyMistakesAtOnce(t *testing.T) {
	_, diags := Compile(define(t, `
		when = permission.pots.known
		record {
			email  = lowre(citizen.id)
			stauts = "x"
			status = "subscribd"
			address {
				town = 1
			}
		}`), testNames, contact)
	got := render(diags)
	for _, want := range []string{`"pots"`, `"lowre"`, `"stauts"`, `"subscribd"`, `"address.town"`, `needs "address.city"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no word of %s in\n%s", want, got)
		}
	}
	if len(diags) != 6 {
		t.Errorf("%d diagnostics:\n%s", len(diags), got)
	}
}

func TestNoNames(t *testing.T) {
	r, diags := Compile(define(t, "record {\n v = length(permission) + length(keys(preference))\n}"), Names{}, anything)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if got, err := r.Evaluate("s", full(), now, nil); err != nil || string(got[0]) != `{"v":0}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestBrokenSchema(t *testing.T) {
	schema := sdk.Schema{Attributes: map[string]sdk.Attribute{"v": {Type: "strng"}}}
	_, diags := Compile(define(t, "record {\n v = 1\n}"), Names{}, schema)
	if got := render(diags); !strings.Contains(got, `declares "v" with the type "strng"`) {
		t.Errorf("got %s", got)
	}
}
