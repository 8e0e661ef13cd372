package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFrozenPlugin: a plugin that was written when version 1 of the wire was released, and shares no code with us,
// does its work under the daemon of today.
func TestFrozenPlugin(t *testing.T) {
	i := configure(t, "")
	executable, out := filepath.Join(i.dir, "consentd-plugin-v1"), i.path("out")
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", executable, "../../../sdk/host/testdata/v1plugin").CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + fmt.Sprintf(`
plugin_dir = %q

plugin "v1" {
  sha256 = [%q]
  write  = [%q]
}

target "v1" "log" {
  erase = true

  config {
    path = %q
  }
}

rule "log" {
  source = source.dataguard
  target = target.log

  record {
    key     = citizen.id
    allowed = permission.newsletter_email.allowed
  }
}
`, i.dir, i.sum(executable), out, filepath.Join(out, "log")))
	i.start()
	i.accept(update("ada", "GRANTED", 1))
	i.settled("log")
	i.accept(update("ada", "DENIED", 2))
	i.settled("log")
	if said, code := i.run("citizen", "erase", "--yes", "ada"); code != 0 {
		t.Errorf("erase: exit code %d, %s", code, said)
	}
	eventually(t, "it has erased", func() bool { return i.target("log").Erasures == 0 })
	i.stop()
	const want = `deliver false {"allowed":true,"key":"ada"}
deliver true {"allowed":false,"key":"ada"}
erase true {"allowed":false,"key":"ada"}
`
	if got, err := os.ReadFile(filepath.Join(out, "log")); err != nil || string(got) != want {
		t.Errorf("it was told\n%s%v", got, err)
	}
}

// TestPluginOfALaterVersion: which versions there are on each side is said where the operator looks first. The
// plugin is a script, without PATH as all plugins are.
func TestPluginOfALaterVersion(t *testing.T) {
	i := configure(t, "")
	executable := filepath.Join(i.dir, "consentd-plugin-later")
	if err := os.WriteFile(executable, []byte("#!/bin/sh\necho '1|2|unix|/nowhere|grpc|'\nexec /bin/sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + fmt.Sprintf(`
plugin_dir = %q

plugin "later" {
  sha256 = [%q]
}

target "later" "log" {
  config {
  }
}
`, i.dir, i.sum(executable)))
	cmd := exec.Command(binary, "validate", "--offline", "--config", i.path("config.hcl"))
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(strings.Join(strings.Fields(string(out)), " "),
		"the plugin speaks version 2 of the wire, and this consentd version 1; use a release of the plugin, or of consentd, that fits") {
		t.Errorf("exit code %d\n%s", cmd.ProcessState.ExitCode(), out)
	}
}

var sumPattern = regexp.MustCompile("[0-9a-f]{64}")

// sum is what an executable is pinned by.
func (i *instance) sum(executable string) string {
	i.t.Helper()
	out, code := i.run("plugin", "sum", executable)
	sum := sumPattern.FindString(out)
	if code != 0 || sum == "" {
		i.t.Fatalf("plugin sum: exit code %d, %q", code, out)
	}
	return sum
}
