package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const root = "../../.."

// pages are the project's own, by their path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(root, path)
			all[name] = string(data)
		}
		return nil
	})
	if err != nil || len(all) < 8 {
		t.Fatalf("%d pages, %v", len(all), err)
	}
	return all
}

// fences are the code blocks of a page in one language, without the indentation of a list they may stand in.
func fences(page, language string) []string {
	var all []string
	for _, m := range regexp.MustCompile("(?ms)^( *)```"+language+"\n(.*?)^ *```").FindAllStringSubmatch(page, -1) {
		all = append(all, regexp.MustCompile("(?m)^"+m[1]).ReplaceAllString(m[2], ""))
	}
	return all
}

// What fragments refer to and do not define.
var scenery = map[string]string{
	`store "`:                   "store \"sqlite\" {\n  path = \"consentd.db\"\n}\n",
	`source "dataguard"`:        "source \"dataguard\" {\n  path = \"/webhooks/dataguard\"\n  update_type = \"effective-permission\"\n  auth \"none\" {}\n}\n",
	`option "newsletter_email"`: "option \"newsletter_email\" {\n  id = \"k3Rmx\"\n}\n",
	`preference "interests"`:    "preference \"interests\" {}\n",
	`target "`:                  "target \"file\" \"log\" {\n  config {\n    path = \"x\"\n  }\n}\n",
}

// complete makes a configuration of a fragment: of blocks of the top level, of an auth block, or of fields of a
// Salesforce record.
func complete(fragment string) string {
	switch {
	case regexp.MustCompile(`^\s*auth "`).MatchString(fragment):
		fragment = "source \"dataguard\" {\n  path = \"/webhooks/dataguard\"\n  update_type = \"effective-permission\"\n" + fragment + "}\n"
	case !regexp.MustCompile(`(?m)^[a-z_]+ ("[^"]*" ?)*{`).MatchString(fragment):
		fragment = "target \"salesforce\" \"crm\" {\n  config {\n    client_id = \"x\"\n    refresh_token = \"x\"\n  }\n}\n" +
			"rule \"r\" {\n  source = source.dataguard\n  target = target.crm\n  record {\n    object = \"Contact\"\n    external_id_field = \"X__c\"\n" +
			"    external_id = citizen.id\n    fields = {\n" + fragment + "\n    }\n  }\n}\n"
	}
	for begins, block := range scenery {
		if !strings.Contains(fragment, begins) {
			fragment += block
		}
	}
	return fragment
}

