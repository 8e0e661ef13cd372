package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/consentd/consentd/sdk/host"
)

const (
	// startTime is how long a plugin may take to print its address.
	startTime = 30 * time.Second
	// farewell is how long a plugin that has closed its target may take to exit.
	farewell = 2 * time.Second
)

// maxRuntimeDir is how long the path of a runtime directory may be: a unix socket's has 107 bytes
// (unix(7)), and the folder and the socket in it take 37 of them.
const maxRuntimeDir = 70

// instance is one plugin process and the connection to it.
type instance struct {
	client  *host.Client
	process *process
	plugin  *plugin.Client
	dir     string // its sockets
	began   time.Time
	calls   sync.WaitGroup // under way
}

// launch starts the program and connects to it. When ctx ends before that the process is killed.
func launch(ctx context.Context, program Program, runtimeDir string, log hclog.Logger) (*instance, error) {
	if len(runtimeDir) > maxRuntimeDir {
		return nil, fmt.Errorf("runtime directory %s: more than %d bytes, too long for a socket in it", runtimeDir, maxRuntimeDir)
	}
	file, path, err := program.open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	dir, err := os.MkdirTemp(runtimeDir, socketDirPrefix(os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("make socket directory: %w", err)
	}
	undo := func() bool { return true }
	inst := &instance{dir: dir, began: time.Now()}
	said := newPluginLog(log)
	chatter := hclog.NewNullLogger() // go-plugin tells of every exit as an error, also of the ones we want
	if log.IsTrace() {
		chatter = log.Named("go-plugin")
	}
	inst.plugin, inst.client, err = host.Launch(&plugin.ClientConfig{
		SkipHostEnv:      true,
		StartTimeout:     startTime,
		Logger:           chatter,
		SyncStdout:       &lineWriter{log: said},
		SyncStderr:       &lineWriter{log: said},
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		RunnerFunc: func(_ hclog.Logger, wanted *exec.Cmd, _ string) (runner.Runner, error) {
			cmd, err := command(program, file, path, dir)
			if err != nil {
				return nil, err
			}
			cmd.Env = append([]string{program.Limits.environ(), "TMPDIR=" + dir}, program.environ()...)
			cmd.Env = append(append(cmd.Env, wanted.Env...), plugin.EnvUnixSocketDir+"="+dir)
			p, err := newProcess(cmd, said.read)
			if err != nil {
				return nil, err
			}
			inst.process = p
			undo = context.AfterFunc(ctx, p.kill)
			return p, nil
		},
	})
	undo()
	if inst.process != nil && inst.process.pid() != 0 {
		go inst.process.hold(program.Limits, program.Type)
	}
	switch {
	case err == nil && ctx.Err() == nil:
		return inst, nil
	case err == nil:
		inst.kill()
	default:
		os.RemoveAll(dir)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("launch plugin %s: %w", program.Type, ctx.Err())
	}
	return nil, fmt.Errorf("launch plugin %s: %w", program.Type, launchError(inst.process, err))
}

// launchError says in one line why a process did not become a plugin.
func launchError(p *process, err error) error {
	if p != nil && p.pid() != 0 {
		<-p.exited
		if state := p.cmd.ProcessState; state.Exited() {
			return fmt.Errorf("it ended before it served, with %s; what it said is in the log", state)
		}
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(text)
}

// environ is what the process sees of the host's environment.
func (p Program) environ() []string {
	env := []string{} // nil would mean all of it
	for _, name := range p.Env {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// exited is closed when the process has ended.
func (i *instance) exited() <-chan struct{} { return i.process.exited }

// kill ends the process and its group at once and frees what the instance holds.
func (i *instance) kill() {
	i.process.kill()
	i.plugin.Kill()
	os.RemoveAll(i.dir)
}

// close waits for the calls under way, asks the target to close, then the process to exit, and kills
// what is left. The first two end with ctx.
func (i *instance) close(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		i.calls.Wait()
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	err := i.client.Close(ctx)
	if err == nil {
		// Without this go-plugin would wait for ever for a process that does not answer.
		last := time.AfterFunc(farewell, i.process.kill)
		i.plugin.Kill()
		last.Stop()
	}
	i.kill()
	return err
}

// Socket directories are named after the process that made them, so that others can tell whether it
// still lives.
func socketDirPrefix(pid int) string { return "p" + strconv.Itoa(pid) + "-" }

// Sweep makes the runtime directory, open to this user alone, and removes what processes that are gone
// left in it. It is called before the first launch.
func Sweep(runtimeDir string) error {
	if err := os.MkdirAll(runtimeDir, 0o700); err != nil {
		return fmt.Errorf("make runtime directory: %w", err)
	}
	entries, err := os.ReadDir(runtimeDir)
	if err != nil {
		return fmt.Errorf("sweep runtime directory: %w", err)
	}
	for _, e := range entries {
		number, _, ok := strings.Cut(e.Name(), "-")
		pid, err := strconv.Atoi(strings.TrimPrefix(number, "p"))
		if !ok || err != nil || !strings.HasPrefix(number, "p") || !e.IsDir() {
			continue
		}
		// In a container the daemon has the same id in every life.
		if pid != os.Getpid() && syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		if err := os.RemoveAll(filepath.Join(runtimeDir, e.Name())); err != nil {
			return fmt.Errorf("sweep runtime directory: %w", err)
		}
	}
	return nil
}
