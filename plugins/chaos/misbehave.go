package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/consentd/consentd/sdk"
)

// misbehave does over one record what it asks for. What lets the process live ends with the record delivered.
func (t *target) misbehave(ctx context.Context, in sdk.Record, r record) sdk.Outcome {
	switch r.Do {
	case "exit":
		fmt.Fprintln(os.Stderr, "chaos exits over a record, as it was told")
		os.Exit(7)
	case "panic":
		panic("chaos panics over a record, as it was told")
	case "hang":
		select {}
	case "late":
		<-ctx.Done()
		time.Sleep(time.Second)
	case "slow":
		time.Sleep(time.Second)
	case "balloon":
		for held := [][]byte{}; ; time.Sleep(time.Millisecond) {
			held = append(held, bytes.Repeat([]byte("x"), 4<<20))
		}
	case "fork", "fork_escape", "fork_orphan":
		if err := fork(r.Do); err != nil {
			return sdk.Retry("FORK", "no process could be started")
		}
	case "leak":
		for range 1000 {
			go func() { <-t.leaked }()
		}
	case "flood_log":
		for i := range 100_000 {
			t.log.Info(flood, "line", i)
		}
	case "flood_stderr":
		for i := range 100_000 {
			fmt.Fprintln(os.Stderr, flood, i)
		}
	case "unknown":
		return sdk.Outcome{Kind: 99, Code: "TOLD"}
	case "huge":
		return sdk.Outcome{Kind: sdk.KindRetry, Reference: strings.Repeat("x", 65<<20)}
	}
	r.Do = "delivered"
	return t.deliver(ctx, in, r)
}

// fork starts a process that would run for ten minutes.
func fork(how string) error {
	cmd := exec.Command("/bin/sleep", "600")
	switch how {
	case "fork_escape":
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	case "fork_orphan":
		cmd = exec.Command("/bin/sh", "-c", "/bin/sleep 600 &")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		return cmd.Run()
	}
	return cmd.Start()
}
