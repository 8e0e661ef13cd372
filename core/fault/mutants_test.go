package fault

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mutant is the product with one law broken.
type mutant struct {
	name  string
	edits []edit
	// tests are those that have to notice, as for -run.
	tests string
}

// edit puts new in place of old, which is found once in the file.
type edit struct{ file, old, new string }

var mutants = []mutant{
	{
		name: "commits without a sync",
		edits: []edit{
			{"core/store/sqlite/sqlite.go", `"synchronous(FULL)"`, `"synchronous(NORMAL)"`},
		},
		tests: "TestPowerCut",
	},
	{
		name: "the store answers before it commits",
		edits: []edit{
			{"core/store/sqlite/accept.go", "err := s.do(ctx, func(w *writer) error {\n\t\troutes, err := s.routesOf(u.Source)",
				"var err error\n\tgo s.do(context.WithoutCancel(ctx), func(w *writer) error {\n\t\troutes, err := s.routesOf(u.Source)"},
		},
		tests: "TestKill",
	},
	{
		name: "the listener answers before the store does",
		edits: []edit{
			{"core/webhook/listener.go", "verdict, err := l.store.Accept(committing, consent.Update{", "var verdict consent.Verdict\n\tgo l.store.Accept(context.WithoutCancel(committing), consent.Update{"},
		},
		tests: "TestKill",
	},
	{
		name: "versions are not compared",
		edits: []edit{
			{"core/consent/apply.go", "func older(next, current Citizen) bool {", "func older(next, current Citizen) bool {\n\tif true {\n\t\treturn false\n\t}"},
		},
		tests: "TestKill",
	},
	{
		name: "a delta replaces what was known, so that coalescing loses the one before",
		edits: []edit{
			{"core/consent/apply.go", "for _, p := range partial.Permissions {", "if len(partial.Permissions) > 0 {\n\t\tmerged.Permissions = nil\n\t}\n\tfor _, p := range partial.Permissions {"},
		},
		tests: "TestDeltas",
	},
	{
		name: "an old record is sent again in place of the newest state",
		edits: []edit{
			{"core/store/internal/states/states.go", "s.Version == version", "s.State != nil"},
			{"core/store/internal/states/states.go", "c.of[citizen] = state", "if c.of[citizen].State == nil {\n\t\tc.of[citizen] = state\n\t}"},
		},
		tests: "TestKill",
	},
	{
		name: "a delivery of the state before settles the newest",
		edits: []edit{
			{"core/store/sqlite/settle.go", "case desired == st.Claim.Desired:", "case st.Status == store.Settled:\n\t\tst.Claim.Desired = desired\n\t\treturn w.settleAs(st, was)\n\tcase desired == st.Claim.Desired:"},
		},
		tests: "TestKill$|TestDeltas",
	},
	{
		name: "a failed sync is taken for a full disk",
		edits: []edit{
			{"core/store/sqlite/writer.go", "if code(err) == sqlite3.SQLITE_FULL {", "if c := code(err); c == sqlite3.SQLITE_FULL || c == sqlite3.SQLITE_IOERR {"},
			{"core/store/sqlite/writer.go", "case sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY,", "case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY,"},
		},
		tests: "TestSyncFails$",
	},
	{
		name: "a failed commit is answered like one that succeeded",
		edits: []edit{
			{"core/store/sqlite/writer.go", "if err := w.exec(w.stmts.commit); err != nil {", "if err := w.exec(w.stmts.commit); err != nil && false {"},
		},
		tests: "TestSyncFails$",
	},
	{
		name: "a full disk ends the process",
		edits: []edit{
			{"core/store/sqlite/writer.go", "case sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY,", "case sqlite3.SQLITE_BUSY,"},
			{"core/store/sqlite/writer.go", "if code(err) == sqlite3.SQLITE_FULL {", "if false {"},
		},
		tests: "TestDiskFullForAWhile",
	},
	{
		name: "a damaged store is replaced by an empty one",
		edits: []edit{
			{"core/store/sqlite/sqlite.go", "s, err := open(ctx, path, keys)", "s, err := open(ctx, path, keys)\n\tif err != nil {\n\t\tos.Remove(path)\n\t\tos.Remove(path + \"-wal\")\n\t\ts, err = open(ctx, path, keys)\n\t}"},
		},
		tests: "TestDamagedStore",
	},
	{
		name: "access tokens are good for one process only",
		edits: []edit{
			{"core/webhook/access.go", "key, err := hkdf.Key(sha256.New, []byte(refresh),", "key, err := hkdf.Key(sha256.New, []byte(refresh+rand.Text()),"},
		},
		tests: "TestTokensOutliveTheProcess",
	},
	{
		name: "401 is the record's fault",
		edits: []edit{
			{"sdk/outcome.go", "status == 407:\n\t\to.Kind = KindUnauthorized", "status == 407:\n\t\to.Kind = KindRejected"},
		},
		tests: "TestBadTargets",
	},
	{
		name: "Retry-After is not heeded",
		edits: []edit{
			{"core/dispatch/gate.go", "wait := named(atLeast)", "wait := named(0)"},
		},
		tests: "TestBadTargets",
	},
	{
		name: "plugins outlive a killed daemon",
		edits: []edit{
			{"core/supervise/process_linux.go", ", Pdeathsig: syscall.SIGKILL", ""},
			{"core/supervise/confine_linux.go", "unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL)", "unix.PR_SET_PDEATHSIG, 0"},
			{"sdk/serve.go", "\tgo exitWithParent(os.Getppid(), log)\n", ""},
		},
		tests: "TestKill",
	},
	{
		name: "what a plugin started outlives it",
		edits: []edit{
			{"core/supervise/process_linux.go", ", Cloneflags: unix.CLONE_NEWPID", ""},
		},
		tests: "TestBadPlugins",
	},
	{
		name: "a plugin that hangs is taken for a slow one",
		edits: []edit{
			{"core/supervise/target.go", "status.Code(err) == codes.DeadlineExceeded {", "status.Code(err) == codes.OK {"},
		},
		tests: "TestBadPlugins",
	},
	{
		name: "a plugin takes what memory it likes",
		edits: []edit{
			{"core/supervise/limits.go", "case memory > l.Memory:", "case false:"},
		},
		tests: "TestBadPlugins",
	},
	{
		name: "a flood is logged whole",
		edits: []edit{
			{"core/supervise/pluginlog.go", "len(l.waiting) > 0 && l.limit.Allow()", "len(l.waiting) > 0"},
		},
		tests: "TestBadPlugins",
	},
	{
		name: "bodies are read to their end",
		edits: []edit{
			{"core/webhook/body.go", "if size > l.limit {", "if false {"},
			{"core/webhook/body.go", "all := http.MaxBytesReader(w, r.Body, l.limit)", "all := r.Body"},
		},
		tests: "TestHostileSenders/a_body",
	},
	{
		name: "a lease ends for others before its time",
		edits: []edit{
			{"core/store/postgres/replica.go", "WHERE lease_until < clock_timestamp() FOR UPDATE", "WHERE lease_until < clock_timestamp() + interval '3s' FOR UPDATE"},
		},
		tests: "TestTakeOver",
	},
	{
		name: "a replica takes updates in by its own rules",
		edits: []edit{
			{"core/store/postgres/routing.go", "if seen == r.seen {", "if true {"},
		},
		tests: "TestReloadsOfReplicas",
	},
	{
		name: "a replica is handed what it has no rule for",
		edits: []edit{
			{"core/store/postgres/claim.go", "$8::text[] IS NULL OR rule = ANY($8)", "true OR $8::text[] IS NULL OR rule = ANY($8)"},
		},
		tests: "TestReloadsOfReplicas",
	},
}

