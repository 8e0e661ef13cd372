package ruletest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/sdk"
)

const configuration = `
source "dataguard" {
  path        = "/a"
  update_type = "effective-permission"
  auth "none" {}
}
source "deltas" {
  path           = "/b"
  update_type    = "consent-receipts"
  application_id = "acme"
  auth "none" {}
}
option "email" {
  id            = "k3Rmx"
  justification = "consent"
}
option "post" {
  id   = "g-post"
  type = "group"
}
option "unread" {
  id = "zzz"
}
preference "interests" {}
preference "unheard" {}
lookup "csv" "crm" {
  path     = "people.csv"
  key      = "id"
  match    = citizen.external_ref
  fields   = { mail = "mail", vip = "vip" }
  types    = { vip = "bool" }
  optional = ["vip"]
}
target "file" "log" {
  config {}
}
target "file" "other" {
  config {}
}
rule "main" {
  source = source.dataguard
  target = target.log
  when   = permission.email.known
  record {
    key = citizen.external_ref
    fields = merge({
      email = permission.email.allowed
      until = permission.email.valid_until
      big   = 9007199254740993
      half  = 0.5
      likes = preference.interests.choices
    }, permission.post.known ? { post = permission.post.allowed } : {})
  }
}
rule "each" {
  source   = source.dataguard
  target   = target.other
  for_each = preference.interests.choices
  record {
    key = each.value
  }
}
rule "silent" {
  source = source.dataguard
  target = target.other
  when   = permission.post.allowed
  record {
    key = citizen.id
  }
}
rule "fails" {
  source = source.dataguard
  target = target.other
  when   = permission.email.channel == "fax"
  record {
    key    = "x"
    fields = { n = tonumber(citizen.id) }
  }
}
rule "asks" {
  source = source.dataguard
  target = target.other
  when   = permission.email.channel == "web"
  record {
    key    = lookup.crm.mail
    fields = { vip = lookup.crm.vip }
  }
}
rule "delta" {
  source = source.deltas
  target = target.log
  record {
    key    = citizen.id
    fields = { email = permission.email.allowed, post = permission.post.allowed, likes = preference.interests.labels }
  }
}
`

var types = map[string]config.Schemas{"file": {Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
	"key": {Type: "string", Required: true}, "fields": {Type: "map(any)"},
}}}}

// load reads a test file beside its configuration, in a directory with whatever else it needs.
func load(t *testing.T, dir, text string) (*Suite, hcl.Diagnostics) {
	t.Helper()
	name := filepath.Join(dir, "rules.test.hcl")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, diags := Load([]string{name})
	if diags.HasErrors() {
		return s, diags
	}
	cfg, diags := config.Parse(map[string][]byte{"config.hcl": []byte(configuration)}, os.LookupEnv)
	compiled, more := cfg.Bind(types)
	if diags = append(diags, more...); diags.HasErrors() {
		t.Fatal(diags)
	}
	return s, s.Bind(cfg, compiled)
}

func runAll(t *testing.T, dir, text string, o Options) Report {
	t.Helper()
	s, diags := load(t, dir, text)
	if diags.HasErrors() {
		t.Fatalf("%v\nin\n%s", diags, text)
	}
	return s.Run(o)
}

// failures are all failures of a run as text, without the directory.
func failures(r Report, dir string) string {
	var lines []string
	for _, one := range r.Tests {
		for _, f := range one.Failures {
			lines = append(lines, f.Text()...)
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), dir+string(os.PathSeparator), "")
}

const granted = `
  source = source.dataguard
  citizen {
    external_ref = "ada"
  }
  update {
    permission "email" {
      state = "GRANTED"
    }
  }
`

const fields = `email = true, until = null, big = 9007199254740993, half = 0.5, likes = []`

