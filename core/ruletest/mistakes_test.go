package ruletest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakes: what is wrong in a test file is said with its place and what to write.
func TestMistakes(t *testing.T) {
	const update = "update {\npermission \"email\" { state = \"GRANTED\" }\n}\n"
	in := func(body string) string { return "test \"it\" {\nsource = source.dataguard\n" + body + "\n}" }
	for _, c := range []struct{ text, want string }{
		{"tst \"x\" {}", `1,1 Unknown block: There is no block "tst" in the test file. Did you mean "test"?`},
		{"enviroment = {}", `1,1 Unknown attribute: There is no attribute "enviroment" in the test file. Did you mean "env"?`},
		{"test {}", `1,1 Wrong number of labels: In the test file, write test "what it shows" { ... }.`},
		{in(update+`expect "main" { records = [] }`) + "\n" + in(update+`expect "main" { records = [] }`), `8,1 Same test twice: The test "it" is already at rules.test.hcl:1,1.`},
		{"test \"it\" {\n" + update + "expect \"main\" { records = [] }\n}", `1,1 Which source?: In test "it", say where the updates come from, as there are several. Write source = source.NAME, here or at the top of the file. Write one of "dataguard" or "deltas".`},
		{"test \"it\" {\nsource = source.datagard\n" + update + "expect \"main\" { records = [] }\n}", `2,10 Unknown source: The configuration has no source "datagard". Did you mean "dataguard"?`},
		{"test \"it\" {\nsource = \"dataguard\"\n" + update + "expect \"main\" { records = [] }\n}", `2,10 Not a reference: In test "it", "source" refers to a block of the configuration by its name. Write source = source.dataguard, without quotes.`},
		{in(`expect "main" { records = [] }`), `1,1 Test without an update`},
		{in(update), `1,1 Test without an expectation`},
		{in(update + `expect "mian" { records = [] }`), `6,8 Unknown rule: The configuration has no rule "mian". Did you mean "main"?`},
		{in(update + `expect "delta" { records = [] }`), `6,8 Rule of another source: The rule "delta" reads source.deltas`},
		{in(update + `expect "main" { record = [] }`), `6,17 Unknown attribute: There is no attribute "record" in expect "main" of test "it". Did you mean "records"?`},
		{in(update + `expect "main" {}`), `6,1 Nothing is expected`},
		{in(update + `expect { records = [] }`), `6,1 Which rule?`},
		{in(update + "expect {\ntarget = target.log\nwaits = true\n}"), `6,1 Which rule?: In expect of test "it", only records`},
		{in(update + "expect \"main\" {\nrecords = []\nerror = \"x\"\n}"), `6,1 Two things expected at once`},
		{in(update + `expect "main" { error = "(" }`), `6,25 Not a regular expression`},
		{in(update + `expect "main" { records = [permission.email] }`), `6,28 Unknown name: There is nothing named "permission" here. A test compares with plain values.`},
		{in(update + `expect "main" { records = { key = "x" } }`), `6,27 Wrong value: In expect "main" of test "it", "records" is a list. Write [{ name = value }]`},
		{in(update + `expect "main" { records = ["x"] }`), `6,27 Wrong value`},
		{in(update + `expect "main" { records = [{ key = env("X") }] }`), `6,36 Unknown function: There is no function named "env". A test says the same wherever it runs.`},
		{in(update + `expect { outcome = "acepted" }`), `6,20 Unknown value: In expect of test "it", "outcome" cannot be "acepted". Did you mean "accepted"?`},
		{in("update {\npermission \"emial\" { state = \"GRANTED\" }\n}"), `4,12 Unknown option: The configuration has no option "emial". Did you mean "email"?`},
		{in("update {\npermission \"email\" { state = \"GRANTD\" }\n}"), `4,30 Unknown value: In permission "email" of update of test "it", "state" cannot be "GRANTD". Did you mean "GRANTED"?`},
		{in("update {\npermission \"email\" {}\n}"), `4,1 Missing attribute: In permission "email" of update of test "it", "state" is missing.`},
		{in("update {\npreference \"interest\" { choices = [] }\n}"), `4,12 Unknown preference: The configuration has no preference "interest". Did you mean "interests"?`},
		{in("update {\npreference \"interests\" {}\n}"), `4,1 Missing attribute: In preference "interests" of update of test "it", "choices" is missing.`},
		{in("update {\npreference \"interests\" {\nchoices = [\"a\"]\nlabels = []\n}\n}"), `6,10 Wrong number of labels`},
		{in("update {\npreference \"interests\" { choices = [null] }\n}"), `4,36 Wrong value`},
		{in("update {\npermission \"email\" { state = \"\" }\n}"), `4,30 Unknown value`},
		{in("update { at = \"\" }"), `3,15 Not a time`},
		{in("update { file = \"\" }"), `3,17 Update cannot be read`},
		{in("update {\nat = \"tomorrow\"\n}"), `4,6 Not a time: In update of test "it", "at" is no time of RFC 3339. Write at = "2026-03-02T09:14:05Z".`},
		{in("update { at = \"2026-03-02T09:00:00Z\" }\nupdate { at = \"2026-03-02T08:00:00Z\" }"), `4,15 Clock runs backwards: It is 2026-03-02T09:00:00Z here already.`},
		{in("now = \"2020-01-01T00:00:00Z\"\nupdate {}"), `3,7 Clock runs backwards`},
		{in("update {}\nexpect {\nnow = \"2020-01-01T00:00:00Z\"\noutcome = \"accepted\"\n}"), `5,7 Clock runs backwards`},
		{in("update { file = \"absent.json\" }"), `3,17 Update cannot be read`},
		{in("update {\nfile = \"a.json\"\nbody = {}\n}"), `4,8 Update twice`},
		{in("update {\nbody = \"{}\"\npermission \"email\" { state = null }\n}"), `3,1 Update twice`},
		{in("update { body = { citizenId = 1, sentAt = \"2026-03-02T09:00:00Z\", permissions = [] } }\nupdate { body = { citizenId = 2, sentAt = \"2026-03-02T09:00:00Z\", permissions = [] } }"), `4,1 Another citizen`},
		{in("lookup \"crn\" {}\n" + update), `3,8 Unknown lookup: The configuration has no lookup "crn". Did you mean "crm"?`},
		{in("lookup \"crm\" { email = \"x\" }\n" + update), `3,16 Unknown attribute: There is no attribute "email" in lookup "crm" of test "it". Did you mean "mail"?`},
		{in("lookup \"crm\" { vip = \"x\" }\n" + update), `3,22 Wrong value: This is for "vip" in lookup "crm" of test "it". It must be a bool`},
		{in("lookup \"crm\" {}\nlookup \"crm\" {}\n" + update), `4,1 Same lookup twice`},
		{in(update+"golden = \"a.json\"") + "\n" + strings.Replace(in(update+"golden = \"a.json\""), "it", "that", 1), `13,10 Same golden file twice`},
		{in("citizen {}\ncitizen {}\n" + update), `4,1 Block stands twice`},
		{in("update = {}"), `3,1 Block written as an attribute`},
		{in(update + "now {}"), `6,1 Attribute written as a block`},
	} {
		dir := t.TempDir()
		_, diags := load(t, dir, c.text)
		var said []string
		for _, d := range diags {
			said = append(said, fmt.Sprintf("%d,%d %s: %s", d.Subject.Start.Line, d.Subject.Start.Column, d.Summary, strings.ReplaceAll(d.Detail, dir+string(os.PathSeparator), "")))
		}
		if all := strings.Join(said, "\n"); !strings.Contains("\n"+all, "\n"+c.want) {
			t.Errorf("%s\n%s\nwant\n%s", c.text, all, c.want)
		}
	}
}

