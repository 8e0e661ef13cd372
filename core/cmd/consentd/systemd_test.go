package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const systemdExample = root + "/examples/deploy/systemd/"

// needs skips a test where the machine lacks something; in CI that is a failure.
func needs(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%s: %v", what, err)
	default:
		t.Skipf("%s: %v", what, err)
	}
}

// put writes a file under a folder, with what is above it.
func put(t *testing.T, dir, name, text string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// unitFiles puts the unit, and the drop-in for those that need it, where this machine's systemd can read them all
// without a word.
func unitFiles(t *testing.T, dir string) {
	t.Helper()
	unit := readFile(t, systemdExample+"consentd.service")
	out, err := exec.Command("systemd-analyze", "--version").Output()
	m := regexp.MustCompile(`^systemd (\d+)`).FindStringSubmatch(string(out))
	needs(t, "Debian's systemd", err)
	if version, _ := strconv.Atoi(m[1]); version < 253 {
		put(t, dir, "consentd.service.d/before-253.conf", readFile(t, systemdExample+"before-253.conf"), 0o644)
		unit = strings.Replace(unit, "Type=notify-reload\n", "", 1)
	}
	put(t, dir, "consentd.service", unit, 0o644)
}

// TestSystemdUnit has systemd read the unit, and rate what it leaves open.
func TestSystemdUnit(t *testing.T) {
	dir := t.TempDir()
	unitFiles(t, dir)
	put(t, dir, "consentd.service.d/here.conf", "[Service]\nExecStart=\nExecStart="+binary+" run --config /etc/consentd\n", 0o644)
	unit := filepath.Join(dir, "consentd.service")
	if out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// In tenths: 20 is what namespaces for the plugins and the network leave.
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}

// TestUnderSystemd runs the unit as it stands under a systemd of its own: credentials, the hardening with plugins under
// it, a reload that fails, a watchdog that ran out, a configuration that stays wrong.
func TestUnderSystemd(t *testing.T) {
	look()
	dir := t.TempDir()
	files := filepath.Join(dir, "files")
	unitFiles(t, filepath.Join(files, "etc/systemd/system"))
	put(t, files, "etc/systemd/system/consentd.service.d/test.conf", "[Service]\nRestartSec=100ms\n", 0o644)
	const extra = "plugin \"webhook\" {\n  read = [\"/etc/ssl\"]\n}\n" // Landlock as well
	put(t, files, "etc/consentd/consentd.hcl", readFile(t, systemdExample+"config.hcl"), 0o644)
	put(t, files, "etc/consentd/extra.hcl", extra, 0o644)
	for name, secret := range map[string]string{"cpm_key": "a-key", "store_key": strings.Repeat("0f", 32), "orders_token": "a-token"} {
		put(t, files, "etc/consentd/credentials/"+name, secret+"\n", 0o600)
	}
	if err := os.MkdirAll(filepath.Join(files, "etc/ssl"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("install", "-D", binary, filepath.Join(files, "usr/local/bin/consentd")).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, name := range []string{"over", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	namespaces := []string{"--mount", "--pid", "--fork", "--cgroup", "--net", "--ipc", "--uts", "--kill-child"}
	// Not every machine lets its root do this.
	if out, err := exec.Command("unshare", append(namespaces, "sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && ls /lib/systemd/systemd")...).CombinedOutput(); err != nil {
		needs(t, "root, namespaces and Debian's systemd", fmt.Errorf("%w %s", err, out))
	}
	boot, err := filepath.Abs("testdata/systemd/boot")
	if err != nil {
		t.Fatal(err)
	}
	var console lockedBuffer
	machine := exec.Command("unshare", append(namespaces, "bash", boot, dir)...)
	machine.Stdout, machine.Stderr = &console, &console
	machine.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := machine.Start(); err != nil {
		t.Fatal(err)
	}
	var first string // the process of the machine's systemd
	in := func(args ...string) (string, error) {
		out, err := exec.Command("nsenter", append([]string{"--target", first, "--all", "--root", "--wd"}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := in("journalctl", "--no-pager", "--unit", "consentd")
			t.Logf("%s\n%s", tail(console.String(), 30), tail(log, 60))
		}
		_ = machine.Process.Kill() // and with it, all that it started
		_ = machine.Wait()
	})
	must := func(args ...string) string {
		t.Helper()
		out, err := in(args...)
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return out
	}
	property := func(name string) string { return must("systemctl", "show", "--value", "--property", name, "consentd") }

	eventually(t, "systemd runs", func() bool {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", machine.Process.Pid))
		if first = strings.TrimSpace(string(children)); first == "" {
			return false
		}
		state, _ := in("systemctl", "is-active", "multi-user.target")
		return state == "active"
	})
	must("systemctl", "start", "consentd")
	takes := "Takes updates for 1 targets, configuration "
	if got := property("StatusText"); !strings.HasPrefix(got, takes) {
		t.Errorf("status %q", got)
	}
	if out := must("env", "CONSENTD_ADMIN_ADDR=unix:///run/consentd/admin.sock", "consentd", "status"); !strings.Contains(out, "orders  webhook  running") {
		t.Errorf("the target does not run\n%s", out)
	}
	pid := property("MainPID")
	plugin, _, _ := strings.Cut(must("cat", "/proc/"+pid+"/task/"+pid+"/children"), " ")
	if plugin == "" { // another thread has started it
		plugin = must("sh", "-c", "cat /proc/"+pid+"/task/*/children")
	}
	for _, namespace := range []string{"pid", "user"} {
		if must("readlink", "/proc/"+pid+"/ns/"+namespace) == must("readlink", "/proc/"+plugin+"/ns/"+namespace) {
			t.Errorf("the plugin has no %s namespace of its own", namespace)
		}
	}
	if log := must("journalctl", "--no-pager", "--unit", "consentd"); strings.Contains(log, "no Landlock") {
		t.Errorf("no Landlock in\n%s", log)
	}

	// As systemd does when the watchdog has run out. It is no mistake of the configuration, so it starts again.
	must("systemctl", "kill", "--kill-whom=main", "--signal=ABRT", "consentd")
	eventually(t, "it is started again", func() bool {
		return property("NRestarts") == "1" && property("ActiveState") == "active"
	})

	must("sh", "-c", "echo nonsense > /etc/consentd/extra.hcl")
	must("systemctl", "reload", "consentd")
	eventually(t, "the status says that the reload failed", func() bool {
		return strings.HasSuffix(property("StatusText"), "; the last reload failed, see the log")
	})
	must("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "consentd")
	eventually(t, "a configuration that stays wrong is not tried again", func() bool {
		return property("ActiveState") == "failed" && property("ExecMainStatus") == "2"
	})
	must("rm", "/etc/consentd/extra.hcl")
	must("systemctl", "start", "consentd")
	must("systemctl", "stop", "consentd")
	if got := property("Result"); got != "success" {
		t.Errorf("it ended with %s", got)
	}
}
