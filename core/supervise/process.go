package supervise

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// drainTime is how long the output of a process that has ended is read on, in case a child of its
// holds the other end.
const drainTime = time.Second

// process is one plugin process. It is the runner through which go-plugin starts and ends it: the
// stock one kills the leader alone, waits for ever while a grandchild holds a pipe, gives the child
// our standard input, and forks from whatever thread it happens to be on.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File // our ends
	theirs         []*os.File
	logStderr      func(io.Reader)
	// exited is closed when the process was reaped and all that it wrote to stderr was logged.
	exited chan struct{}

	// memory and processes are what it took when it was last looked at.
	memory, processes atomic.Int64

	mu     sync.Mutex
	living bool
	doomed bool   // kill was called
	why    string // it was killed, if there is something to say about that
}

func newProcess(cmd *exec.Cmd, logStderr func(io.Reader)) (*process, error) {
	stdout, theirStdout, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stderr, theirStderr, err := os.Pipe()
	if err != nil {
		stdout.Close()
		theirStdout.Close()
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = theirStdout, theirStderr
	return &process{
		cmd: cmd, stdout: stdout, stderr: stderr, theirs: []*os.File{theirStdout, theirStderr},
		logStderr: logStderr, exited: make(chan struct{}),
	}, nil
}

// Start starts the process.
func (p *process) Start(context.Context) error {
	started := make(chan error)
	go p.live(started)
	return <-started
}

// live is the life of the process. It stays on one thread, because the kernel sends the parent-death
// signal when the thread that forked ends, not the host (prctl(2), PR_SET_PDEATHSIG).
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.spawn()
	for _, f := range p.theirs {
		f.Close()
	}
	if err != nil {
		p.stdout.Close()
		p.stderr.Close()
		close(p.exited)
		started <- err
		return
	}
	p.mu.Lock()
	p.living = true
	doomed := p.doomed
	p.mu.Unlock()
	if doomed {
		p.kill()
	}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		p.logStderr(p.stderr)
	}()
	started <- nil

	p.end()
	until := time.Now().Add(drainTime)
	p.stdout.SetReadDeadline(until)
	p.stderr.SetReadDeadline(until)
	<-logged
	p.stderr.Close()
	close(p.exited)
}

// kill ends the process and all in its group; one that has not started yet ends as soon as it has.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = true
	if p.living {
		p.killAll()
	}
}

// killFor kills the process for what it did, which becomes part of how it ended.
func (p *process) killFor(why string) {
	p.mu.Lock()
	if p.why == "" && !p.doomed {
		p.why = why
	}
	p.mu.Unlock()
	p.kill()
}

// exit is how the process ended: "exit status 2", "signal: killed". It waits for that.
func (p *process) exit() string {
	<-p.exited
	if p.cmd.ProcessState == nil {
		return "not started"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != "" {
		return p.cmd.ProcessState.String() + ": " + p.why
	}
	return p.cmd.ProcessState.String()
}

func (p *process) Wait(context.Context) error {
	<-p.exited
	p.stdout.Close() // go-plugin has read it to the end
	return nil
}

func (p *process) Kill(context.Context) error {
	p.kill()
	return nil
}

func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr is empty for go-plugin: it would drop lines that are not in its own format to debug.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

func (p *process) Name() string { return p.cmd.Path }

// ID is the process id, or empty when the process was never started.
func (p *process) ID() string {
	if pid := p.pid(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

func (p *process) pid() int {
	if p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Diagnose has nothing to add: what the process said for itself is in the log.
func (p *process) Diagnose(context.Context) string { return "" }

func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
