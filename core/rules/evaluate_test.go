package rules

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
)

// one is a state with the entries given and nothing else.
func one(entries ...consent.Permission) consent.State {
	return consent.State{CitizenID: "c", Permissions: entries, SentAt: now}
}

func entry(state string, change ...func(*consent.Permission)) consent.Permission {
	p := consent.Permission{OptionType: "option", OptionID: "k3Rmx", Justification: "consent", State: state}
	for _, c := range change {
		c(&p)
	}
	return p
}

func justified(by string) func(*consent.Permission) {
	return func(p *consent.Permission) { p.Justification = by }
}

func recorded(at time.Time) func(*consent.Permission) {
	return func(p *consent.Permission) { p.RecordedAt = at }
}

func from(at time.Time) func(*consent.Permission) {
	return func(p *consent.Permission) { p.ValidFrom = at }
}

func until(at time.Time) func(*consent.Permission) {
	return func(p *consent.Permission) { p.ValidUntil = at }
}

func TestPermission(t *testing.T) {
	summary := `"${permission.any_newsletter.known} ${permission.any_newsletter.allowed} ${permission.any_newsletter.state == null ? "null" : permission.any_newsletter.state}"`
	second := time.Second
	for name, c := range map[string]struct {
		state consent.State
		want  string
	}{
		"granted":                 {one(entry("GRANTED")), "true true GRANTED"},
		"claimed":                 {one(entry("CLAIMED")), "true true CLAIMED"},
		"denied":                  {one(entry("DENIED")), "true false DENIED"},
		"pending":                 {one(entry("PENDING")), "true false PENDING"},
		"objected":                {one(entry("OBJECTED")), "true false OBJECTED"},
		"objection upheld":        {one(entry("OBJECTION_UPHELD")), "true false OBJECTION_UPHELD"},
		"a state yet to be":       {one(entry("GRANTED_TWICE")), "true false GRANTED_TWICE"},
		"lower case":              {one(entry("granted")), "true false granted"},
		"lower-case expired":      {one(entry("expired")), "true false expired"},
		"null":                    {one(entry("")), "true false null"},
		"absent":                  {one(), "false false null"},
		"another id":              {one(entry("GRANTED", func(p *consent.Permission) { p.OptionID = "other" })), "false false null"},
		"another type":            {one(entry("GRANTED", func(p *consent.Permission) { p.OptionType = "group" })), "false false null"},
		"valid from now":          {one(entry("GRANTED", from(now))), "true true GRANTED"},
		"valid later":             {one(entry("GRANTED", from(now.Add(second)))), "true false GRANTED"},
		"valid until now":         {one(entry("GRANTED", until(now))), "true false GRANTED"},
		"valid a little longer":   {one(entry("GRANTED", until(now.Add(second)))), "true true GRANTED"},
		"expired":                 {one(entry("GRANTED", until(now.Add(-second)))), "true false GRANTED"},
		"two bases, both allow":   {one(entry("GRANTED"), entry("CLAIMED", justified("contract"))), "true true GRANTED"},
		"two bases, one denies":   {one(entry("CLAIMED", justified("contract")), entry("DENIED")), "true false DENIED"},
		"older denial wins":       {one(entry("DENIED", recorded(now.Add(-second))), entry("CLAIMED", justified("contract"), recorded(now))), "true false DENIED"},
		"newest of the allowing":  {one(entry("GRANTED", recorded(now.Add(-second))), entry("CLAIMED", justified("contract"), recorded(now))), "true true CLAIMED"},
		"newest of the denying":   {one(entry("OBJECTED", justified("legitimate-interest"), recorded(now)), entry("DENIED", recorded(now.Add(-second)))), "true false OBJECTED"},
		"null beside an allowing": {one(entry("GRANTED"), entry("", justified("contract"))), "true false null"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := value(t, summary, c.state); got != `"`+c.want+`"` {
				t.Errorf("got %s, want %q", got, c.want)
			}
			reversed := consent.State{CitizenID: "c", SentAt: now}
			for _, p := range c.state.Permissions {
				reversed.Permissions = append([]consent.Permission{p}, reversed.Permissions...)
			}
			if got := value(t, summary, reversed); got != `"`+c.want+`"` {
				t.Errorf("in the other order: got %s, want %q", got, c.want)
			}
		})
	}
}

func TestJustificationNarrows(t *testing.T) {
	state := one(entry("GRANTED"), entry("OBJECTED", justified("legitimate-interest")))
	got := value(t, `[permission.newsletter_email.allowed, permission.any_newsletter.allowed]`, state)
	if got != "[true,false]" {
		t.Errorf("got %s", got)
	}
}

