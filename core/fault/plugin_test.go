package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/consentd/consentd/core/admin"
)

// chaosRule is a target of type chaos, and the rule that feeds it. What is in config says how it misbehaves.
func chaosRule(name, path, extra, config string) string {
	return fmt.Sprintf(`
target "chaos" %[1]q {
  %[3]s

  config {
    path = %[2]q
    %[4]s
  }
}

rule %[1]q {
  source = source.dataguard
  target = target.%[1]s

  record {
    key = citizen.id
    fields = {
      citizen = citizen.id
      allowed = permission.newsletter_email.allowed
      sent_at = sent_at
    }
  }
}
`, name, path, extra, config)
}

func onAlone(do string) string {
	return fmt.Sprintf("on {\n key = %q\n do = %q\n }", alone, do)
}

// written is the number of the newest update of each citizen that a chaos plugin wrote to its file, and how often
// one came after a newer one.
func written(t *testing.T, path string) (newest map[string]int64, backwards int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	newest = map[string]int64{}
	for row := range strings.Lines(string(text)) {
		var line struct{ Fields record }
		if err := json.Unmarshal([]byte(row), &line); err != nil {
			t.Fatalf("%s: %v", row, err)
		}
		n := number(line.Fields.SentAt)
		if n < newest[line.Fields.Citizen] {
			backwards++
		}
		newest[line.Fields.Citizen] = n
	}
	return newest, backwards
}

// converged is whether a target holds the newest acknowledged update of every citizen but those named.
func (s *sender) converged(t *testing.T, path string, but ...string) {
	t.Helper()
	newest, backwards := written(t, path)
	if backwards > 0 {
		t.Errorf("%s: %d updates came after newer ones", path, backwards)
	}
	for i := range s.citizens {
		c := &s.citizens[i]
		if excepted := len(but) > 0 && c.name == but[0]; !excepted && newest[c.name] < c.acked.Load() {
			t.Errorf("%s: acknowledged up to update %d of %s, written up to %d", path, c.acked.Load(), c.name, newest[c.name])
		}
	}
}

