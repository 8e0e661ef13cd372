package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/consentd/consentd/sdk"
)

func TestSignalsToTheGroup(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	target := start(t, s)
	pid := target.Status().Pid
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := syscall.Kill(-pid, sig); err != nil {
			t.Fatal(err)
		}
		outcomes, err := target.Deliver(t.Context(), []sdk.Record{record("a", "")})
		if err != nil || outcomes[0].Reference != "a" {
			t.Errorf("after %v: %+v, %v", sig, outcomes, err)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	for _, end := range []string{"close", "crash", "stop", "hang"} {
		t.Run(end, func(t *testing.T) {
			s, _ := spec(t, "chaos", `{}`)
			s.pace.initial, s.pace.max = time.Hour, time.Hour
			target := start(t, s)
			pid := target.Status().Pid
			if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "spawn")}); err != nil {
				t.Fatal(err)
			}
			grandchild := childOf(t, pid)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			switch end {
			case "close":
				if err := target.Close(t.Context()); err != nil {
					t.Error(err)
				}
			case "crash":
				target.Deliver(t.Context(), []sdk.Record{record("a", "crash")})
				eventually(t, "the grandchild is gone before Close", func() bool { return dead(grandchild) })
				if err := target.Close(t.Context()); err != nil {
					t.Error(err)
				}
			case "stop":
				stop(t, pid)
				if err := target.Close(ctx); !errors.Is(err, ErrBroken) {
					t.Errorf("error %v", err)
				}
			case "hang":
				var calls sync.WaitGroup
				calls.Go(func() {
					if _, err := target.Deliver(context.Background(), []sdk.Record{record("a", "hang")}); !errors.Is(err, ErrBroken) {
						t.Errorf("call under way: %v", err)
					}
				})
				time.Sleep(100 * time.Millisecond) // if the call is later, it is ErrDown
				if err := target.Close(ctx); !errors.Is(err, ErrBroken) {
					t.Errorf("error %v", err)
				}
				calls.Wait()
			}
			eventually(t, "all are gone", func() bool { return dead(pid) && dead(grandchild) })
			empty(t, s.RuntimeDir)
			if st := target.Status(); st.State != Closed || st.Pid != 0 {
				t.Errorf("status %+v", st)
			}
			if _, err := target.Deliver(t.Context(), nil); !errors.Is(err, ErrDown) {
				t.Errorf("deliver after close: %v", err)
			}
			if err := target.Close(t.Context()); err != nil {
				t.Errorf("second close: %v", err)
			}
		})
	}
}

func TestCloseWaitsForCallsUnderWay(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	target := start(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var calls sync.WaitGroup
	calls.Go(func() {
		outcomes, err := target.Deliver(ctx, []sdk.Record{record("a", "wait")})
		if err != nil || outcomes[0].Code != "TIMEOUT" {
			t.Errorf("call under way: %+v, %v", outcomes, err)
		}
	})
	time.Sleep(100 * time.Millisecond)
	if err := target.Close(t.Context()); err != nil {
		t.Error(err)
	}
	calls.Wait()
}

func TestPluginDiesWithItsHost(t *testing.T) {
	dir := runtimeDir(t)
	pid := killHost(t, dir)
	eventually(t, "the plugin is gone", func() bool { return dead(pid) })
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Fatalf("nothing to sweep: %v", entries)
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	empty(t, dir)
}

// A process that does not look for its parent ends too.
func TestKernelEndsTheProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no parent-death signal here")
	}
	t.Setenv("SUPERVISE_TEST_SLEEPER", "1")
	pid := killHost(t, runtimeDir(t))
	eventually(t, "the process is gone", func() bool { return dead(pid) })
}

// killHost starts a host, kills it once its child runs, and returns the child's id.
func killHost(t *testing.T, dir string) int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self)
	host.Env = append(os.Environ(), "SUPERVISE_TEST_HOST="+dir)
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || dead(pid) {
		t.Errorf("the host said %q", line)
	}
	host.Process.Kill()
	host.Wait()
	return pid
}

// The parent-death signal comes when the thread that forked ends. So whoever calls Start, it must be a
// thread that stays.
func TestStartFromThreadThatEnds(t *testing.T) {
	for range 3 { // the process's first thread never ends, and one of these may be it
		s, _ := spec(t, "chaos", `{}`)
		started := make(chan *Target)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			target, err := Start(t.Context(), s)
			if err != nil {
				t.Error(err)
			}
			started <- target
		}()
		target := <-started
		if target == nil {
			return
		}
		for range 20 {
			if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		target.Close(context.Background())
	}
}

func TestSweepLeavesTheLiving(t *testing.T) {
	dir := filepath.Join(runtimeDir(t), "new")
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	keep := []string{socketDirPrefix(os.Getppid()) + "1", "plugin", "p-1"}
	for _, name := range append(keep, socketDirPrefix(os.Getpid())+"1") {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(keep)
	if !slices.Equal(got, keep) {
		t.Errorf("left %q, want %q", got, keep)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left in the runtime directory: %v, %v", entries, err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SUPERVISE_SECRET", "1")
	t.Setenv("SUPERVISE_NAMED", "2")
	t.Setenv("HTTPS_PROXY", "http://proxy")
	s, _ := spec(t, "chaos", `{}`)
	s.Program.Env = append(s.Program.Env, "SUPERVISE_NAMED", "SUPERVISE_UNSET")
	target := start(t, s)
	outcomes, err := target.Deliver(t.Context(), []sdk.Record{record("a", "env")})
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	if err := json.Unmarshal([]byte(outcomes[0].Reference), &env); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		got[name] = value
	}
	if got["SUPERVISE_NAMED"] != "2" || got["HTTPS_PROXY"] != "http://proxy" {
		t.Errorf("allowed variables are missing: %v", got)
	}
	for _, name := range []string{"SUPERVISE_SECRET", "SUPERVISE_UNSET", "HOME", "PATH"} {
		if _, ok := got[name]; ok {
			t.Errorf("%s is visible", name)
		}
	}
}

func TestDelays(t *testing.T) {
	delays := pace{initial: time.Second, max: time.Minute}.delays()
	var got []string
	for range 8 {
		got = append(got, delays.NextBackOff().String())
	}
	if want := []string{"1s", "2s", "4s", "8s", "16s", "32s", "1m0s", "1m0s"}; !slices.Equal(got, want) {
		t.Errorf("delays %v, want %v", got, want)
	}
	delays.Reset()
	if d := delays.NextBackOff(); d != time.Second || d == backoff.Stop {
		t.Errorf("after reset %v", d)
	}
}

func TestRuntimeDirTooLong(t *testing.T) {
	s, _ := spec(t, "chaos", `{}`)
	s.RuntimeDir += strings.Repeat("/x", 40)
	if _, err := Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("error %v", err)
	}
	// The longest one that is allowed works.
	s.RuntimeDir = runtimeDir(t)
	s.RuntimeDir += "/" + strings.Repeat("x", maxRuntimeDir-len(s.RuntimeDir)-1)
	if err := Sweep(s.RuntimeDir); err != nil {
		t.Fatal(err)
	}
	start(t, s)
}
