package main

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/consentd/consentd/"

// floors are the packages from the ground up. A package imports from floors below its own alone, so that
// whoever reads one never has to look up.
var floors = []string{
	"sdk/targetpb sdk/internal/wire",
	"sdk",
	"sdk/host sdk/httpclient sdk/batch",
	"sdk/sdktest",
	"sdk/scaffold/acme/fake",
	"sdk/scaffold sdk/scaffold/acme sdk/scaffold/acme/fake/serve",
	"plugins/internal/*",
	"plugins/*",
	"plugins",
	"core/consent core/rules/eval",
	"core/rules core/store core/lookup core/cpm",
	"core/store/internal/*",
	"core/config core/store/* core/plan",
	"core/trace",
	"core/supervise core/webhook core/webhook/sender core/admin",
	"core/dispatch core/ruletest core/console",
	"core/cpm/sim core/repair",
	"core/reconcile",
	"core/daemon",
	"core/cli core/bench",
	"core/cmd/consentd core/fault",
}

func floorOf(pkg string) int {
	pkg = strings.TrimPrefix(pkg, module)
	for n, floor := range floors {
		for _, p := range strings.Fields(floor) {
			if prefix, wild := strings.CutSuffix(p, "*"); p == pkg || wild && strings.HasPrefix(pkg, prefix) {
				return n
			}
		}
	}
	return -1
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = "../../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestImportsPointDown(t *testing.T) {
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		pkg, imports, _ := strings.Cut(line, " ")
		floor := floorOf(pkg)
		if floor < 0 {
			t.Errorf("%s is on no floor: give it one", pkg)
			continue
		}
		for _, i := range strings.Fields(imports) {
			if !strings.HasPrefix(i, module) {
				continue
			}
			onePlugin := strings.HasPrefix(pkg, module+"plugins/") && strings.HasPrefix(i, module+strings.Join(strings.Split(strings.TrimPrefix(pkg, module), "/")[:2], "/"))
			if below := floorOf(i); below >= floor && !onePlugin && !strings.HasPrefix(i, pkg+"/") {
				t.Errorf("%s imports %s, which is not below it", pkg, i)
			}
		}
	}
}

// TestDependencies holds what each part may depend on at all, by whatever way.
func TestDependencies(t *testing.T) {
	for _, tc := range []struct {
		of    string
		never []string
	}{
		{"./sdk/...", []string{module + "core", module + "plugins", "github.com/hashicorp/hcl", "github.com/zclconf/go-cty"}},
		{"./plugins/...", []string{module + "core", "github.com/hashicorp/hcl", "modernc.org/sqlite"}},
		{"./core/consent", []string{module + "core/", module + "sdk", module + "plugins"}},
		{"./core/cli", []string{module + "plugins"}},
		{"./core/daemon", []string{module + "plugins"}},
		{"./core/rules", []string{"database/sql"}},
		{"./core/lookup", []string{module + "core/store", module + "core/dispatch"}},
	} {
		for _, dep := range goList(t, "-deps", tc.of) {
			for _, never := range tc.never {
				if strings.HasPrefix(dep, never) && dep != module+strings.TrimPrefix(tc.of, "./") {
					t.Errorf("%s depends on %s", tc.of, dep)
				}
			}
		}
	}
}
