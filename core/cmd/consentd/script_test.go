package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var updateScripts = flag.Bool("update", false, "rewrite what is made: the expected output in testdata/script, core/docs/targets.md")

// TestScripts runs the command line as testdata/script says, on the built binary.
func TestScripts(t *testing.T) {
	look()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *updateScripts,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("LISTENER", freeAddress(t))
			e.Setenv("CONSENTD_ADMIN_ADDR", "unix://"+filepath.Join(e.WorkDir, "admin.sock"))
			e.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// until PATTERN COMMAND... runs consentd again and again until its output matches.
			"until": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: until PATTERN ARGS...")
				}
				wanted := regexp.MustCompile("(?m)" + args[0])
				for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
					cmd := exec.Command(binary, args[1:]...)
					cmd.Dir, cmd.Env = ts.Getenv("WORK"), append(os.Environ(), "CONSENTD_ADMIN_ADDR="+ts.Getenv("CONSENTD_ADMIN_ADDR"), "CONSENTD_ADMIN_TOKEN="+ts.Getenv("CONSENTD_ADMIN_TOKEN"))
					out, _ := cmd.CombinedOutput()
					if wanted.Match(out) {
						return
					}
					if time.Now().After(deadline) {
						ts.Fatalf("in vain for %v: %s in\n%s", patience, args[0], out)
					}
				}
			},
			// exits N COMMAND... runs consentd and wants that exit code.
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: exits CODE ARGS...")
				}
				err := ts.Exec(filepath.Join(filepath.Dir(binary), "consentd"), args[1:]...)
				code := "0"
				if exit, ok := err.(interface{ ExitCode() int }); ok {
					code = string(rune('0' + exit.ExitCode()))
				} else if err != nil {
					ts.Fatalf("%v", err)
				}
				if code != args[0] {
					ts.Fatalf("exit code %s, want %s", code, args[0])
				}
			},
		},
	})
}
