//go:build unix && !linux

package supervise

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// command runs the program as it is: what confines it is Linux's.
func command(p Program, _ *os.File, path, _ string) (*exec.Cmd, error) {
	cmd := exec.Command(path, p.Args...)
	cmd.SysProcAttr = processAttributes()
	return cmd, nil
}

// There is no parent-death signal here. The SDK makes the plugin poll its parent instead.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// Exec is for Linux.
func Exec([]string) error { return errors.New("plugins are not confined on this system") }

func usage(leader int) (memory int64, processes int) { return 0, len(tree(leader)) }

func tree(leader int) []int { return []int{leader} }

func (p *process) spawn() error { return p.cmd.Start() }

func (p *process) killAll() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// end waits until the process has ended, reaps it and kills what is left of its group.
func (p *process) end() {
	p.cmd.Wait() // how it ended is in cmd.ProcessState
	p.kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.living = false
}
