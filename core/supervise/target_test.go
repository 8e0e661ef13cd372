package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"github.com/consentd/consentd/sdk"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

var fast = pace{initial: 5 * time.Millisecond, max: 50 * time.Millisecond, well: time.Hour}

// output is a log that can be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func runtimeDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sv") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func spec(t testing.TB, typ, config string) (Spec, *output) {
	log := &output{}
	return Spec{
		Name: "x", Program: ownProgram(typ), Config: json.RawMessage(config), RuntimeDir: runtimeDir(t),
		Log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug}), pace: fast,
	}, log
}

func start(t testing.TB, s Spec) *Target {
	t.Helper()
	target, err := Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) // some of them hang
		defer cancel()
		target.Close(ctx)
	})
	return target
}

// childOf waits for the one process that another one started.
func childOf(t *testing.T, pid int) (child int) {
	t.Helper()
	eventually(t, "it has a child", func() bool {
		all := tree(pid)
		child = all[len(all)-1]
		return len(all) == 2
	})
	return child
}

func record(id, do string) sdk.Record {
	return sdk.Record{ID: id, Fields: json.RawMessage(fmt.Sprintf(`{"do":%q}`, do))}
}

func awaitReady(t *testing.T, target *Target) {
	t.Helper()
	select {
	case <-target.Ready():
	case <-time.After(patience):
		t.Fatalf("the plugin did not come back: %+v", target.Status())
	}
}

// eventually waits for what cannot be waited for otherwise.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// dead is whether a process is gone, or is a zombie that its new parent has not reaped.
func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

// stop stops a process and waits until it is.
func stop(t *testing.T, pid int) {
	t.Helper()
	syscall.Kill(pid, syscall.SIGSTOP)
	eventually(t, "the process is stopped", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return strings.Contains(string(stat), ") T ")
	})
}

func TestDeliver(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	target := start(t, s)
	st := target.Status()
	if st.State != Running || st.Pid == 0 || st.Restarts != 0 || st.LastExit != "" {
		t.Fatalf("status %+v", st)
	}
	if d := target.Description(); d.Type != "chaos" || d.Version != "1.2.3" || d.Limits.MaxBatch != 7 || d.Limits.MaxInFlight != 3 {
		t.Fatalf("description %+v", d)
	}
	outcomes, err := target.Deliver(t.Context(), []sdk.Record{record("a", ""), record("b", "")})
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"a", "b"} {
		if outcomes[i].Kind != sdk.KindDelivered || outcomes[i].Reference != id {
			t.Errorf("outcome %d: %+v, want %q", i, outcomes[i], id)
		}
	}
	if got, err := target.Check(t.Context()); err != nil || got.Kind != sdk.KindUnauthorized {
		t.Errorf("check: %+v, %v", got, err)
	}
}

func TestTooFewOutcomes(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	target := start(t, s)
	outcomes, err := target.Deliver(t.Context(), []sdk.Record{record("a", ""), record("b", "few"), record("c", "")})
	if err != nil || len(outcomes) != 3 {
		t.Fatal(outcomes, err)
	}
	if outcomes[0].Kind != sdk.KindDelivered || outcomes[1].Kind != sdk.KindRetry || outcomes[2].Code != "NO_OUTCOME" {
		t.Errorf("outcomes %+v", outcomes)
	}
}

func TestKilledPluginIsLaunchedAgain(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	target := start(t, s)
	for restarts := range 3 {
		pid := target.Status().Pid
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end is seen", func() bool { return target.Status().Restarts == restarts+1 })
		awaitReady(t, target)
		if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "")}); err != nil {
			t.Fatal(err)
		}
		if st := target.Status(); st.Pid == pid || st.State != Running || st.LastExit != "signal: killed" || !st.NextLaunch.IsZero() {
			t.Errorf("status %+v", st)
		}
	}
}

