package supervise

import (
	"fmt"
	"strconv"
	"time"

	"github.com/consentd/consentd/core/config"
)

// Limits are what one plugin process and all that it starts may take.
type Limits struct {
	Memory    int64 // bytes, resident
	Files     int   // open at once, of each process
	Processes int
	// Landlock is whether Read and Write are all that it may reach of the file system, apart from what every
	// program needs.
	Landlock    bool
	Read, Write []string
}

// What a plugin gets unless its block says otherwise. The bundled ones take a tenth of it.
const (
	defaultMemory    = 512 << 20
	defaultFiles     = 1024
	defaultProcesses = 64
)

// mostProcesses is the most that can be asked for.
const mostProcesses = 10_000

// dataSlack is how much more than twice its memory one process may map for writing. It is for what grows
// faster than the watch looks; a Go program maps more than it ever touches.
const dataSlack = 256 << 20

// watchEvery is how often a process is held to its limits. Looking costs about a tenth of a millisecond.
const watchEvery = 200 * time.Millisecond

// limitsOf are the limits for a plugin. An external one never reaches more of the file system than it was
// given. Ours do, unless the block names what they may: they serve what an operator configured, like the
// path of a file.
func limitsOf(p config.Plugin, external bool) Limits {
	return Limits{
		Memory: orDefault(p.Memory, defaultMemory), Files: orDefault(p.Files, defaultFiles), Processes: orDefault(p.Processes, defaultProcesses),
		Landlock: external || p.Read != nil || p.Write != nil, Read: p.Read, Write: p.Write,
	}
}

func orDefault[T int | int64](n, otherwise T) T {
	if n == 0 {
		return otherwise
	}
	return n
}

// environ tells a Go program to collect its garbage before the limit is reached.
func (l Limits) environ() string { return "GOMEMLIMIT=" + strconv.FormatInt(l.Memory/10*9, 10) }

// hold kills the process when it takes more than it may, and returns when it has ended.
func (p *process) hold(l Limits, typ string) {
	looks := time.NewTicker(watchEvery)
	defer looks.Stop()
	for {
		select {
		case <-p.exited:
			return
		case <-looks.C:
		}
		memory, processes := usage(p.pid())
		p.memory.Store(memory)
		p.processes.Store(int64(processes))
		switch {
		case memory > l.Memory:
			p.killFor(fmt.Sprintf("it took %d MiB of memory and may take %d; if it needs more, set memory in plugin %q", memory>>20, l.Memory>>20, typ))
		case processes > l.Processes:
			p.killFor(fmt.Sprintf("it ran more than %d processes; if it needs more, set processes in plugin %q", l.Processes, typ))
		}
	}
}
