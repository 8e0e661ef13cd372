package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/sdk"
)

// The test binary is also every plugin and the host that is killed.
func TestMain(m *testing.M) {
	if _, typ, ok := strings.Cut(filepath.Base(os.Args[0]), externalPrefix); ok {
		servePlugin(typ)
	}
	if len(os.Args) > 3 && os.Args[1] == "plugin" && os.Args[2] == "exec" {
		runtime.LockOSThread() // so that Exec has another thread than the first
		go func() {
			fmt.Fprintln(os.Stderr, Exec(slices.Delete(os.Args[3:], 1, 2)))
			os.Exit(126)
		}()
		select {}
	}
	if len(os.Args) == 4 && os.Args[1] == "plugin" && os.Args[2] == "serve" {
		servePlugin(os.Args[3])
	}
	if dir := os.Getenv("SUPERVISE_TEST_HOST"); dir != "" {
		beHost(dir)
	}
	goleak.VerifyTestMain(m)
}

func servePlugin(typ string) {
	switch typ {
	case "exits":
		fmt.Fprintln(os.Stderr, "no licence found")
		os.Exit(3)
	case "prints":
		fmt.Println("Welcome!")
		time.Sleep(time.Minute)
	case "leaves-child": // ends before it serves, and its child holds its pipes
		startSleeper("spawn", os.Stdout, os.Stderr)
		os.Exit(4)
	case "mute":
		time.Sleep(time.Minute)
	case "liar":
		sdk.Serve(sdk.Plugin{Type: "other"})
	default:
		sdk.Serve(chaosPlugin(typ))
	}
	os.Exit(0)
}

// chaosPlugin does what its configuration and its records tell it to.
func chaosPlugin(typ string) sdk.Plugin {
	return sdk.Plugin{
		Type: typ, Version: "1.2.3",
		Config: sdk.Schema{Attributes: map[string]sdk.Attribute{"new": {Type: "string"}, "once": {Type: "string"}, "secret": {Type: "string", Sensitive: true}}},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{"do": {Type: "string"}}},
		Limits: sdk.Limits{MaxBatch: 7, MaxInFlight: 3},
		New: func(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
			var c struct{ New, Secret, Once string }
			if err := cfg.Decode(&c); err != nil {
				return nil, err
			}
			switch c.New {
			case "panic":
				panic("New panics at ann@example.com")
			case "refuse":
				return nil, errors.Join(sdk.InvalidConfig("a.b", "is wrong"), errors.New("dial with "+c.Secret))
			case "once":
				// The first time only.
				f, err := os.OpenFile(c.Once, os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					os.Exit(5)
				}
				f.Close()
			}
			return &chaos{log: log}, nil
		},
	}
}

type chaos struct{ log hclog.Logger }

func (c *chaos) Check(context.Context) sdk.Outcome { return sdk.Unauthorized("NO", "no") }

func (c *chaos) Close() error { return nil }

func (c *chaos) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return c.Deliver(ctx, records)
}

func (c *chaos) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	var outcomes []sdk.Outcome
	for _, r := range records {
		var fields struct{ Do, Arg string }
		if err := r.Decode(&fields); err != nil {
			return nil
		}
		switch fields.Do {
		case "crash":
			fmt.Println("it says", "why")
			os.Exit(7)
		case "panic":
			panic("Deliver panics")
		case "hang":
			select {}
		case "wait":
			<-ctx.Done()
			outcomes = append(outcomes, sdk.FromError(ctx.Err()))
		case "late":
			<-ctx.Done()
			time.Sleep(200 * time.Millisecond)
			outcomes = append(outcomes, sdk.Delivered(""))
		case "few":
			return outcomes
		case "say":
			c.log.Info("said")
			outcomes = append(outcomes, sdk.Delivered(""))
		case "last":
			for i := range 5000 {
				fmt.Fprintln(os.Stderr, "raw", i)
			}
			panic("the last words")
		case "flood":
			for i := range 5000 {
				c.log.Info("flood", "line", i, "to", "ann@example.com")
				fmt.Fprintln(os.Stderr, "raw", i)
			}
			fmt.Fprintln(os.Stdout, strings.Repeat("long ", 100_000))
			outcomes = append(outcomes, sdk.Delivered(""))
		case "spawn", "escape", "orphan":
			startSleeper(fields.Do, nil, nil)
			outcomes = append(outcomes, sdk.Delivered(""))
		case "bomb":
			for range 200 {
				startSleeper("spawn", nil, nil)
			}
			outcomes = append(outcomes, sdk.Delivered(""))
		case "balloon":
			for held := [][]byte{}; ; time.Sleep(2 * time.Millisecond) {
				held = append(held, bytes.Repeat([]byte("x"), 1<<20))
			}
		case "read", "write":
			flag := os.O_RDONLY
			if fields.Do == "write" {
				flag = os.O_CREATE | os.O_RDWR
			}
			if f, err := os.OpenFile(fields.Arg, flag, 0o600); err != nil {
				outcomes = append(outcomes, sdk.Rejected("NO", "%v", errors.Unwrap(err)))
			} else {
				f.Close()
				outcomes = append(outcomes, sdk.Delivered(""))
			}
		case "signal": // whomever it can
			err := syscall.Kill(-1, 0)
			outcomes = append(outcomes, sdk.Rejected("NO", "%v", err))
		case "status":
			text, _ := os.ReadFile("/proc/self/status")
			limits, _ := os.ReadFile("/proc/self/limits")
			outcomes = append(outcomes, sdk.Delivered(string(text)+string(limits)))
		case "env":
			data, _ := json.Marshal(os.Environ())
			outcomes = append(outcomes, sdk.Delivered(string(data)))
		default:
			outcomes = append(outcomes, sdk.Delivered(r.ID))
		}
	}
	return outcomes
}

// startSleeper starts a process: in the plugin's group, in a session of its own, or in one and without a parent.
func startSleeper(how string, stdout, stderr *os.File) {
	cmd := exec.Command("/bin/sleep", "600")
	switch how {
	case "escape":
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	case "orphan":
		cmd = exec.Command("/bin/sh", "-c", "/bin/sleep 600 &")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	if how == "orphan" {
		cmd.Wait()
	}
}

// beHost launches a plugin, or a process that does not look for its parent, prints its process id and
// waits to be killed.
func beHost(dir string) {
	if os.Getenv("SUPERVISE_TEST_SLEEPER") != "" {
		p, err := newProcess(sleeper(), func(io.Reader) {})
		if err != nil || p.Start(context.Background()) != nil {
			os.Exit(1)
		}
		fmt.Println(p.pid())
		select {}
	}
	t, err := Start(context.Background(), Spec{
		Name: "x", Program: ownProgram("chaos"), Config: json.RawMessage(`{}`), RuntimeDir: dir, Log: hclog.NewNullLogger(),
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(t.Status().Pid)
	select {}
}

func sleeper() *exec.Cmd {
	cmd := exec.Command("/bin/sleep", "600")
	cmd.SysProcAttr = processAttributes()
	return cmd
}

func ownProgram(typ string) Program {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	program, err := Finder{Bundled: []string{typ}, Executable: self}.Find(typ)
	if err != nil {
		panic(err)
	}
	return program
}
