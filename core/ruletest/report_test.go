package ruletest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// TestCoverage: a test covers what it has an expectation of.
func TestCoverage(t *testing.T) {
	text := `
source = source.dataguard
test "one" {` + strings.Replace(granted, "source = source.dataguard", "", 1) + `
  update {
    permission "email" {
      state = "DENIED"
    }
    permission "post" {
      state = "OBJECTED"
    }
    preference "interests" {
      choices = ["a"]
    }
    expect "main" { records = [{ key = "ada", fields = { email = false, until = null, big = 9007199254740993, half = 0.5, likes = ["a"], post = false } }] }
  }
  expect "silent" { records = [] }
}
test "two" {` + strings.Replace(granted, "source = source.dataguard", "", 1) + `
  expect "main" { records = [{ key = "ada", fields = { ` + fields + ` } }] }
}
`
	s, diags := load(t, t.TempDir(), text)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	r := s.Run(Options{})
	if r.Passed != 2 {
		t.Fatal(failures(r, ""))
	}
	c := r.Coverage
	if got := c.Rules[0]; got.Rule != "main" || got.Tests != 2 ||
		!slices.Equal(got.Permissions, []PermissionCoverage{{"email", true, true}, {"post", false, true}}) {
		t.Errorf("main: %+v", got)
	}
	if got := c.Rules[1]; got.Rule != "each" || got.Tests != 0 || len(got.Permissions) != 0 {
		t.Errorf("each: %+v", got)
	}
	if got := c.Rules[2]; got.Rule != "silent" || got.Tests != 0 || !slices.Equal(got.Permissions, []PermissionCoverage{{"post", false, true}}) {
		t.Errorf("silent: %+v", got)
	}
	if !slices.Equal(c.UnreadOptions, []string{"unread"}) || !slices.Equal(c.UnreadPreferences, []string{"unheard"}) {
		t.Errorf("unread: %v, %v", c.UnreadOptions, c.UnreadPreferences)
	}
	var warned []string
	for _, d := range s.Warnings(c) {
		warned = append(warned, strings.Fields(d.Detail)[3], d.Subject.Filename)
		if d.Severity != hcl.DiagWarning {
			t.Errorf("%v is more than a warning", d)
		}
	}
	if got, want := strings.Join(warned, " "), "permission.unread, config.hcl preference.unheard, config.hcl"+strings.Repeat(" a config.hcl", 5); got != want {
		t.Errorf("warnings of %s, want %s", got, want)
	}
	// What is not known was not refused.
	alone := runAll(t, t.TempDir(), "test \"it\" {"+granted+`expect "main" { records = [{ key = "ada", fields = { `+fields+" } }] }\n}\n", Options{})
	if got := alone.Coverage.Rules[0]; !slices.Equal(got.Permissions, []PermissionCoverage{{"email", true, false}, {"post", false, false}}) {
		t.Errorf("main, of whom post is not known: %+v", got)
	}
	if some := s.Run(Options{Match: func(name string) bool { return name == "two" }}); len(some.Tests) != 1 || some.Coverage != nil {
		t.Errorf("one of them: %+v", some)
	}
}

// TestGolden: a golden file is written when it is asked for, and compared otherwise.
func TestGolden(t *testing.T) {
	dir := t.TempDir()
	text := `test "it" {` + strings.Replace(granted, `"GRANTED"`, "\"GRANTED\"\n channel = \"fax\"", 1) + "golden = \"all.json\"\n}\n"
	name := filepath.Join(dir, "all.json")
	if got := failures(runAll(t, dir, text, Options{}), dir); !strings.Contains(got, "there is no all.json: run again with --update") {
		t.Error(got)
	}
	r := runAll(t, dir, text, Options{Update: true})
	const want = `{
  "main": [
    {
      "fields": {
        "big": 9007199254740993,
        "email": true,
        "half": 0.5,
        "likes": [],
        "until": null
      },
      "key": "ada"
    }
  ],
  "each": [],
  "silent": [],
  "fails": {
    "error": "fields: invalid function argument"
  },
  "asks": []
}
`
	if got := string(r.Golden[name]); got != want || r.Passed != 1 {
		t.Fatalf("%s%s", got, failures(r, dir))
	}
	for content, complaint := range map[string]string{
		want: "",
		strings.Replace(want, `"silent": []`, `"silent": [{"key": "x"}]`, 1): `/silent/0: expected {"key":"x"}, got nothing`,
		strings.Replace(want, `true`, `false`, 1):                            "/main/0/fields/email: expected false, got true",
		"{": "all.json is not as --update writes it",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r := runAll(t, dir, text, Options{})
		if got := failures(r, dir); complaint == "" && got != "" || !strings.Contains(got, complaint) || len(r.Golden) > 0 {
			t.Errorf("%s, want %s", got, complaint)
		}
	}
}

// TestJUnit: the report holds together as XML, whatever a test is called.
func TestJUnit(t *testing.T) {
	text := `test "a <b> & \"c\"` + "\\u0007" + `" {` + granted + `expect "each" { records = [{ key = "<&>" }] }` + "\n}\n"
	var b bytes.Buffer
	if err := runAll(t, t.TempDir(), text, Options{}).WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<testsuites tests="1" failures="1">`, `name="a &lt;b&gt; &amp; &#34;c&#34;`, `<failure message="rule &#34;each&#34;: expected 1 record, got 0">`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}