// TestExpectations: what is as expected passes, and what is not is said.
func TestExpectations(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"records", granted + `expect "main" { records = [{ key = "ada", fields = { ` + fields + ` } }] }`, ""},
		{"a number that a float cannot hold", granted + `expect "main" { records = [{ key = "ada", fields = { ` + strings.Replace(fields, "993", "992", 1) + ` } }] }`,
			`rules.test.hcl:11,1: after update 1: rule "main": the records differ
  /0/fields/big: expected 9007199254740992, got 9007199254740993`},
		{"another way to write a number", granted + `expect "main" { records = [{ key = "ada", fields = { ` + strings.Replace(fields, "0.5", "0.50", 1) + ` } }] }`, ""},
		{"absent is not null", granted + `expect "main" { records = [{ key = "ada", fields = { ` + strings.Replace(fields, "until = null, ", "", 1) + `, post = null } }] }`,
			`rules.test.hcl:11,1: after update 1: rule "main": the records differ
  /0/fields/post: expected null, got nothing
  /0/fields/until: expected nothing, got null`},
		{"false is false", granted + `expect "main" { records = [{ key = null, fields = { ` + strings.Replace(fields, "true", `"true"`, 1) + ` } }] }`,
			`rules.test.hcl:11,1: after update 1: rule "main": the records differ
  /0/fields/email: expected "true", got true
  /0/key: expected null, got "ada"`},
		{"a record too many", granted + `expect "main" { records = [] }`,
			`rules.test.hcl:11,1: after update 1: rule "main": expected 0 records, got 1
  /0: expected nothing, got {"fields":{"big":9007199254740993,"email":true,"half":0.5,"likes":[],"until":null},"key":"ada"}`},
		{"nothing to say", granted + `expect "each" { records = [] }`, ""},
		{"a record too few", granted + `expect "each" { records = [{ key = "x" }] }`,
			"rules.test.hcl:11,1: after update 1: rule \"each\": expected 1 record, got 0\n  /0: expected {\"key\":\"x\"}, got nothing"},
		{"the wrong target", granted + "expect \"each\" {\n target = target.log\n records = []\n}", `rules.test.hcl:11,1: after update 1: rule "each" feeds target "other", expected "log"`},
		{"a target", `
source = source.dataguard
update {
  preference "interests" {
    choices = ["jazz", "blues"]
  }
  permission "post" {
    state = "CLAIMED"
  }
}
expect {
  target  = target.other
  records = [{ key = "jazz" }, { key = "blues" }, { key = "citizen-1" }]
}`, ""},
		{"another outcome", granted + `expect { outcome = "superseded" }`, "rules.test.hcl:11,1: after update 1: expected the update to be superseded, and it was accepted"},
		{"a rule that falls silent", `
source = source.dataguard
update {
  permission "post" {
    state = "CLAIMED"
  }
}
update {
  permission "post" {
    state = "OBJECTED"
  }
  expect { withdrawal = false }
  expect "silent" { records = [] }
}
expect "silent" { error = "nothing to say of a withdrawal" }`,
			`rules.test.hcl:12,3: after update 2: expected the update to be no withdrawal, and it was a withdrawal
rules.test.hcl:13,3: after update 2: rule "silent" fails, and would make a dead letter: the rule has nothing to say of a withdrawal, and the target still holds what it was given before: let its when be true then, as with permission.NAME.known`},
		{"a rule that fails and should not", strings.Replace(granted, `"GRANTED"`, "\"GRANTED\"\n channel = \"fax\"", 1) + `expect "each" { records = [] }`,
			`rules.test.hcl:1,1: after update 1: rule "fails" fails, and would make a dead letter: config.hcl:77,29: fields: invalid function argument`},
		{"a rule that fails and should", strings.Replace(granted, `"GRANTED"`, "\"GRANTED\"\n channel = \"fax\"", 1) + `expect "fails" { error = "invalid function" }`, ""},
		{"a rule that fails in another way", strings.Replace(granted, `"GRANTED"`, "\"GRANTED\"\n channel = \"fax\"", 1) + `expect "fails" { error = "^no" }`,
			`rules.test.hcl:12,1: after update 1: expected rule "fails" to fail with "^no", and it fails, and would make a dead letter: config.hcl:77,29: fields: invalid function argument`},
		{"a rule that does not fail", granted + `expect "each" { error = "x" }`, `rules.test.hcl:11,1: after update 1: expected rule "each" to fail with "x", and it gives 0 records`},
		{"a rule that does not wait", granted + `expect "main" { waits = true }`, `rules.test.hcl:11,1: after update 1: expected rule "main" to wait for a lookup, and it gives 1 record`},
	} {
		dir := t.TempDir()
		r := runAll(t, dir, "test \"it\" {"+c.text+"\n}\n", Options{})
		if got := failures(r, dir); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
		if c.want != "" && r.Failed != 1 || c.want == "" && r.Passed != 1 || len(r.Tests) != 1 {
			t.Errorf("%s: %d passed, %d failed", c.name, r.Passed, r.Failed)
		}
	}
}

