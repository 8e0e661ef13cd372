package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// prelude begins a script of a page's commands. Where a person waits for seconds, the test waits for what has to happen.
const prelude = `set -e
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
await() { for n in $(seq 600); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.1; done; echo "in vain: $*"; exit 1; }
port() { (: <"/dev/tcp/${1/:/\/}"); }
settled() { s=$(consentd status --json) && grep -q '"pending": 0' <<<"$s" && ! grep -q '"erasures": [1-9]' <<<"$s"; }
`

// walk does what a page says, in a folder of its own, with consentd on the path: it runs what is in sh, applies what
// is a diff, and writes what is in go into a file. It returns all that was printed.
func walk(t *testing.T, dir, page, goFile string) string {
	t.Helper()
	listener, admin, vendor := freeAddress(t), freeAddress(t), freeAddress(t)
	ports := fmt.Sprintf("listener {\n  address = %q\n}\nadmin {\n  address = %q\n}\n", listener, admin)
	if err := os.WriteFile(filepath.Join(dir, "ports.hcl"), []byte(ports), 0o600); err != nil {
		t.Fatal(err)
	}
	adapt := strings.NewReplacer(
		"127.0.0.1:8484", listener, "127.0.0.1:8485", admin,
		// tidy asks for the tests of every dependency, which the module cache need not have; this for what is built.
		"go mod tidy", "go get -t ./...\nsed -i s/127.0.0.1:8486/"+vendor+"/ try/config.hcl fake/serve/main.go",
		"try/vendor &", "try/vendor &\nawait port "+vendor,
		"consentd run --config try &", "cp $base/ports.hcl try\nconsentd run --config try &\nawait port "+listener,
		"sleep 3", "true",
		"sleep 1", "await settled",
	)
	script, builds := prelude+"base=$PWD\n", 0
	for _, m := range regexp.MustCompile("(?ms)^```(sh|diff|go)\n(.*?)^```").FindAllStringSubmatch(page, -1) {
		switch language, text := m[1], m[2]; {
		case strings.HasPrefix(text, "go build -o consentd "):
			builds++ // is there already
		case language == "sh":
			script += adapt.Replace(text)
		case language == "go":
			script += "cat > " + goFile + " <<'EOF'\n" + text + "EOF\n"
		default:
			script += "git apply -p0 <<'EOF'\n" + text + "EOF\n"
			if strings.HasPrefix(text, "--- fake/") {
				script += "if go test ./... >red.txt; then echo 'the kit does not notice what the fake does now'; exit 1; fi\n"
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-m", "-c", script)
	cmd.Dir, cmd.WaitDelay = dir, patience
	cmd.Env = append(os.Environ(),
		"PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "CONSENTD_ADMIN_ADDR="+admin, "CONSENTD_CONFIG=", "GOWORK=off", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// inOrder is whether all that is wanted was printed, one after the other.
func inOrder(t *testing.T, out string, wanted ...string) {
	t.Helper()
	rest := out
	for _, want := range wanted {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q where it should be in\n%s", want, out)
		}
		rest = after
	}
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// TestAuthorsGuide goes the author's way as sdk/README.md has it: from nothing to a plugin that delivers.
func TestAuthorsGuide(t *testing.T) {
	t.Parallel()
	out := walk(t, t.TempDir(), readPage(t, root+"/sdk/README.md"), "check.go")
	inOrder(t, out,
		"consentd-plugin-acme has a plugin for the target type acme",
		"ok  \tconsentd-plugin-acme",
		"ok  \tconsentd-plugin-acme",
		"newsletter (bool)",
		"acme: works\n",
		"The configuration is valid: 1 sources, 1 rules, 1 targets.",
		`PATCH /v2/contacts/ada@example.org, and Acme holds {"ada@example.org":{"newsletter":"in"}}`,
		`PATCH /v2/contacts/ada@example.org, and Acme holds {"ada@example.org":{"newsletter":"out"}}`,
	)
}

// TestScaffold takes what plugin new writes as it is, and does what its README says.
func TestScaffold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	module := filepath.Join(dir, "here")
	if out, err := exec.Command(binary, "plugin", "new", "snow_man", "--dir", module, "--module", "example.com/snow").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	unformatted, err := exec.Command("gofmt", "-l", module).CombinedOutput()
	if err != nil || len(unformatted) > 0 {
		t.Errorf("not formatted: %s%v", unformatted, err)
	}
	if out, err := exec.Command(binary, "fmt", "--check", filepath.Join(module, "try")).CombinedOutput(); err != nil {
		t.Errorf("not formatted: %s", out)
	}
	out := walk(t, module, readPage(t, module+"/README.md"), "")
	inOrder(t, out,
		"ok  \texample.com/snow",
		"Snow man is at http://",
		"The configuration is valid",
		`PATCH /people/ada@example.org, and Snow man holds {"ada@example.org":{"email":"ada@example.org","newsletter":true}}`,
		`PATCH /people/ada@example.org, and Snow man holds {"ada@example.org":{"email":"ada@example.org","newsletter":false}}`,
	)
	// A plugin that cannot tell whether its credentials work is not said to work.
	cmd := exec.Command(binary, "plugin", "check", "snow_man", "--config", filepath.Join(module, "try"))
	said, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || string(said) != "snow_man: plugin snow_man cannot tell: it has no Check\n" {
		t.Errorf("check without one: exit code %d, %s", cmd.ProcessState.ExitCode(), said)
	}
	described, err := exec.Command(binary, "plugin", "describe", "snow_man", "--json", "--config", filepath.Join(module, "try")).CombinedOutput()
	if err != nil || !strings.Contains(string(described), `"version": "0.1.0"`) {
		t.Errorf("describe: %v, %s", err, described)
	}
}

// TestCustomTarget does what the example's README says: a grant, a withdrawal and an erasure reach its table.
func TestCustomTarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(root+"/examples/custom-target")); err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	edit := exec.Command("go", "mod", "edit", "-replace", module[:len(module)-1]+"="+source)
	edit.Dir = dir
	if out, err := edit.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out := walk(t, dir, readPage(t, dir+"/README.md"), "")
	inOrder(t, out,
		"ok  \texample.com/consentd-plugin-maildb",
		"plugin \"maildb\" {\n  sha256 = [\"",
		"mailer: works\n",
		"The configuration is valid",
		"ada@example.org newsletter allowed=true\nrows: 1\n",
		"ada@example.org newsletter allowed=false\nrows: 1\n",
		"rows: 0\n",
	)
	if out, err := exec.Command(binary, "fmt", "--check", filepath.Join(dir, "try", "config.hcl")).CombinedOutput(); err != nil {
		t.Errorf("not formatted: %s", out)
	}

	// What the plugin was not given it cannot write, and says which line to mend.
	config := filepath.Join(dir, "try", "config.hcl")
	text := regexp.MustCompile(`(?m)^  write .*\n`).ReplaceAllString(readPage(t, config), "")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", "export MAILDB_SHA256=$(sha256sum try/plugins.d/* | cut -d ' ' -f 1)\n"+binary+" plugin check maildb --config try/config.hcl")
	cmd.Dir = dir
	said, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(said), "name its folder in write of the plugin block") || !strings.Contains(string(said), "config.hcl:") {
		t.Errorf("without write: exit code %d\n%s", cmd.ProcessState.ExitCode(), said)
	}
}
