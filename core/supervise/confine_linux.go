package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// programFD is where a launched process has the program that it becomes.
const programFD = 3

// bounds are what a process that becomes a plugin gives up first.
type bounds struct {
	Files  uint64 `json:"files"`
	Data   uint64 `json:"data"`
	Script bool   `json:"script,omitempty"`
	// Landlock is whether Read and Write are all that it may read and write, next to what every program needs.
	Landlock bool     `json:"landlock,omitempty"`
	Read     []string `json:"read,omitempty"`
	Write    []string `json:"write,omitempty"`
}

// command runs this very executable, also if its file was replaced meanwhile; Exec makes the plugin of it.
func command(p Program, file *os.File, path, socketDir string) (*exec.Cmd, error) {
	b := bounds{Files: uint64(p.Limits.Files), Data: 2*uint64(p.Limits.Memory) + dataSlack, Landlock: p.Limits.Landlock}
	if b.Landlock {
		b.Read, b.Write = p.Limits.Read, append([]string{socketDir}, p.Limits.Write...)
	}
	var magic [2]byte
	if _, err := file.ReadAt(magic[:], 0); err == nil && string(magic[:]) == "#!" {
		b.Script = true
	}
	text, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{"consentd", "plugin", "exec", string(text), "--", path}, p.Args...),
		ExtraFiles: []*os.File{file}, SysProcAttr: processAttributes(),
	}, nil
}

// Exec turns this process, which the host has just started, into the plugin whose program is open as file
// descriptor 3. It limits itself first, since a process can limit what it becomes but nobody else. So what was
// verified is what runs, whatever happens to its name meanwhile. It returns only an error.
func Exec(args []string) error {
	if len(args) < 2 {
		return errors.New("consentd runs this by itself")
	}
	var b bounds
	if err := json.Unmarshal([]byte(args[0]), &b); err != nil {
		return fmt.Errorf("read bounds: %w", err)
	}
	runtime.LockOSThread() // the privileges given up below are the thread's, and so what it becomes has them not
	program := "/proc/self/fd/" + strconv.Itoa(programFD)
	if !b.Script { // its interpreter still has to read it
		unix.CloseOnExec(programFD)
	}
	// The first to go when the machine runs out of memory. Where that is not allowed nothing is lost.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	// The host asked for this too, but of the first thread, and this may be another.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("end with the host: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep children: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	if b.Landlock {
		if err := b.lock(program); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		what  int
		value uint64
	}{
		{syscall.RLIMIT_NOFILE, b.Files},
		{syscall.RLIMIT_CORE, 0}, // it would hold persons' data
		{syscall.RLIMIT_DATA, b.Data},
	} {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("read limit: %w", err)
		}
		now.Max = min(now.Max, l.value)
		now.Cur = now.Max
		if err := syscall.Setrlimit(l.what, &now); err != nil {
			return fmt.Errorf("set limit: %w", err)
		}
	}
	return fmt.Errorf("execute %s: %w", args[1], syscall.Exec(program, args[1:], os.Environ()))
}

// usage is what a process and all that it started take: resident bytes, a page that several share counted for
// each, and how many processes they are. Processes whose parent died are in it, since the plugin inherits them.
func usage(leader int) (memory int64, processes int) {
	for _, pid := range tree(leader) {
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue // ended meanwhile
		}
		processes++
		if fields := strings.Fields(string(statm)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			memory += pages * int64(os.Getpagesize())
		}
	}
	return memory, processes
}

// tree is a process and all that descend from it. A fork bomb is counted far enough to tell that it is one.
func tree(leader int) []int {
	all := []int{leader}
	for i := 0; i < len(all) && len(all) < mostProcesses+1; i++ {
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", all[i]))
		for _, thread := range threads {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", all[i], thread.Name()))
			for _, word := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(word); err == nil && !slices.Contains(all, pid) {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}
