package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/sdk"
)

// What left the group, and what lost its parent too, ends with its plugin, however that ends.
func TestNothingEscapes(t *testing.T) {
	if cmd := sleeper(); cmd.Start() != nil {
		t.Skip("this system gives no process namespace")
	} else {
		cmd.Process.Kill()
		cmd.Wait()
	}
	for _, how := range []string{"spawn", "escape", "orphan"} {
		for _, end := range []string{"close", "crash", "killed"} {
			t.Run(how+" "+end, func(t *testing.T) {
				s, _ := spec(t, "chaos", `{}`)
				s.pace = pace{initial: time.Hour, max: time.Hour, well: time.Hour}
				target := start(t, s)
				pid := target.Status().Pid
				if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", how)}); err != nil {
					t.Fatal(err)
				}
				child := childOf(t, pid)
				switch end {
				case "close":
					if err := target.Close(t.Context()); err != nil {
						t.Error(err)
					}
				case "crash":
					target.Deliver(t.Context(), []sdk.Record{record("a", "crash")})
				case "killed":
					syscall.Kill(pid, syscall.SIGKILL)
				}
				eventually(t, "all are gone", func() bool { return dead(pid) && dead(child) })
			})
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		do     string
		memory int64
		why    string
	}{
		{"balloon", 400 << 20, "MiB of memory and may take 400; if it needs more, set memory in plugin \"chaos\""},
		{"bomb", 1 << 30, "more than 20 processes; if it needs more, set processes in plugin \"chaos\""},
	} {
		t.Run(c.do, func(t *testing.T) {
			s, log := spec(t, "chaos", `{}`)
			s.Program.Limits = limitsOf(config.Plugin{Memory: c.memory, Processes: 20}, false)
			target := start(t, s)
			_, err := target.Deliver(t.Context(), []sdk.Record{record("a", c.do)})
			if c.do == "balloon" && (!errors.Is(err, ErrBroken) || errors.Is(err, ErrDown)) {
				t.Errorf("the balloon's call: %v", err)
			}
			eventually(t, "it is launched again", func() bool { return target.Status().Restarts == 1 })
			awaitReady(t, target)
			if how := target.Status().LastExit; !strings.Contains(how, c.why) || !strings.Contains(log.String(), "signal: killed: it ") {
				t.Errorf("last exit %q", how)
			}
			if _, err := target.Deliver(t.Context(), []sdk.Record{record("b", "")}); err != nil {
				t.Error(err)
			}
		})
	}
}

// What grows faster than the watch looks runs into a limit of the kernel's.
func TestBounds(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	s.Program.Limits.Memory, s.Program.Limits.Files = 100<<20, 77
	target := start(t, s)
	outcomes, err := target.Deliver(t.Context(), []sdk.Record{record("a", "status")})
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(strings.Fields(outcomes[0].Reference), " ")
	for _, want := range []string{
		"NoNewPrivs: 1 ", "Max core file size 0 0 ", "Max open files 77 77 ", fmt.Sprintf("Max data size %d %[1]d ", 200<<20+dataSlack),
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
}

// An external plugin reaches what its block names, and has nobody else to signal.
func TestLandlock(t *testing.T) {
	if v, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); int(v) < 6 {
		t.Skip("this kernel has no Landlock, or an old one")
	}
	dir, path := external(t, "acme")
	sum, err := Sum(path)
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	for _, name := range []string{"secret", "readable", "writable"} {
		if err := os.WriteFile(filepath.Join(own, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(own, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(own, name) }
	find := func(p config.Plugin) Program {
		p.SHA256 = []string{sum}
		program, err := Finder{Dir: dir, Plugins: map[string]config.Plugin{"acme": p}}.Find("acme")
		if err != nil {
			t.Fatal(err)
		}
		return program
	}
	s, log := spec(t, "chaos", `{}`)
	s.Program = find(config.Plugin{Read: []string{at("readable")}, Write: []string{at("writable"), at("folder")}})
	target := start(t, s)
	for _, c := range []struct {
		do, path string
		may      bool
	}{
		{"read", at("secret"), false},
		{"read", fmt.Sprintf("/proc/%d/environ", os.Getpid()), false},
		{"read", "/etc/shadow", false},
		{"read", "/etc/resolv.conf", true},
		{"read", "/dev/null", true},
		{"read", at("readable"), true},
		{"write", at("readable"), false},
		{"write", at("writable"), true},
		{"write", at("folder/new"), true},
		{"write", at("new"), false},
		{"write", "/usr/x", false},
		{"write", path, false},
	} {
		fields, _ := json.Marshal(map[string]string{"do": c.do, "arg": c.path})
		outcomes, err := target.Deliver(t.Context(), []sdk.Record{{ID: "a", Fields: fields}})
		if err != nil || (outcomes[0].Kind == sdk.KindDelivered) != c.may {
			t.Errorf("%s %s: %+v, %v", c.do, c.path, outcomes, err)
		}
	}
	if outcomes, err := target.Deliver(t.Context(), []sdk.Record{record("a", "signal")}); err != nil || outcomes[0].Message == "<nil>" {
		t.Errorf("signal: %+v, %v", outcomes, err)
	}

	s.Program = find(config.Plugin{Write: []string{at("nowhere")}})
	if _, err := Start(t.Context(), s); err == nil || !strings.Contains(log.String(), "let the plugin write what its block names: open "+at("nowhere")) {
		t.Errorf("%v\n%s", err, log)
	}
}

// A bundled plugin is confined only when its block says so.
func TestWhoIsConfined(t *testing.T) {
	for _, c := range []struct {
		p        config.Plugin
		external bool
		want     bool
	}{
		{config.Plugin{}, false, false},
		{config.Plugin{Env: []string{"X"}, Memory: 1}, false, false},
		{config.Plugin{Read: []string{}}, false, true},
		{config.Plugin{Write: []string{"/x"}}, false, true},
		{config.Plugin{}, true, true},
	} {
		if got := limitsOf(c.p, c.external); got.Landlock != c.want || got.Memory == 0 || got.Files == 0 || got.Processes == 0 {
			t.Errorf("%+v: %+v", c.p, got)
		}
	}
}

// A script runs too: its interpreter reads what was verified.
func TestScript(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, externalPrefix+"script")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec "+self+" plugin serve chaos\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	sum, err := Sum(path)
	if err != nil {
		t.Fatal(err)
	}
	program, err := Finder{Dir: dir, Plugins: map[string]config.Plugin{"script": {SHA256: []string{sum}, Read: []string{self}}}}.Find("script")
	if err != nil {
		t.Fatal(err)
	}
	program.Type = "chaos"
	s, _ := spec(t, "chaos", `{}`)
	s.Program = program
	target := start(t, s)
	if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "")}); err != nil {
		t.Error(err)
	}
}

// Where the system gives no namespace a process starts without one, and what left its group ends with it when we
// end it.
func TestNoNamespace(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "setsid sleep 600 & wait")
	cmd.SysProcAttr = processAttributes()
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNS | unix.CLONE_FS // which the kernel never gives
	p, err := newProcess(cmd, func(io.Reader) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	child := childOf(t, p.pid())
	p.kill()
	<-p.exited
	eventually(t, "both are gone", func() bool { return dead(p.pid()) && dead(child) })
}
