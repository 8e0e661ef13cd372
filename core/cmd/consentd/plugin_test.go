package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestExternalPlugin: an executable in plugin_dir runs if its sum is pinned, sees only what it is allowed of
// the environment, and does not run any more when it was replaced.
func TestExternalPlugin(t *testing.T) {
	t.Setenv("ACME_GREETING", "hello")
	t.Setenv("HOME", "/home/somebody")
	i := configure(t, "")
	dir := i.path("plugins")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	out := i.path("out")
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	executable := filepath.Join(dir, "consentd-plugin-acme")
	if out, err := exec.Command("go", "build", "-o", executable, "./testdata/acme").CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	said, code := i.run("plugin", "sum", executable)
	var sum string
	if _, err := fmt.Sscanf(said, "plugin \"acme\" {\n  sha256 = [%q]\n}\n", &sum); code != 0 || err != nil {
		t.Fatalf("plugin sum: exit code %d, %v\n%s", code, err, said)
	}
	config := func(pin string) string {
		return fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + fmt.Sprintf(`
plugin_dir = %q
%s
target "acme" "log" {
  config {
    path = %q
  }
}
rule "log" {
  source = source.dataguard
  target = target.log
  record {
    key = citizen.id
  }
}
`, dir, pin, filepath.Join(out, "acme.jsonl"))
	}
	i.write(config(""))
	if cmd := exec.Command(binary, "validate", "--config", i.path("config.hcl")); true {
		text, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(text), sum) || !strings.Contains(string(text), "not pinned") {
			t.Errorf("without a pin: %v\n%s", err, text)
		}
	}
	i.write(config(fmt.Sprintf("plugin \"acme\" {\n  sha256 = [%q]\n  env = [\"ACME_GREETING\"]\n  write = [%q]\n}\n", sum, out)))
	i.start()
	i.accept(update("ada", "GRANTED", 1))
	i.settled("log")
	if line, err := os.ReadFile(filepath.Join(out, "acme.jsonl")); err != nil || string(line) != "{\"key\":\"ada\"}\n" {
		t.Errorf("acme wrote %q, %v", line, err)
	}
	eventually(t, "the plugin logs what it should see", func() bool { return strings.Contains(i.log.String(), "greeting=hello") })
	if strings.Contains(i.log.String(), "/home/somebody") {
		t.Error("the plugin sees more")
	}
	i.stop()
	if err := os.WriteFile(executable, []byte("#!/bin/sh\ntouch "+i.path("broken-in")+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "--config", i.path("config.hcl"))
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(text), "not the one that is pinned") {
		t.Errorf("replaced: %v\n%s", err, text)
	}
	if _, err := os.Stat(i.path("broken-in")); err == nil {
		t.Error("a replaced plugin was executed")
	}
}