func TestCrashOnRecord(t *testing.T) {
	for do, how := range map[string]string{"crash": "exit status 7", "panic": "exit status 2"} {
		s, log := spec(t, "chaos", `{}`)
		s.pace = pace{initial: time.Hour, max: time.Hour, well: time.Hour}
		target := start(t, s)
		_, err := target.Deliver(t.Context(), []sdk.Record{record("a", do)})
		if !errors.Is(err, ErrBroken) || errors.Is(err, ErrDown) || !strings.Contains(err.Error(), how) {
			t.Errorf("%s: error %v", do, err)
		}
		_, err = target.Deliver(t.Context(), []sdk.Record{record("b", "")})
		if !errors.Is(err, ErrDown) || !errors.Is(err, ErrBroken) {
			t.Errorf("%s: error while down %v", do, err)
		}
		eventually(t, "the next launch is known", func() bool { return !target.Status().NextLaunch.IsZero() })
		if st := target.Status(); st.State != BackingOff || st.Pid != 0 || st.LastExit != how {
			t.Errorf("%s: status %+v", do, st)
		}
		if do == "crash" && !strings.Contains(log.String(), "it says why") {
			t.Errorf("what it said is not logged:\n%s", log)
		}
		if do == "panic" && !strings.Contains(log.String(), "[ERROR] plugin: panic: Deliver panics") {
			t.Errorf("the panic is not logged:\n%s", log)
		}
		if err := target.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestRelaunchThatFails(t *testing.T) {
	s, log := spec(t, "chaos", fmt.Sprintf(`{"new":"once","once":%q}`, filepath.Join(t.TempDir(), "x")))
	target := start(t, s)
	syscall.Kill(target.Status().Pid, syscall.SIGKILL)
	eventually(t, "three launches fail", func() bool { return target.Status().Restarts >= 3 })
	if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "")}); !errors.Is(err, ErrDown) {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(log.String(), "exit status 5") {
		t.Errorf("why it does not come up is not logged:\n%s", log)
	}
}

// A call that is cut short says nothing of the plugin.
func TestCutShort(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	target := start(t, s)
	pid := target.Status().Pid
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	outcomes, err := target.Deliver(ctx, []sdk.Record{record("a", ""), record("b", "hang")})
	if err != nil || len(outcomes) != 2 || outcomes[0].Kind != sdk.KindRetry || outcomes[1].Code != "CANCELED" {
		t.Fatal(outcomes, err)
	}
	if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "")}); err != nil || target.Status().Pid != pid {
		t.Errorf("after it: %v, %+v", err, target.Status())
	}
}

// A plugin that does not come back after a deadline is ended, and its records are to blame.
func TestHang(t *testing.T) {
	s, log := spec(t, "chaos", `{}`)
	target := start(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if outcomes, err := target.Deliver(ctx, []sdk.Record{record("a", ""), record("b", "hang")}); !errors.Is(err, ErrBroken) || errors.Is(err, ErrDown) {
		t.Fatal(outcomes, err)
	}
	eventually(t, "it is launched again", func() bool { return target.Status().Restarts == 1 })
	awaitReady(t, target)
	if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "")}); err != nil {
		t.Error(err)
	}
	if st := target.Status(); !strings.Contains(st.LastExit, "it hung") || !strings.Contains(log.String(), "it hung") {
		t.Errorf("status %+v", st)
	}
}

// What the plugin knows when time is up still counts.
func TestOutcomesAfterDeadline(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	target := start(t, s)
	for name, call := range map[string]func(context.Context, []sdk.Record) ([]sdk.Outcome, error){"deliver": target.Deliver, "erase": target.Erase} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		outcomes, err := call(ctx, []sdk.Record{record("a", ""), record("b", "wait"), record("c", "late")})
		if err != nil || outcomes[0].Kind != sdk.KindDelivered || outcomes[1].Code != "TIMEOUT" || outcomes[2].Kind != sdk.KindDelivered {
			t.Errorf("%s: %+v, %v", name, outcomes, err)
		}
	}
}

func TestFloodedLog(t *testing.T) {
	s, log := spec(t, "chaos", `{}`)
	target := start(t, s)
	if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "flood")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was left out is said", func() bool {
		target.Deliver(t.Context(), []sdk.Record{record("b", "say")})
		return strings.Contains(log.String(), "lines were left out")
	})
	if text := log.String(); strings.Count(text, "\n") > 3000 || strings.Contains(text, "line=4500") {
		t.Errorf("%d lines are logged", strings.Count(text, "\n"))
	}
	if strings.Contains(log.String(), "ann@") {
		t.Error("an address is in the log")
	}
	if !strings.Contains(log.String(), "[INFO]  plugin: flood: target=x") || !strings.Contains(log.String(), "[WARN]  plugin: raw 1: target=x") {
		t.Errorf("levels are wrong: %.500s", log)
	}
}

