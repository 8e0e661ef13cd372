package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/consentd/consentd/core/ruletest"
)

// bare is the environment without what configurations read.
func bare() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CPM_") && !strings.HasPrefix(v, "CONSENTD_") {
			env = append(env, v)
		}
	}
	return env
}

// TestExampleTests: the rules of every example pass their tests, which see each of them grant and refuse.
func TestExampleTests(t *testing.T) {
	look()
	for _, example := range []string{"braze", "brevo", "dataverse", "hubspot", "klaviyo", "lookup", "mailchimp", "marketo", "quickstart", "salesforce"} {
		t.Run(example, func(t *testing.T) {
			dir := filepath.Join(root, "examples", example)
			cmd := exec.Command(binary, "test", "--json", "--config", filepath.Join(dir, "config.hcl"))
			cmd.Env = bare()
			out, err := cmd.Output()
			var report ruletest.Report
			if decode := json.Unmarshal(out, &report); err != nil || decode != nil {
				t.Fatalf("%v, %v\n%s", err, decode, out)
			}
			if report.Passed < 5 || report.Failed != 0 {
				t.Errorf("%d passed, %d failed", report.Passed, report.Failed)
			}
			c := report.Coverage
			for _, r := range c.Rules {
				for _, p := range r.Permissions {
					if !p.Granted || !p.Refused {
						t.Errorf("rule %q: of %s granted is %v, refused %v", r.Rule, p.Name, p.Granted, p.Refused)
					}
				}
				if r.Tests == 0 {
					t.Errorf("rule %q has no test", r.Rule)
				}
			}
			if len(c.Rules) == 0 || len(c.UnreadOptions)+len(c.UnreadPreferences) > 0 {
				t.Errorf("%d rules, which do not read %v %v", len(c.Rules), c.UnreadOptions, c.UnreadPreferences)
			}
			if out, err := exec.Command(binary, "fmt", "--check", filepath.Join(dir, "mapping.test.hcl")).CombinedOutput(); err != nil {
				t.Errorf("not formatted: %s", out)
			}
		})
	}
}

// TestRuleTestReadme runs the example of the reference and compares what it prints; its other tests pass.
func TestRuleTestReadme(t *testing.T) {
	look()
	page, err := os.ReadFile(root + "/core/ruletest/README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, printed := fences(string(page), "hcl"), fences(string(page), "text")
	if len(blocks) < 3 || len(printed) != 1 {
		t.Fatalf("%d blocks, %d outputs", len(blocks), len(printed))
	}
	dir := t.TempDir()
	for i, name := range []string{"config.hcl", "rules.test.hcl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(blocks[i]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	test := func(args ...string) string {
		cmd := exec.Command(binary, append([]string{"test", "--config", "config.hcl"}, args...)...)
		cmd.Dir, cmd.Env = dir, bare()
		out, _ := cmd.Output()
		return string(out)
	}
	if got := test(); got != printed[0] {
		t.Errorf("got\n%s\nwant\n%s", got, printed[0])
	}
	for _, b := range blocks[2:] {
		if err := os.WriteFile(filepath.Join(dir, "more.test.hcl"), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := test("more.test.hcl"); !strings.Contains(got, ", 0 failed.") {
			t.Errorf("%s\nof\n%s", got, b)
		}
	}
	for _, b := range blocks {
		cmd := exec.Command(binary, "fmt", "-")
		cmd.Stdin = strings.NewReader(b)
		if out, err := cmd.Output(); err != nil || string(out) != b {
			t.Errorf("%v, not formatted; it should be\n%s", err, out)
		}
	}
}