// TestEnv: what test files say of the environment is before what it is, and they must agree.
func TestEnv(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	a, b := write("a.test.hcl", `env = { KEY = "a" }`), write("b.test.hcl", `env = { KEY = "a", OTHER = "b" }`)
	write(".hidden.test.hcl", "{{{")
	write("config.hcl", "{{{")
	names, err := Find([]string{dir, a})
	if err != nil || strings.Join(names, " ") != a+" "+b {
		t.Fatalf("%q, %v", names, err)
	}
	s, diags := Load(names)
	getenv, more := s.Env(func(name string) (string, bool) { return "real", name != "ABSENT" })
	if len(diags)+len(more) > 0 {
		t.Fatal(diags, more)
	}
	for name, want := range map[string]string{"KEY": "a", "OTHER": "b", "HOME": "real", "ABSENT": ""} {
		got, ok := getenv(name)
		if ok != (name != "ABSENT") || ok && got != want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	write("b.test.hcl", `env = { KEY = "b" }`)
	s, _ = Load(names)
	if _, diags := s.Env(os.LookupEnv); len(diags) != 1 || diags[0].Summary != "Two values of one variable" {
		t.Errorf("two values: %v", diags)
	}
	if _, diags := Load([]string{write("c.test.hcl", "\x00\x01")}); len(diags) != 1 || diags[0].Summary != "Not a test file" {
		t.Errorf("no text: %v", diags)
	}
}