// TestMutants breaks the product's source, builds it, and runs the tests that have to notice over what came
// out. It takes minutes, so it has a flag.
func TestMutants(t *testing.T) {
	if !*mutantsFlag {
		t.Skip("only with -mutants")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			tree := copyTree(t)
			m.apply(t, tree)
			mutated := filepath.Join(tree, "consentd")
			if err := build(mutated, tree); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, "-test.run", m.tests, "-binary", mutated, "-test.timeout", "5m")
			cmd.Env = append(os.Environ(), "CI=true") // what is skipped notices nothing
			out, err := cmd.CombinedOutput()
			failed := regexp.MustCompile(`--- FAIL: (\S+)`).FindAllStringSubmatch(string(out), -1)
			if err == nil || len(failed) == 0 {
				t.Fatalf("nothing noticed:\n%s", out)
			}
			complaint := regexp.MustCompile(`\w+_test\.go:\d+: (.*)`).FindAllStringSubmatch(string(out), -1)
			for _, c := range complaint {
				if !strings.HasPrefix(c[1], "-seed") && !strings.HasPrefix(c[1], "log of") {
					t.Logf("%s: %s", failed[0][1], c[1])
					return
				}
			}
			t.Logf("%s", failed[0][1])
		})
	}
}

// copyTree copies what the daemon is built of.
func copyTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	for _, part := range []string{"core", "sdk", "plugins"} {
		if err := os.CopyFS(filepath.Join(tree, part), os.DirFS(filepath.Join("../..", part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join("../..", part))
		if err == nil {
			err = os.WriteFile(filepath.Join(tree, part), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// TestMutantsAreUpToDate: what the mutants change is where they look for it.
func TestMutantsAreUpToDate(t *testing.T) {
	for _, m := range mutants {
		m.mutate(t, "../..")
	}
}

func (m mutant) apply(t *testing.T, tree string) {
	t.Helper()
	for file, content := range m.mutate(t, tree) {
		if err := os.WriteFile(filepath.Join(tree, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// mutate is the content of the files that it changes.
func (m mutant) mutate(t *testing.T, tree string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, e := range m.edits {
		content, read := files[e.file]
		if !read {
			raw, err := os.ReadFile(filepath.Join(tree, e.file))
			if err != nil {
				t.Errorf("%s: %v: bring the mutant up to date", m.name, err)
			}
			content = string(raw)
		}
		if n := strings.Count(content, e.old); n != 1 {
			t.Errorf("%s: %s has %q %d times: bring the mutant up to date", m.name, e.file, e.old, n)
		}
		files[e.file] = strings.Replace(content, e.old, e.new, 1)
	}
	return files
}
