package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestTargetDownForAWhile: a target that answers 500 gets it after it recovers, at growing intervals.
func TestTargetDownForAWhile(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	s := newSink(t)
	s.answer = func(taken) int {
		if down.Load() {
			return 500
		}
		return 0
	}
	i := configure(t, apiKeySource+s.config("sink", "retry {\n    jitter = 0\n  }"))
	i.start()
	i.accept(update("ada", "GRANTED", 1))
	eventually(t, "five attempts", func() bool { return s.count() >= 5 })
	if got := i.target("sink"); got.Pending != 1 || !strings.Contains(got.LastError, "HTTP_500") {
		t.Errorf("while it is down: %+v", got)
	}
	i.accept(update("ada", "DENIED", 2)) // what arrives in the end is the newest state
	down.Store(false)
	i.settled("sink")
	all := s.of("ada")
	if last := all[len(all)-1]; last.status != 200 || last.Allowed {
		t.Errorf("the last attempt: %+v", last)
	}
	for n := 2; n < 5; n++ {
		before, after := all[n-1].at.Sub(all[n-2].at), all[n].at.Sub(all[n-1].at)
		if after <= before {
			t.Errorf("attempt %d came after %v, the one before after %v", n+1, after, before)
		}
	}
}

// TestDeadLetterAndReplay: a permanent error makes a dead letter with its reason, and replay brings it home
// after the cause is mended, with the newest state.
func TestDeadLetterAndReplay(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	s := newSink(t)
	s.answer = func(r taken) int {
		if broken.Load() && r.Citizen == "ada" {
			return 422
		}
		return 0
	}
	i := configure(t, apiKeySource+s.config("sink", ""))
	i.start()
	i.accept(update("ada", "GRANTED", 1))
	i.accept(update("bob", "GRANTED", 1))
	eventually(t, "a dead letter", func() bool { return i.target("sink").Dead == 1 })
	eventually(t, "bob is delivered", func() bool { return i.target("sink").Delivered == 1 })
	out, code := i.run("dead", "list")
	if code != 0 || !strings.Contains(out, "ada") || !strings.Contains(out, "rejected") || !strings.Contains(out, "HTTP_422") || strings.Contains(out, "bob") {
		t.Errorf("dead list: exit code %d\n%s", code, out)
	}
	// Newer state while it is dead is tried at once, and dead again.
	i.accept(update("ada", "DENIED", 2))
	eventually(t, "the newer state is tried", func() bool { return len(s.of("ada")) >= 2 && i.target("sink").Dead == 1 })
	broken.Store(false)
	if out, code := i.run("dead", "replay"); code != 2 {
		t.Errorf("replay of nothing: exit code %d\n%s", code, out)
	}
	if out, code := i.run("dead", "replay", "--target", "sink"); code != 0 || out != "1 replayed\n" {
		t.Errorf("replay: exit code %d, %s", code, out)
	}
	i.settled("sink")
	all := s.of("ada")
	if last := all[len(all)-1]; last.status != 200 || last.Allowed {
		t.Errorf("the last attempt: %+v", last)
	}
	if got := i.target("sink"); got.Dead != 0 || got.Delivered != 2 {
		t.Errorf("after the replay: %+v", got)
	}
	if out, code := i.run("dead", "list"); code != 0 || out != "No dead letters.\n" {
		t.Errorf("dead list: exit code %d, %s", code, out)
	}
}

func lives(pid int) bool {
	if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		// A zombie that nobody waits for yet is no life.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err == nil && !strings.Contains(string(stat), ") Z ")
	}
	return false
}

