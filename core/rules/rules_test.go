package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/sdk"
)

// now is the instant as of which tests evaluate.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

var testNames = Names{
	Options: []Option{
		{Name: "newsletter_email", ID: "k3Rmx", Type: "option", Justification: "consent"},
		{Name: "any_newsletter", ID: "k3Rmx", Type: "option"},
		{Name: "post", ID: "g-post", Type: "group"},
	},
	Preferences: []Preference{{Name: "interests", Reference: "interests"}, {Name: "frequency", Reference: "frequency"}},
	Lookups:     []Lookup{{Name: "crm", Fields: map[string]cty.Type{"email": cty.String}}, {Name: "list", Fields: map[string]cty.Type{"email": cty.String}}},
}

// anything is a schema of one attribute that takes every value.
var anything = sdk.Schema{Attributes: map[string]sdk.Attribute{"v": {Type: "any", Doc: "v"}}}

var contact = sdk.Schema{
	Attributes: map[string]sdk.Attribute{
		"email":     {Type: "string", Required: true},
		"status":    {Type: "string", Enum: []string{"subscribed", "unsubscribed", "pending"}},
		"interests": {Type: "map(bool)"},
		"score":     {Type: "number"},
		"vip":       {Type: "bool"},
		"tags":      {Type: "list(string)"},
		"levels":    {Type: "map(string)", Enum: []string{"high", "low"}},
	},
	Blocks: map[string]sdk.Block{
		"address": {Body: sdk.Schema{Attributes: map[string]sdk.Attribute{"city": {Type: "string", Required: true}}}},
		"phone":   {Repeated: true, Body: sdk.Schema{Attributes: map[string]sdk.Attribute{"number": {Type: "string"}}}},
	},
}

// define reads the inside of a rule block.
func define(t testing.TB, source string) Definition {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(source), "rules.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("parse: %v", diags)
	}
	body := file.Body.(*hclsyntax.Body)
	d := Definition{Name: "test", Source: "dataguard", Target: "newsletter"}
	if a := body.Attributes["when"]; a != nil {
		d.When = a.Expr
	}
	if a := body.Attributes["for_each"]; a != nil {
		d.ForEach = a.Expr
	}
	for _, b := range body.Blocks {
		d.Record, d.RecordRange = b.Body, b.DefRange()
	}
	return d
}

func compile(t testing.TB, source string, schema sdk.Schema) *Rule {
	t.Helper()
	r, diags := Compile(define(t, source), testNames, schema)
	if diags.HasErrors() {
		t.Fatalf("compile: %v", diags)
	}
	return r
}

// value evaluates one expression over a state and gives it as JSON.
func value(t testing.TB, expression string, state consent.State) string {
	t.Helper()
	r := compile(t, "record {\n v = "+expression+"\n}", anything)
	records, err := r.Evaluate("dataguard", state, now, nil)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(records[0]), `{"v":`), "}")
}

func at(text string) time.Time {
	parsed, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return parsed
}

// full is a state of the size and shape of the sender's documented message.
func full() consent.State {
	permission := consent.Permission{
		TransactionID: "t-9001", OptionType: "option", OptionID: "k3Rmx", Justification: "consent", State: "GRANTED",
		Channel: "web", Campaign: "spring-26", PrivacyPolicyID: "pp-7", PrivacyPolicyRef: "privacy-v4",
		PermissionStatementID: "ps-3", PermissionStatementRef: "newsletter-stmt-2", RecordedBy: "u-1", RecordedByName: "J. Roe",
		RecordedClient: "cl-22", RecordedClientName: "Website sign-up",
		RecordedAt: at("2026-03-02T09:14:05.120Z"), ObtainedAt: at("2026-03-02T09:14:04Z"),
		ValidFrom: at("2026-03-02T09:14:04Z"), ValidUntil: at("2036-03-02T09:14:04Z"),
	}
	claimed := permission
	claimed.OptionID, claimed.Justification, claimed.State = "p7Qaz", "legitimate-interest", "CLAIMED"
	post := permission
	post.OptionType, post.OptionID, post.Justification, post.State = "group", "g-post", "contract", "CLAIMED"
	denied := permission
	denied.OptionID, denied.State = "zz9", "DENIED"
	return consent.State{
		ApplicationID: "acme-eu-01", CitizenID: "5f0c1a9e7b2d", ExternalRef: "ada@example.org",
		Permissions: []consent.Permission{permission, claimed, post, denied},
		Preferences: []consent.Preference{
			{Preference: "interests", Label: "What?", SubmissionID: "s-551", UpdatedAt: at("2026-03-02T09:14:05.300Z"),
				Choices: []consent.Choice{{Reference: "jazz", Label: "Jazz"}, {Reference: "blues", Label: "Blues"}, {Reference: "soul", Label: "Soul"}}},
			{Preference: "frequency", UpdatedAt: at("2026-03-02T09:14:05.300Z"), Choices: []consent.Choice{{Reference: "weekly"}}},
		},
		SentAt: at("2026-03-02T09:14:06.010Z"),
	}
}

const typical = `
when = permission.newsletter_email.known
record {
  email  = lower(citizen.external_ref)
  status = permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"
  interests = { for c in preference.interests.choices : c => true }
  tags   = ["consentd"]
}`

func BenchmarkEvaluate(b *testing.B) {
	r, state := compile(b, typical, contact), full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Evaluate("dataguard", state, now, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluateSilent(b *testing.B) {
	r, state := compile(b, strings.Replace(typical, "newsletter_email.known", `newsletter_email.state == "PENDING"`, 1), contact), full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Evaluate("dataguard", state, now, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluateRawList(b *testing.B) {
	r, state := compile(b, `record { v = { for p in permissions : p.option_id => p.state } }`, anything), full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Evaluate("dataguard", state, now, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	d := define(b, typical)
	b.ReportAllocs()
	for b.Loop() {
		if _, diags := Compile(d, testNames, contact); diags.HasErrors() {
			b.Fatal(diags)
		}
	}
}