// The empty state is what is told of nothing: every name reads, and nothing is allowed.
func TestScope(t *testing.T) {
	empty := consent.State{CitizenID: "c"}
	for expression, want := range map[string][2]string{
		"citizen": {
			`{"application_id":"acme-eu-01","external_ref":"ada@example.org","id":"5f0c1a9e7b2d"}`,
			`{"application_id":null,"external_ref":null,"id":"c"}`,
		},
		"permission.newsletter_email": {
			`{"allowed":true,"campaign":"spring-26","channel":"web","justification":"consent","known":true,"obtained_at":"2026-03-02T09:14:04Z",` +
				`"policy_ref":"privacy-v4","recorded_at":"2026-03-02T09:14:05.12Z","state":"GRANTED","statement_ref":"newsletter-stmt-2",` +
				`"transaction_id":"t-9001","valid_from":"2026-03-02T09:14:04Z","valid_until":"2036-03-02T09:14:04Z"}`,
			`{"allowed":false,"campaign":null,"channel":null,"justification":null,"known":false,"obtained_at":null,` +
				`"policy_ref":null,"recorded_at":null,"state":null,"statement_ref":null,"transaction_id":null,"valid_from":null,"valid_until":null}`,
		},
		"permission.post.allowed": {"true", "false"},
		"preference.interests": {
			`{"choices":["jazz","blues","soul"],"known":true,"labels":["Jazz","Blues","Soul"],"updated_at":"2026-03-02T09:14:05.3Z"}`,
			`{"choices":[],"known":false,"labels":[],"updated_at":null}`,
		},
		"preference.frequency.labels":                                            {"[null]", "[]"},
		`permission["post"].state`:                                               {`"CLAIMED"`, "null"},
		`[for n in sort(keys(permission)) : permission[n].known]`:                {"[true,true,true]", "[false,false,false]"},
		"length(permissions)":                                                    {"4", "0"},
		"permissions[*].option_id":                                               {`["k3Rmx","p7Qaz","g-post","zz9"]`, "[]"},
		`[for p in permissions : p.recorded_client_name if p.state == "DENIED"]`: {`["Website sign-up"]`, "[]"},
		"preferences": {
			`[{"choices":[{"label":"Jazz","reference":"jazz"},{"label":"Blues","reference":"blues"},{"label":"Soul","reference":"soul"}],"label":"What?",` +
				`"preference":"interests","submission_id":"s-551","updated_at":"2026-03-02T09:14:05.3Z"},` +
				`{"choices":[{"label":null,"reference":"weekly"}],"label":null,"preference":"frequency","submission_id":null,"updated_at":"2026-03-02T09:14:05.3Z"}]`,
			"[]",
		},
		"sent_at": {`"2026-03-02T09:14:06.01Z"`, "null"},
		"source":  {`"dataguard"`, `"dataguard"`},
		`try(permission.newsletter_email.state, "none")`:           {`"GRANTED"`, "null"},
		`can(jsondecode(citizen.external_ref))`:                    {"false", "false"},
		`contains(preference.interests.choices, "jazz")`:           {"true", "false"},
		`coalesce(citizen.external_ref, "nobody")`:                 {`"ada@example.org"`, `"nobody"`},
		`{ "b" = 1, "a" = { "z" = null, "y" = false }, "c" = [] }`: {`{"a":{"y":false,"z":null},"b":1,"c":[]}`, `{"a":{"y":false,"z":null},"b":1,"c":[]}`},
	} {
		t.Run(expression, func(t *testing.T) {
			if got := value(t, expression, full()); got != want[0] {
				t.Errorf("full:\n got %s\nwant %s", got, want[0])
			}
			if got := value(t, expression, empty); got != want[1] {
				t.Errorf("empty:\n got %s\nwant %s", got, want[1])
			}
		})
	}
}

func TestNewestPreferenceCounts(t *testing.T) {
	state := one()
	state.Preferences = []consent.Preference{
		{Preference: "interests", UpdatedAt: now, Choices: []consent.Choice{{Reference: "new"}}},
		{Preference: "interests", UpdatedAt: now.Add(-time.Hour), Choices: []consent.Choice{{Reference: "old"}}},
	}
	if got := value(t, "preference.interests.choices", state); got != `["new"]` {
		t.Errorf("got %s", got)
	}
}