// TestKilled kills the plugin and the daemon again and again while updates come in. Nothing acknowledged is
// lost, nothing older overwrites newer, and no process stays behind.
func TestKilled(t *testing.T) {
	const citizens, senders, rounds = 40, 8, 6
	s := newSink(t)
	s.answer = func(taken) int { time.Sleep(2 * time.Millisecond); return 0 }
	i := configure(t, apiKeySource+s.config("sink", ""))
	i.start()

	var acked [citizens]atomic.Int64 // the newest acknowledged update of each
	var stop atomic.Bool
	var load sync.WaitGroup
	for sender := range senders {
		load.Go(func() {
			for n := 1; !stop.Load(); n++ {
				for c := sender; c < citizens; c += senders {
					state := []string{"DENIED", "GRANTED"}[n%2]
					// A post that gets no answer is sent again, as the sender does.
					for !stop.Load() {
						status, _, err := i.tryPost(update(fmt.Sprint("c", c), state, n))
						if err == nil && status == 200 {
							acked[c].Store(int64(n))
							break
						}
						time.Sleep(20 * time.Millisecond)
					}
				}
			}
		})
	}
	for round := range rounds {
		time.Sleep(300 * time.Millisecond)
		plugin := i.target("sink").Plugin.PID
		if round%2 == 0 {
			if plugin != 0 {
				_ = syscall.Kill(plugin, syscall.SIGKILL)
			}
			continue
		}
		i.kill()
		if plugin != 0 {
			eventually(t, "the plugin follows its killed host", func() bool { return !lives(plugin) })
		}
		i.start()
	}
	stop.Store(true)
	load.Wait()
	i.settled("sink")
	plugin := i.target("sink").Plugin.PID
	i.stop()
	if lives(plugin) {
		t.Error("the plugin outlived a daemon that ended in order")
	}
	for c := range citizens {
		name := fmt.Sprint("c", c)
		all := s.of(name)
		newest := ""
		for _, r := range all {
			if r.SentAt < newest {
				t.Errorf("%s: %s came after %s", name, r.SentAt, newest)
			}
			newest = r.SentAt
		}
		// The sender's last post may have been committed without an answer; never less than what was acked.
		want := epoch.Add(time.Duration(acked[c].Load()) * time.Second).Format(time.RFC3339)
		if newest < want {
			t.Errorf("%s: acknowledged up to %s, delivered up to %s", name, want, newest)
		}
	}
	if acked[0].Load() < 10 {
		t.Errorf("only %d updates of each citizen: too few to say anything", acked[0].Load())
	}
}

// TestSlowTargetLeavesOthersAlone is law 8: one target that hangs, one whose plugin is killed all the time.
func TestSlowTargetLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	slow, good := newSink(t), newSink(t)
	release := make(chan struct{})
	defer close(release)
	slow.answer = func(taken) int { <-release; return 0 }
	i := configure(t, apiKeySource+slow.config("slow", `timeout = "1s"`)+good.config("good", ""))
	i.start()
	for n := range 200 {
		i.accept(update(fmt.Sprint("c", n), "GRANTED", 1))
	}
	if got := i.settled("good"); got.Delivered != 200 {
		t.Errorf("good: %+v", got)
	}
	if got := i.target("slow"); got.Delivered != 0 || got.Dead != 0 || got.Pending != 200 {
		t.Errorf("slow: %+v", got)
	}
}

// TestLateWithdrawalIsSaid: an operator hears of a withdrawal that a target does not confirm in time.
func TestLateWithdrawalIsSaid(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	var down atomic.Bool
	down.Store(true)
	s.answer = func(taken) int {
		if down.Load() {
			return 500
		}
		return 0
	}
	i := configure(t, "withdrawal_slo = \"1s\"\n"+apiKeySource+s.config("sink", ""))
	i.start()
	i.accept(update("ada", "DENIED", 1))
	eventually(t, "a warning", func() bool {
		return strings.Contains(i.log.String(), "a withdrawal is not confirmed in time: target=sink")
	})
	if got := i.target("sink"); got.Withdrawals != 1 || got.OldestWithdrawal == nil {
		t.Errorf("status: %+v", got)
	}
	down.Store(false)
	eventually(t, "the all-clear", func() bool { return strings.Contains(i.log.String(), "every withdrawal is confirmed") })
}
