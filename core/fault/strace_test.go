package fault

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// attach lets system calls of a running daemon fail on the file system that the tests' own folder is on, from
// when it returns until the returned function is called. strace counts calls for each thread alone, so on a
// program with many threads only "all of them" has a meaning; failing one certain call is what disk is for.
func (d *daemon) attach(calls, errno string) (detach func()) {
	d.t.Helper()
	args := []string{"-f", "-o", d.dir + "/trace", "-e", "trace=" + calls, "-e", "inject=" + calls + ":error=" + errno}
	for _, suffix := range []string{"", "-wal"} {
		args = append(args, "-P", d.store+suffix)
	}
	for _, p := range d.processes() {
		if !p.plugin {
			args = append(args, "-p", strconv.Itoa(p.pid))
		}
	}
	cmd := exec.Command("strace", args...)
	var said tailBuffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, "strace is attached", func() bool { return bytes.Contains([]byte(said.String()), []byte("attached")) })
	return func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
	}
}

// injected is whether a call has failed.
func (d *daemon) injected() bool {
	log, err := os.ReadFile(d.dir + "/trace")
	return err == nil && bytes.Contains(log, []byte("(INJECTED)"))
}

// straceAvailable tries what the tests need.
func straceAvailable() error {
	out, err := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w %s", err, out)
	}
	return nil
}

// TestSyncsFailUnderLoad lets every sync fail from a random instant on, under load. The process ends with an
// error, and has acknowledged nothing that is not there.
func TestSyncsFailUnderLoad(t *testing.T) {
	needs(t, "strace", straceAvailable())
	rnd := random(t)
	sink := newSink(t)
	d := newDaemon(t, "", apiKeySource+sink.rule("sink", ""))
	s := newSender(d, "c", citizens)
	for range howOften(*calls, 2, 20) {
		_ = os.Remove(d.dir + "/trace")
		d.start()
		stop := s.load(connections)
		time.Sleep(randomly(rnd, 300*time.Millisecond))
		detach := d.attach("fsync,fdatasync", "EIO")
		eventually(t, "a sync fails", d.injected)
		acks := s.acks.Load()
		select {
		case <-d.exited:
		case <-time.After(patience / 3):
			t.Error("after a failed sync the process goes on")
		}
		// What was answered just before the failure may be read just after it, once on each connection.
		if more := s.acks.Load() - acks; more > 2*connections {
			t.Errorf("%d updates were acknowledged after a sync failed", more)
		}
		stop()
		detach()
		if d.ended() && d.cmd.ProcessState.ExitCode() <= 0 {
			t.Errorf("it ended with %v", d.cmd.ProcessState)
		}
		d.kill()
		sink.quiet(t)
		d.start()
		s.check(t, d, sink, "sink")
		d.kill()
	}
}

// TestDiskFullUnderLoad fills the disk under load and empties it again.
func TestDiskFullUnderLoad(t *testing.T) {
	needs(t, "strace", straceAvailable())
	rnd := random(t)
	sink := newSink(t)
	d := newDaemon(t, "", apiKeySource+sink.rule("sink", ""))
	s := newSender(d, "c", citizens)
	d.start()
	c := &connection{address: d.listener}
	defer c.close()
	for range howOften(*calls, 1, 20) {
		_ = os.Remove(d.dir + "/trace")
		stop := s.load(connections)
		time.Sleep(randomly(rnd, 300*time.Millisecond))
		detach := d.attach("pwrite64,write", "ENOSPC")
		refused := s.refused.Load()
		eventually(t, "updates are refused", func() bool { return s.refused.Load() > refused+connections })
		for n := range 5 {
			if a, err := c.post(update("full", int64(n+1))); err == nil && (a.status != http.StatusServiceUnavailable || a.retryAfter == "") {
				t.Errorf("answer %+v of a daemon whose disk is full", a)
			}
		}
		if d.ready() {
			t.Error("it says it is ready while the disk is full")
		}
		detach()
		acks := s.acks.Load()
		eventually(t, "updates are taken again", func() bool { return s.acks.Load() > acks+citizens || d.ended() })
		stop()
		if d.ended() {
			t.Fatalf("it ended: %v", d.cmd.ProcessState)
		}
		s.check(t, d, sink, "sink")
		d.kill()
		sink.quiet(t)
		d.start()
		s.check(t, d, sink, "sink")
	}
	d.stop()
	whole(t, d.store)
	t.Logf("%d updates refused, %d acknowledged", s.refused.Load(), s.acks.Load())
}
