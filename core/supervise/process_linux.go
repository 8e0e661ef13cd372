package supervise

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// end waits until the process has ended, kills what is left of its group, and reaps it. In this order
// nobody else can have got its id when the group is killed.
func (p *process) end() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd.Wait() // how it ended is in cmd.ProcessState
	p.living = false
}