// TestHCLInDocs holds every HCL block of every page, and every example's configuration, to be valid.
func TestHCLInDocs(t *testing.T) {
	look()
	check := func(name, text string) {
		dir := t.TempDir()
		file := filepath.Join(dir, "config.hcl")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "people.csv"), []byte("id,mail,lang\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, "validate", "--offline", "--config", file)
		cmd.Env = os.Environ()
		for _, m := range regexp.MustCompile(`env\("([A-Z_]+)"`).FindAllStringSubmatch(text, -1) {
			cmd.Env = append(cmd.Env, m[1]+"="+secretFor(m[1]))
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	count := 0
	for name, page := range pages(t) {
		if name == "core/config/README.md" || name == "core/ruletest/README.md" {
			continue // they have tests of their own, with files that they speak of
		}
		for n, fragment := range fences(page, "hcl") {
			check(fmt.Sprintf("%s, block %d", name, n+1), complete(fragment))
			count++
		}
	}
	if count < 8 {
		t.Errorf("only %d blocks were found", count)
	}
	examples, err := filepath.Glob(root + "/examples/*/config.hcl")
	if err != nil || len(examples) < 3 {
		t.Fatalf("examples: %q, %v", examples, err)
	}
	for _, example := range append(examples, root+"/config.hcl.example") {
		text, err := os.ReadFile(example)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(example) != pythonExample { // it needs its plugin; TestPythonExample runs it
			check(example, string(text))
		}
		if out, err := exec.Command(binary, "fmt", "--check", example).CombinedOutput(); err != nil {
			t.Errorf("not formatted: %s", out)
		}
	}
}

// secretFor is a value of the shape that a variable of that name has.
func secretFor(name string) string {
	switch {
	case name == "CONSENTD_KEY":
		return strings.Repeat("0f", 32)
	case strings.Contains(name, "MAILCHIMP"):
		return "0123456789abcdef-us21"
	case strings.HasSuffix(name, "_DSN"):
		return "postgres://consentd@localhost/crm"
	case strings.HasSuffix(name, "_URL"):
		return "https://acme.my.salesforce.com"
	}
	return "a-value-that-is-long-enough"
}

// TestQuickstart runs the quickstart as it is written.
func TestQuickstart(t *testing.T) {
	look()
	page, err := os.ReadFile(root + "/examples/quickstart/README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	listener, admin := freeAddress(t), freeAddress(t)
	adapt := strings.NewReplacer("127.0.0.1:8484", listener, "127.0.0.1:8485", admin, "sleep 2", "await port "+listener, "sleep 1", "await settled")
	for _, name := range []string{"config.hcl", "mapping.test.hcl", "signup.json", "withdrawal.json"} {
		data, err := os.ReadFile(root + "/examples/quickstart/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if name == "config.hcl" {
			text += fmt.Sprintf("listener {\n  address = %q\n}\nadmin {\n  address = %q\n}\n", listener, admin)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	steps := fences(string(page), "sh")
	if len(steps) < 6 || !strings.HasPrefix(steps[0], "go build") {
		t.Fatalf("%d steps", len(steps))
	}
	script := prelude + adapt.Replace(strings.Join(steps[1:], "\n")) // the binary is there already
	cmd := exec.Command("bash", "-m", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "CONSENTD_ADMIN_ADDR="+admin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"The configuration is valid: 1 sources, 1 rules, 1 targets.",
		`"newsletter": true`,
		"6 passed, 0 failed.",
		`200 {"status":"accepted"}`,
		`200 {"status":"superseded"}`,
		`"newsletter":true`,
		`"newsletter":false`,
		"log     file  running",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	arrivals, err := os.ReadFile(filepath.Join(dir, "arrivals.jsonl"))
	if err != nil || strings.Count(string(arrivals), "\n") != 2 || !strings.Contains(strings.Split(string(arrivals), "\n")[1], `"newsletter":false`) {
		t.Errorf("arrivals:\n%s%v", arrivals, err)
	}
}

// TestLookupExample runs the commands of the example as they are written.
func TestLookupExample(t *testing.T) {
	page, err := os.ReadFile(root + "/examples/lookup/README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := fences(string(page), "sh")
	if len(steps) != 1 {
		t.Fatalf("%d steps", len(steps))
	}
	cmd := exec.Command("bash", "-e", "-c", steps[0])
	cmd.Dir = root + "/examples/lookup"
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"not rendered, as it reads the lookup crm, which was not asked; add --lookup to ask",
		`"key": "ada@example.org"`,
		"would wait\n  lookup \"crm\" knows nobody by these ids",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

// TestReadme runs the README's commands: the first until an update has reached each simulated vendor, the
// others to their end. The second is what runs this test.
func TestReadme(t *testing.T) {
	look()
	page, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := fences(string(page), "sh")
	if len(commands) != 3 || commands[0] != "go run ./core/cmd/consentd run --dev\n" || commands[1] != "go test ./...\n" {
		t.Fatalf("commands: %q", commands)
	}
	var out lockedBuffer
	cmd := exec.Command(binary, "run", "--dev")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "updates arrive at the simulated vendors", func() bool {
		s := out.String()
		return strings.Contains(s, "mailchimp   ada.lovelace@example.org subscribed") &&
			strings.Contains(s, "salesforce  Contact CPM_Id__c=citizen-1 HasOptedOutOfEmail=false") &&
			strings.Contains(s, "webhook     POST")
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("run --dev ended with %v\n%s", err, out.String())
		}
	case <-time.After(patience):
		t.Errorf("run --dev does not end on an interrupt\n%s", out.String())
		_ = cmd.Process.Kill()
	}

	script := strings.NewReplacer("go build -o consentd ./core/cmd/consentd", "true", "./consentd", binary).Replace(commands[2])
	use := exec.Command("bash", "-e", "-c", script)
	use.Dir = root
	use.Env = append(os.Environ(), "CPM_KEY=try-me")
	if out, err := use.CombinedOutput(); err != nil || !strings.Contains(string(out), "The configuration is valid") || !strings.Contains(string(out), "list_id (string; required)") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLinksInDocs: every relative link leads somewhere.
func TestLinksInDocs(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	all := pages(t)
	for name, page := range all {
		for _, m := range link.FindAllStringSubmatch(page, -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: %s leads nowhere", name, m[1])
			}
		}
	}
	if !slices.Contains(link.FindStringSubmatch("[a](b/c.md)"), "b/c.md") {
		t.Error("links are not found")
	}
}