// null, absent and false are three different things in a record.
func TestRecord(t *testing.T) {
	for name, c := range map[string]struct{ rule, want string }{
		"typical": {typical,
			`{"email":"ada@example.org","interests":{"blues":true,"jazz":true,"soul":true},"status":"subscribed","tags":["consentd"]}`},
		"null is kept, absent is absent, false is false": {`record {
			email = citizen.external_ref
			score = null
			vip   = false
		}`, `{"email":"ada@example.org","score":null,"vip":false}`},
		"a null among values": {`record {
			email     = citizen.external_ref
			interests = { jazz = true, blues = null, soul = false }
		}`, `{"email":"ada@example.org","interests":{"blues":null,"jazz":true,"soul":false}}`},
		"values take the type of the schema": {`record {
			email = 5
			score = "12.50"
			vip   = "true"
		}`, `{"email":"5","score":12.5,"vip":true}`},
		"blocks": {`record {
			email = citizen.id
			phone { number = "1" }
			address { city = "Bern" }
			phone { }
		}`, `{"address":{"city":"Bern"},"email":"5f0c1a9e7b2d","phone":[{"number":"1"},{}]}`},
		"when is false": {`when = permission.newsletter_email.state == "PENDING"
			record { email = citizen.id }`, ""},
		"for_each over a list": {`for_each = preference.interests.choices
			record {
				email = "${each.key}-${each.value}"
			}`, `{"email":"0-jazz"} {"email":"1-blues"} {"email":"2-soul"}`},
		"for_each over a set": {`for_each = toset(preference.interests.choices)
			record { email = each.key == each.value ? each.key : "differ" }`, `{"email":"blues"} {"email":"jazz"} {"email":"soul"}`},
		"for_each over an object": {`for_each = { newsletter = permission.newsletter_email, post = permission.post }
			record {
				email = each.key
				vip   = each.value.allowed
			}`, `{"email":"newsletter","vip":true} {"email":"post","vip":true}`},
		"for_each over what a filter leaves": {`for_each = [for p in permissions : p if p.state == "DENIED"]
			record { email = each.value.option_id }`, `{"email":"zz9"}`},
		"for_each over nothing": {`for_each = [for p in permissions : p if p.state == "PENDING"]
			record { email = each.value.option_id }`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			records, err := compile(t, c.rule, contact).Evaluate("dataguard", full(), now, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range records {
				got = append(got, string(r))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " "), c.want)
			}
		})
	}
}

func TestRunTimeErrors(t *testing.T) {
	for name, c := range map[string]struct{ rule, want string }{
		"required and null": {"record {\n email = permission.newsletter_email.state\n}",
			`rules.hcl:2,10: email: required, and the value is null`},
		"outside the enum": {"record {\n email = citizen.id\n status = lower(citizen.id)\n}",
			`rules.hcl:3,11: status: not one of the values allowed`},
		"wrong type": {"record {\n email = citizen.id\n score = citizen.external_ref\n}",
			`rules.hcl:3,10: score: value of the wrong type`},
		"in a block": {"record {\n email = citizen.id\n address {\n  city = sent_at\n }\n}",
			`rules.hcl:4,10: address.city: required, and the value is null`},
		"index outside": {"record {\n email = preference.interests.choices[0]\n}",
			`rules.hcl:2,38: email: invalid index`},
		"null condition": {"when = jsondecode(citizen.application_id)\nrecord {\n email = citizen.id\n}",
			`rules.hcl:1,8: when: neither true nor false`},
		"for_each null": {"for_each = jsondecode(citizen.application_id)\nrecord {\n email = citizen.id\n}",
			`rules.hcl:1,12: for_each: value that cannot be gone through`},
		"for_each text": {"for_each = jsondecode(jsonencode(citizen.id))\nrecord {\n email = citizen.id\n}",
			`rules.hcl:1,12: for_each: value that cannot be gone through`},
		"duplicate key": {"record {\n email = citizen.id\n interests = { for x in [citizen.id, citizen.id] : x => true }\n}",
			`rules.hcl:3,52: interests: duplicate object key`},
	} {
		t.Run(name, func(t *testing.T) {
			state := one()
			state.ApplicationID = "null"
			state.CitizenID, state.ExternalRef, state.SentAt = "someone", "someone@example.org", time.Time{}
			records, err := compile(t, c.rule, contact).Evaluate("dataguard", state, now, nil)
			if err == nil {
				t.Fatalf("no error, but %s", records)
			}
			if err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestNumbersAreExact(t *testing.T) {
	for written, want := range map[string]string{
		"9007199254740993": "9007199254740993", "123456789012345678901234567890": "123456789012345678901234567890",
		"0.1": "0.1", "1.50": "1.5", "-0": "0", "1e3": "1000", "12345678.901": "12345678.901", "1e-7": "0.0000001",
		`jsondecode("1e400")`: "1e+400", "1e300 * 1e300": "1e+600",
	} {
		if got := value(t, written, full()); got != want {
			t.Errorf("%s: got %s, want %s", written, got, want)
		}
	}
}

func TestHashes(t *testing.T) {
	// NIST's example of one block, FIPS 180-2 appendix B.1, and RFC 1321's test suite.
	if got := value(t, `sha256("abc")`, full()); got != `"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"` {
		t.Errorf("sha256: %s", got)
	}
	if got := value(t, `md5("abc")`, full()); got != `"900150983cd24fb0d6963f7d28e17f72"` {
		t.Errorf("md5: %s", got)
	}
}

func TestEvaluateConcurrently(t *testing.T) {
	r := compile(t, `for_each = permissions[*].option_id
		record {
			email     = join(",", permissions[*].state)
			interests = { for c in preference.interests.choices : "${each.value}-${c}" => can(permission[c]) }
		}`, contact)
	want, err := r.Evaluate("dataguard", full(), now, nil)
	if err != nil {
		t.Fatal(err)
	}
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 100 {
				got, err := r.Evaluate("dataguard", full(), now, nil)
				if err != nil || len(got) != len(want) || string(got[2]) != string(want[2]) {
					t.Errorf("got %s, %v", got, err)
					return
				}
			}
		})
	}
	workers.Wait()
}