// TestLookups: a rule has what the test says that lookups answer, and asks nobody.
func TestLookups(t *testing.T) {
	update := strings.Replace(granted, `"GRANTED"`, "\"GRANTED\"\n channel = \"web\"", 1)
	for _, c := range []struct{ text, want string }{
		{update + "lookup \"crm\" {\n mail = \"a@b\"\n vip = true\n}\n" + `expect "asks" { records = [{ key = "a@b", fields = { vip = true } }] }`, ""},
		{update + "lookup \"crm\" {\n mail = \"a@b\"\n}\n" + `expect "asks" { records = [{ key = "a@b", fields = { vip = null } }] }`, ""},
		{update + "lookup \"crm\" {}\n" + `expect "asks" { waits = true }`, ""},
		{update + "lookup \"crm\" {\n vip = true\n}\n" + `expect "asks" { records = [] }`, `rule "asks" would wait: lookup "crm" knows no mail of them`},
		{update + `expect "asks" { records = [] }`, `rule "asks" reads lookup.crm, of which the test gives no answer: add lookup "crm" { ... }`},
		{granted + `expect "asks" { records = [] }`, ""}, // it has nothing to say, so it asks nobody
	} {
		dir := t.TempDir()
		got := failures(runAll(t, dir, "test \"it\" {"+c.text+"\n}\n", Options{}), dir)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s\n%s\nwant %s", c.text, got, c.want)
		}
	}
	// What stands at the top of a file is for all of its tests, and a test's own comes first.
	r := runAll(t, t.TempDir(), "source = source.dataguard\nlookup \"crm\" {\n mail = \"a\"\n}\ntest \"common\" {"+update+`expect "asks" { records = [{ key = "a", fields = { vip = null } }] }`+"\n}\n"+
		"test \"own\" {"+update+"lookup \"crm\" {}\nexpect \"asks\" { waits = true }\n}\n", Options{})
	if r.Passed != 2 {
		t.Error(failures(r, ""))
	}
}

// TestCompare: each difference is named once, at the deepest place, and numbers are exact.
func TestCompare(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{`{"a":[1,{"b/c":null}]}`, `{"a":[1.0,{"b/c":null}]}`, ""},
		{`{"a":[1,{"b/c~":null}]}`, `{"a":[2,{"b/c~":false},3]}`, "/a/0: expected 1, got 2 /a/1/b~1c~0: expected null, got false /a/2: expected nothing, got 3"},
		{`100`, `1e2`, ""},
		{`-0.0`, `0`, ""},
		{`-1`, `1`, "all of it: expected -1, got 1"},
		{`1e400`, `10e399`, ""},
		{`1e999999999999999999999`, `1e999999999999999999998`, "all of it: expected 1e999999999999999999999, got 1e999999999999999999998"},
		{`0.1`, `0.10000000000000000000000000000000001`, "all of it: expected 0.1, got 0.10000000000000000000000000000000001"},
		{`"1"`, `1`, `all of it: expected "1", got 1`},
		{`{}`, `[]`, `all of it: expected {}, got []`},
		{`"<&>"`, `"é"`, `all of it: expected "<&>", got "é"`},
	} {
		found, err := compare([]byte(c.a), []byte(c.b))
		var texts []string
		for _, d := range found {
			texts = append(texts, d.String())
		}
		if got := strings.Join(texts, " "); got != c.want || err != nil {
			t.Errorf("%s and %s: %s, %v; want %s", c.a, c.b, got, err, c.want)
		}
	}
}
