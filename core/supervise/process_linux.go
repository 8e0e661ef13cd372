package supervise

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttributes make the process the first one of a process namespace: when it ends, for whatever reason,
// the kernel ends all that it ever started, those included that left its group. Who is not root gets one only
// along with a user namespace, in which it is who it was.
func processAttributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: unix.CLONE_NEWPID}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		attributes.Cloneflags |= unix.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	return attributes
}

// spawn starts the process, without a namespace where the system gives none.
func (p *process) spawn() error {
	err := p.cmd.Start()
	if err == nil || p.cmd.SysProcAttr.Cloneflags == 0 {
		return err
	}
	first, attributes := p.cmd, *p.cmd.SysProcAttr
	attributes.Cloneflags, attributes.UidMappings, attributes.GidMappings = 0, nil, nil
	p.cmd = &exec.Cmd{
		Path: first.Path, Args: first.Args, Env: first.Env, Stdout: first.Stdout, Stderr: first.Stderr,
		ExtraFiles: first.ExtraFiles, SysProcAttr: &attributes,
	}
	return p.cmd.Start()
}

// killAll ends the process, its group, and what it started that left the group.
func (p *process) killAll() {
	pid := p.cmd.Process.Pid
	if p.cmd.SysProcAttr.Cloneflags == 0 {
		for _, descendant := range tree(pid)[1:] {
			_ = syscall.Kill(descendant, syscall.SIGKILL)
		}
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
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