// What a plugin says last says why it ended, and is logged however much went before.
func TestLastWords(t *testing.T) {
	s, log := spec(t, "chaos", `{}`)
	s.pace = pace{initial: time.Hour, max: time.Hour, well: time.Hour}
	target := start(t, s)
	if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "last")}); !errors.Is(err, ErrBroken) {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "lines were left out") || !strings.Contains(text, "[ERROR] plugin: panic: the last words") {
		t.Errorf("%d bytes, ending with %s", len(text), text[max(0, len(text)-2000):])
	}
}

// A line that may be logged in the midst of a panic must not cost those before it.
func TestPanicInAFlood(t *testing.T) {
	log := &output{}
	l := newPluginLog(hclog.New(&hclog.LoggerOptions{Output: log}))
	say := func(lines ...string) {
		for _, line := range lines {
			l.line([]byte(line), 0)
		}
	}
	spent := func() { l.limit = rate.NewLimiter(rate.Every(time.Hour), 0) }
	spent()
	for range 250 {
		say("raw")
	}
	say("panic: out of ideas", "goroutine 1 [running]:")
	l.limit = rate.NewLimiter(rate.Every(time.Hour), 1)
	say("main.main()")
	spent()
	say("exit status 2")
	l.read(strings.NewReader(""))
	text := log.String()
	at := 0
	for _, want := range []string{"left out: lines=15", "[ERROR] panic: out of ideas", "[ERROR] goroutine 1", "[ERROR] main.main()", "[ERROR] exit status 2"} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("no %q where it should be in\n%s", want, text)
		}
		at += i
	}
}

func TestLongLines(t *testing.T) {
	log := &output{}
	l := newPluginLog(hclog.New(&hclog.LoggerOptions{Output: log}))
	l.read(strings.NewReader(strings.Repeat("x", 3*maxLine+5) + "\nshort\n"))
	w := &lineWriter{log: l}
	for range 4 {
		w.Write([]byte(strings.Repeat("y", maxLine)))
	}
	w.Write([]byte("\nshort too\nunended"))
	text := log.String()
	for _, want := range []string{"x ... and 16389 bytes more", "short", "y ... and 24576 bytes more", "short too"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if len(text) > 3*maxLine || strings.Contains(text, "unended") {
		t.Errorf("%d bytes", len(text))
	}
}

func TestStartThatFails(t *testing.T) {
	for _, c := range []struct{ typ, config, want, log string }{
		{"exits", `{}`, "launch plugin exits: it ended before it served, with exit status 3", "no licence found"},
		{"prints", `{}`, "Welcome!", ""},
		{"leaves-child", `{}`, "exit status 4", ""},
		{"liar", `{}`, `it says that its type is "other"`, ""},
		{"chaos", `{"new":"panic"}`, "configure target x: plugin broke: it ended with exit status 2", "New panics at [redacted]"},
	} {
		s, log := spec(t, c.typ, c.config)
		_, err := Start(t.Context(), s)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", c.typ, err, c.want)
		}
		if !strings.Contains(log.String(), c.log) {
			t.Errorf("%s: log %s, want %q", c.typ, log, c.log)
		}
		empty(t, s.RuntimeDir)
	}
}

func TestStartIsCutShort(t *testing.T) {
	s, _ := spec(t, "mute", `{}`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := Start(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if time.Since(began) > startTime/2 {
		t.Error("it waited for the plugin")
	}
	empty(t, s.RuntimeDir)
}

func TestMistakes(t *testing.T) {
	s, _ := spec(t, "chaos", `{"new":"refuse","secret":"hunter2222"}`)
	_, err := Start(t.Context(), s)
	var mistakes Mistakes
	if !errors.As(err, &mistakes) || len(mistakes) != 2 {
		t.Fatalf("error %v", err)
	}
	if !slices.Equal(mistakes[0].Path, []string{"a", "b"}) || mistakes[0].Detail != "is wrong" {
		t.Errorf("first %+v", mistakes[0])
	}
	if mistakes[1].Detail != "dial with [redacted]" {
		t.Errorf("second %+v", mistakes[1])
	}
	empty(t, s.RuntimeDir)
}

func TestDescribe(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	about, err := Describe(t.Context(), s.Program, s.RuntimeDir, s.Log)
	if err != nil || about.Type != "chaos" || about.Config.Attributes["new"].Type != "string" {
		t.Errorf("%+v, %v", about, err)
	}
	empty(t, s.RuntimeDir)
}
