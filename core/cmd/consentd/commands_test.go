package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commands says of every page with commands which test runs them, or why none does.
var commands = map[string]string{
	"README.md":                            "TestReadme",
	"core/console/README.md":               "it takes pictures while TestConsole runs, which it names; the suite runs that without them",
	"core/docs/getting-started.md":         "TestGettingStarted",
	"core/docs/operating.md":               "TestOperatingPage",
	"core/fault/README.md":                 "they are that package's tests, which the suite runs in their short form",
	"core/ruletest/README.md":              "TestRuleTestReadme",
	"core/store/postgres/README.md":        "TestMigrateToPostgres",
	"examples/quickstart/README.md":        "TestQuickstart",
	"examples/lookup/README.md":            "TestLookupExample",
	"examples/custom-target/README.md":     "TestCustomTarget",
	"examples/python-target/README.md":     "TestPythonExample",
	"sdk/README.md":                        "TestAuthorsGuide",
	"sdk/scaffold/acme/README.md":          "TestScaffold",
	"core/admin/README.md":                 "its one command is run by testdata/script/token.txtar",
	"core/daemon/README.md":                "its commands are run by TestPlan with the ID of a real plan",
	"examples/braze/README.md":             vendorCommands,
	"examples/brevo/README.md":             vendorCommands,
	"examples/dataverse/README.md":         vendorCommands,
	"examples/hubspot/README.md":           vendorCommands,
	"examples/klaviyo/README.md":           vendorCommands,
	"examples/mailchimp/README.md":         vendorCommands,
	"examples/marketo/README.md":           vendorCommands,
	"examples/salesforce/README.md":        vendorCommands,
	"examples/deploy/README.md":            "they take a registry or a cluster; the image is built and run by TestDockerImage, the archives by TestRelease, the manifests and the chart are checked by examples/deploy/check",
	"examples/deploy/systemd/README.md":    "they install a service for good; TestUnderSystemd boots a systemd and takes the unit through the same",
	"examples/deploy/prometheus/README.md": "they are Prometheus' own; its rules and their tests are checked by alerts_test.go",
}

const vendorCommands = "they take an account at the vendor; consentd test is run by TestExampleTests, the configuration by TestHCLInDocs, and the path to the vendor's simulator by vendor_*_test.go"

// languages are those of a page's code blocks, in their order; empty for one that names none.
func languages(page string) []string {
	var all []string
	for n, m := range regexp.MustCompile("(?m)^ *```(.*)$").FindAllStringSubmatch(page, -1) {
		if n%2 == 0 {
			all = append(all, m[1])
		}
	}
	return all
}

// TestCommandsInDocs: no page has commands of which nobody knows whether they work.
func TestCommandsInDocs(t *testing.T) {
	var sources strings.Builder
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		sources.WriteString(readPage(t, file))
	}
	with := map[string]bool{}
	for name, page := range pages(t) {
		for n, of := range languages(page) {
			if of == "" {
				t.Errorf("%s: block %d has no language; write sh for commands, or text", name, n+1)
			}
		}
		if len(fences(page, "sh")) > 0 {
			with[name] = true
			if commands[name] == "" {
				t.Errorf("%s has commands: run them in a test, or say here why not", name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if !with[name] {
			t.Errorf("%s has no commands", name)
		}
		if by := commands[name]; !strings.Contains(by, " ") && !strings.Contains(sources.String(), "func "+by+"(t *testing.T)") {
			t.Errorf("%s: there is no test %s", name, by)
		}
	}
}

// TestSourcesOfComparison: what is said to be documented names where, and no source stands there unused.
func TestSourcesOfComparison(t *testing.T) {
	said, sources, found := strings.Cut(readPage(t, root+"/core/docs/comparison.md"), "\n## Sources\n")
	mark := regexp.MustCompile(`\bD[0-9]+[a-z]?\b`)
	named := map[string]bool{}
	for line := range strings.SplitSeq(sources, "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 2 && mark.MatchString(cells[1]) {
			named[strings.TrimSpace(cells[1])] = true
		}
	}
	used := mark.FindAllString(said, -1)
	for _, m := range used {
		if !named[m] {
			t.Errorf("%s has no source", m)
		}
	}
	for m := range named {
		if !slices.Contains(used, m) {
			t.Errorf("the source %s is used nowhere", m)
		}
	}
	if !found || len(named) < 15 {
		t.Errorf("%d sources", len(named))
	}
}

// TestGettingStarted runs every command of the page as it is written, at addresses of its own.
func TestGettingStarted(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is missing")
		}
		t.Skip("curl is missing, which the page's commands use")
	}
	look()
	page := readPage(t, root+"/core/docs/getting-started.md")
	steps := fences(page, "sh")
	if len(steps) < 12 || !strings.HasPrefix(steps[0], "go build") {
		t.Fatalf("%d steps", len(steps))
	}
	listener, admin := freeAddress(t), freeAddress(t)
	script := strings.Join(steps[1:], "\n") // the binary is there already
	configuration, rest, _ := strings.Cut(script, "\nEND\n")
	script = configuration + fmt.Sprintf("\nlistener {\n  address = %q\n}\nadmin {\n  address = %q\n}\nEND\n", listener, admin) + rest
	script = "set -eE\ntrap 'echo \"did not work: $BASH_COMMAND\"' ERR\ntrap 'exit 1' USR1\ntrap 'kill %1 2>/dev/null || true' EXIT\n" +
		strings.NewReplacer("127.0.0.1:8484", listener, "127.0.0.1:8485", admin).Replace(script)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-m", "-c", script)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGUSR1) } // so that it stops the daemon
	cmd.WaitDelay = 10 * time.Second
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(cmd.Dir, "daemon.log"))
		t.Fatalf("%v\n%s\n%s", err, out, tail(string(log), 20))
	}
	for _, want := range []string{
		fences(page, "text")[0], // the mistake, as the page shows it
		"that is no good",
		"The configuration is valid: 1 sources, 1 rules, 1 targets.",
		`200 {"status":"superseded"}`,
		"withdrawal\":true",
		"1 passed, 0 failed.",
		"is in force",
		"1 replayed",
		"No dead letters.",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if arrivals := readPage(t, filepath.Join(cmd.Dir, "arrivals.jsonl")); strings.Count(arrivals, "\n") != 3 {
		t.Errorf("arrivals:\n%s", arrivals)
	}
}

// TestAnchorsInDocs: every link into a page leads to one of its headings.
func TestAnchorsInDocs(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	noise := regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
	link := regexp.MustCompile(`\]\(([^)#:]*)#([^)]*)\)`)
	all, count := pages(t), 0
	for name, page := range all {
		for _, m := range link.FindAllStringSubmatch(page, -1) {
			target := name
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(name), m[1])
			}
			there := slices.ContainsFunc(heading.FindAllStringSubmatch(all[target], -1), func(h []string) bool {
				return strings.ReplaceAll(noise.ReplaceAllString(strings.ToLower(strings.TrimSpace(h[1])), ""), " ", "-") == m[2]
			})
			if count++; !there {
				t.Errorf("%s: there is no heading %q in %s", name, m[2], target)
			}
		}
	}
	if count < 40 {
		t.Errorf("only %d links were found", count)
	}
}
