package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestChanges(t *testing.T) {
	const before = base + `
withdrawal_slo = "1m"

rule "a" {
  source = source.dataguard
  target = target.newsletter
  record {
    email = citizen.external_ref # who it is
  }
}
`
	bound := func(text string, environment map[string]string) *Config {
		t.Helper()
		c, diags := Parse(map[string][]byte{"main.hcl": []byte(text)}, func(name string) (string, bool) { v, ok := environment[name]; return v, ok })
		if !diags.HasErrors() {
			_, diags = c.Bind(types)
		}
		if diags.HasErrors() {
			t.Fatal(render(diags))
		}
		return c
	}
	for name, c := range map[string]struct {
		from, to string
		env      string
		want     []string
	}{
		"nothing":             {before, before, "", nil},
		"a comment, a line":   {before, strings.Replace(before, "# who it is", "\n # somebody\n", 1), "", nil},
		"the order":           {before, strings.Replace(before, `withdrawal_slo = "1m"`, "", 1) + `withdrawal_slo = "1m"`, "", nil},
		"an attribute":        {before, strings.Replace(before, `"1m"`, `"2m"`, 1), "", []string{"withdrawal_slo changed"}},
		"a rule":              {before, strings.Replace(before, "citizen.external_ref", "citizen.id", 1), "", []string{`rule "a" changed`}},
		"a name":              {before, strings.Replace(before, "k3Rmx", "p7Qaz", 1), "", []string{`option "newsletter_email" changed`}},
		"a target":            {before, before + "target \"file\" \"log\" {\nconfig {\npath = \"x\"\n}\n}\n", "", []string{`target "file" "log" added`}},
		"no target any more":  {before + "target \"file\" \"log\" {\nconfig {\npath = \"x\"\n}\n}\n", before, "", []string{`target "file" "log" removed`}},
		"another list":        {before, strings.Replace(before, `"l"`, `"m"`, 1), "", []string{`target "mailchimp" "newsletter" changed: its config comes to something else, so what it holds is not known and is sent again`}},
		"another key":         {strings.Replace(before, `"k"`, `"secret-1"`, 1), strings.Replace(before, `"k"`, `"secret-2"`, 1), "", []string{`target "mailchimp" "newsletter" changed: its config comes to something else, so what it holds is not known and is sent again`}},
		"another environment": {strings.Replace(before, `"k"`, `env("KEY")`, 1), strings.Replace(before, `"k"`, `env("KEY")`, 1), "secret-2", []string{`target "mailchimp" "newsletter" changed: its config comes to something else, so what it holds is not known and is sent again`}},
		"a source's key": {
			strings.Replace(before, `auth "none" {}`, "auth \"api_key\" {\nheader = \"X\"\nkeys = [\"secret-1\"]\n}", 1),
			strings.Replace(before, `auth "none" {}`, "auth \"api_key\" {\nheader = \"X\"\nkeys = [\"secret-2\"]\n}", 1), "",
			[]string{`source "dataguard" changed: what it takes from elsewhere, such as its credentials`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, change := range bound(c.from, map[string]string{"KEY": "secret-1"}).Changes(bound(c.to, map[string]string{"KEY": c.env})) {
				text := change.Block + " " + change.What
				if change.Note != "" {
					text += ": " + change.Note
				}
				got = append(got, text)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if strings.Contains(fmt.Sprint(got), "secret-") {
				t.Error("it shows a secret")
			}
		})
	}
}

// TestLoadAs: relative paths of a configuration start where it is to stand.
func TestLoadAs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "next.hcl")
	if err := os.WriteFile(path, []byte("store \"sqlite\" {\npath = \"x.db\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{"": filepath.Join(filepath.Dir(path), "x.db"), "/etc/consentd": "/etc/consentd/x.db"} {
		if c, diags := LoadAs(path, dir, getenv); diags.HasErrors() || c.Store.Path != want {
			t.Errorf("%q: %s, want %s; %s", dir, c.Store.Path, want, render(diags))
		}
	}
}
