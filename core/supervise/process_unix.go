//go:build unix && !linux

package supervise

import "syscall"

// There is no parent-death signal here. The SDK makes the plugin poll its parent instead.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// end waits until the process has ended, reaps it and kills what is left of its group.
func (p *process) end() {
	p.cmd.Wait() // how it ended is in cmd.ProcessState
	p.kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.living = false
}