// descendants are all processes that the daemon started, by whatever way.
func (d *daemon) descendants() (all []int) {
	for _, p := range d.processes() {
		if !p.plugin {
			all = append(all, p.pid)
		}
	}
	for i := 0; i < len(all); i++ {
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", all[i]))
		for _, thread := range threads {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", all[i], thread.Name()))
			for _, word := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(word); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

// get is what the admin address answers.
func (d *daemon) get(path string) string {
	d.t.Helper()
	res, err := client.Get("http://" + d.admin + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// misplugins are the ways for a plugin to misbehave over one record.
var misplugins = []struct {
	do    string
	extra string // of the target
	// crash is whether the record ends as a dead letter with that reason, and exit what is said of the process.
	crash bool
	exit  string
	said  string // in the log
}{
	{do: "exit", crash: true, exit: "exit status 7", said: "chaos exits over a record"},
	{do: "panic", crash: true, exit: "exit status 2", said: "panic: chaos panics over a record"},
	{do: "hang", extra: `timeout = "1s"`, crash: true, exit: "it hung"},
	{do: "balloon", crash: true, exit: "of memory and may take 128"},
	{do: "huge", crash: true},
	{do: "late", extra: `timeout = "1s"`},
	{do: "slow"},
	{do: "leak"},
	{do: "flood_log", said: "lines were left out"},
	{do: "flood_stderr", said: "lines were left out"},
	{do: "fork"},
	{do: "fork_escape"},
	{do: "fork_orphan"},
}

// TestBadPlugins gives one daemon a target for each way in which a plugin can misbehave over one record, and a
// good one. What breaks the plugin is buried alone; everything else arrives, everywhere; and nothing is left of
// it when the daemon ends in order, nor when it is killed.
func TestBadPlugins(t *testing.T) {
	const citizens = 40
	good := newSink(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name+".jsonl") }
	config := []string{apiKeySource, "plugin \"chaos\" {\n memory = \"128MiB\"\n}\n", good.rule("good", "")}
	for _, m := range misplugins {
		config = append(config, chaosRule(m.do, path(m.do), m.extra, onAlone(m.do)))
	}
	d := newDaemon(t, "", strings.Join(config, ""))
	d.log.keep = 32 << 20
	d.start()
	s := newSender(d, "c", citizens)
	s.postAll(t, 0, citizens)
	if got := d.settled("good"); got.Delivered != citizens || got.Dead != 0 {
		t.Errorf("the good target beside bad plugins: %+v", got)
	}
	for _, m := range misplugins {
		dead := int64(0)
		if m.crash {
			dead = 1
		}
		got := d.settled(m.do)
		if got.Dead != dead || got.Delivered != citizens-dead {
			t.Errorf("%s: %+v", m.do, got)
		}
		if m.exit != "" && (!strings.Contains(got.Plugin.LastExit, m.exit) || got.Plugin.Restarts < 2) { // the last relaunch still waits
			t.Errorf("%s: the plugin is said to have ended with %q, %d restarts", m.do, got.Plugin.LastExit, got.Plugin.Restarts)
		}
		if m.said != "" && !strings.Contains(d.log.String(), m.said) {
			t.Errorf("%s: the log does not say %q", m.do, m.said)
		}
		if m.crash {
			s.converged(t, path(m.do), alone)
		} else {
			s.converged(t, path(m.do))
		}
	}
	letters, err := admin.NewClient(d.admin, "").Dead(t.Context(), admin.DeadSelection{}, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range letters.Dead {
		if l.CitizenID != alone || l.Reason != "crash" {
			t.Errorf("a dead letter of %s, target %s, for %s", l.CitizenID, l.Target, l.Reason)
		}
	}
	if n := len(d.log.String()); n > 4<<20 {
		t.Errorf("the floods made a log of %d bytes", n)
	}
	for _, kill := range []bool{true, false} {
		s.postAll(t, 0, citizens) // those that fork do so again
		d.settled("fork_orphan")
		all := d.descendants()
		forked := 0
		for _, pid := range all {
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) == "sleep\n" {
				forked++
			}
		}
		if forked < 3 {
			t.Errorf("only %d processes were forked", forked)
		}
		if kill {
			d.signal(syscall.SIGKILL)
			<-d.exited
		} else {
			d.stop()
		}
		for _, pid := range all {
			eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
		}
		if kill {
			d.start()
		}
	}
	whole(t, d.store)
}

// TestPluginThatDoesNotComeBack: it starts once and never again. Nothing is lost or buried over that, the other
// target goes on, and the status says what happens.
func TestPluginThatDoesNotComeBack(t *testing.T) {
	const citizens = 20
	for _, how := range []string{"exit", "panic"} {
		good := newSink(t)
		dir := t.TempDir()
		out, marker := filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "marker")
		d := newDaemon(t, "", apiKeySource+good.rule("good", "")+
			chaosRule("bad", out, "", fmt.Sprintf("configure = %q\n configure_after = %q", how, marker)))
		d.start()
		s := newSender(d, "c", citizens)
		s.postAll(t, 0, 1)
		d.settled("bad")
		_ = syscall.Kill(d.target("bad").Plugin.PID, syscall.SIGKILL)
		eventually(t, "it does not come up again and again", func() bool { return d.target("bad").Plugin.Restarts >= 2 })
		s.postAll(t, 0, citizens)
		if got := d.settled("good"); got.Delivered+got.Superseded != citizens+1 {
			t.Errorf("%s: the good target: %+v", how, got)
		}
		if got := d.target("bad"); got.Dead != 0 || got.Pending != citizens || got.State != "down" || got.Plugin.State != "backing off" {
			t.Errorf("%s: while it is down: %+v", how, got)
		}
		metrics := d.get("/metrics")
		if up := "consentd_plugin_up{target=\"bad\"} 0\n"; !strings.Contains(metrics, up) || strings.Contains(metrics, "consentd_plugin_restarts_total{target=\"bad\"} 0\n") {
			t.Errorf("%s: the metrics do not show it", how)
		}
		if err := os.Remove(marker); err != nil {
			t.Fatal(err)
		}
		if got := d.settled("bad"); got.Dead != 0 {
			t.Errorf("%s: %+v", how, got)
		}
		s.converged(t, out)
		d.stop()
	}
}
