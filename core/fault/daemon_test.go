package fault

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver registers itself

	"github.com/consentd/consentd/core/admin"
)

// patience is how long tests wait for what has to happen. It only ends what has gone wrong.
const patience = 60 * time.Second

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain for %v: %s", patience, what)
		}
	}
}

// daemon is consentd with a configuration of its own, started and ended any number of times.
type daemon struct {
	t testing.TB
	// exe is a link to the binary under a name of this daemon alone. Plugins run from it as well, so that
	// the processes of this daemon can be told from all others.
	exe             string
	dir             string // configuration and binary; not the store
	store           string
	listener, admin string
	wrap            []string // a command that runs the daemon, if any
	cmd             *exec.Cmd
	exited          chan struct{} // closed when cmd has ended
	log             tailBuffer
}

const baseConfig = `
log {
  level  = "info"
  format = "text"
}

listener {
  address = %q
}

admin {
  address = %q
}

store "sqlite" {
  path = %q
}

option "newsletter_email" {
  id            = "k3Rmx"
  type          = "option"
  justification = "consent"
}

retry {
  initial_interval = "100ms"
  max_interval     = "2s"
}
`

const apiKeySource = `
source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  auth "api_key" {
    header = "X-API-Key"
    keys   = ["secret-key"]
  }
}
`

// install has the daemon be another consentd from its next start on.
func (d *daemon) install(from string) {
	d.t.Helper()
	_ = os.Remove(d.exe)
	if err := os.Link(from, d.exe); err == nil {
		return
	}
	copied, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(d.exe, copied, 0o700)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// newDaemon configures a daemon whose store is at the path, or in a folder of the test's when that is empty.
func newDaemon(t testing.TB, store, rest string) *daemon {
	t.Helper()
	look()
	dir := t.TempDir()
	if store == "" {
		store = filepath.Join(dir, "consentd.db")
	}
	d := &daemon{t: t, dir: dir, exe: filepath.Join(dir, "consentd"), store: store, listener: freeAddress(t), admin: freeAddress(t)}
	d.install(binary)
	text := fmt.Sprintf(baseConfig, d.listener, d.admin, store) + rest
	if strings.HasPrefix(store, "postgres://") {
		text = strings.Replace(text, fmt.Sprintf("store \"sqlite\" {\n  path = %q\n", store), fmt.Sprintf("store \"postgres\" {\n  dsn   = %q\n  lease = %q\n", store, lease), 1)
	}
	if err := os.WriteFile(filepath.Join(dir, "consentd.hcl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of consentd:\n%s", d.log.String())
		}
		for _, p := range d.processes() {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		if d.cmd != nil {
			<-d.exited
		}
	})
	return d
}

// freeAddress is one outside the range from which the kernel takes the near end of connections, so that it
// is still free after the daemon was away for a while.
func freeAddress(t testing.TB) string {
	t.Helper()
	for port := range ports {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// ports yields where to look next; it starts at a place of this process so that two suites rarely meet.
var ports = func() func(func(int) bool) {
	var mu sync.Mutex
	next := os.Getpid() % 8000
	return func(yield func(int) bool) {
		for range 8000 {
			mu.Lock()
			port := 20000 + next
			next = (next + 1) % 8000
			mu.Unlock()
			if !yield(port) {
				return
			}
		}
	}
}()

// launch starts the process and does not wait.
func (d *daemon) launch() {
	d.t.Helper()
	args := append(append([]string{}, d.wrap...), d.exe, "run", "--config", filepath.Join(d.dir, "consentd.hcl"))
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	d.cmd.Env = append(os.Environ(), "TMPDIR="+d.dir)
	// Should the tests themselves be killed, what they started follows. The signal is tied to the thread that
	// started it, so that one has to live as long.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd, exited, started := d.cmd, make(chan struct{}), make(chan error)
	d.exited = exited
	go func() {
		defer close(exited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) ended() bool {
	select {
	case <-d.exited:
		return true
	default:
		return false
	}
}

// ready is whether /readyz says so and the listener takes connections.
func (d *daemon) ready() bool {
	res, err := client.Get("http://" + d.admin + "/readyz")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK && d.listens()
}

func (d *daemon) listens() bool {
	c, err := net.Dial("tcp", d.listener)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// start runs the daemon until it is ready and says how long that took.
func (d *daemon) start() time.Duration {
	d.t.Helper()
	began := time.Now()
	d.launch()
	d.waitReady()
	return time.Since(began)
}

func (d *daemon) waitReady() {
	d.t.Helper()
	eventually(d.t, "consentd is ready", func() bool {
		if d.ended() {
			d.t.Fatalf("consentd ended: %v", d.cmd.ProcessState)
		}
		return d.ready()
	})
}

// kill sends SIGKILL to the daemon itself and waits until it and every plugin of it are gone.
func (d *daemon) kill() {
	d.t.Helper()
	d.signal(syscall.SIGKILL)
	d.gone()
}

// gone waits until no process of the daemon's is left.
func (d *daemon) gone() {
	d.t.Helper()
	<-d.exited
	eventually(d.t, "no process outlives the daemon", func() bool { return len(d.processes()) == 0 })
}

// signal reaches the daemon and not its plugins. SIGCONT reaches all: one that was being launched when the daemon was
// stopped may have been taken for it.
func (d *daemon) signal(sig syscall.Signal) {
	for _, p := range d.processes() {
		if !p.plugin || sig == syscall.SIGCONT {
			_ = syscall.Kill(p.pid, sig)
		}
	}
}

// stop ends the daemon as an init system does.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	d.gone()
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("consentd ended with %v", d.cmd.ProcessState)
	}
}

// whole holds the files of a store that no process has open to SQLite's own check of them.
func whole(t testing.TB, store string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+store)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var found string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&found); err != nil || found != "ok" {
		t.Errorf("the store is damaged: %v %s", err, found)
	}
}

type process struct {
	pid    int
	plugin bool
}

// processes are those that run from the daemon's own binary.
func (d *daemon) processes() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		d.t.Fatal(err)
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process that ended and is not waited for yet has no such link any more.
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || exe != d.exe {
			continue
		}
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		found = append(found, process{pid, strings.Contains(string(args), "\x00plugin\x00")})
	}
	return found
}

// resident is the daemon's memory in bytes, without its plugins.
func (d *daemon) resident() int64 {
	for _, p := range d.processes() {
		if p.plugin {
			continue
		}
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.pid))
		if fields := strings.Fields(string(statm)); err == nil && len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			return pages * int64(os.Getpagesize())
		}
	}
	return 0
}

func (d *daemon) target(name string) admin.Target {
	d.t.Helper()
	s, err := admin.NewClient(d.admin, "").Status(context.Background())
	if err != nil {
		d.t.Fatalf("status: %v", err)
	}
	for _, t := range s.Targets {
		if t.Name == name {
			conserved(d.t, t)
			return t
		}
	}
	d.t.Fatalf("no target %s", name)
	return admin.Target{}
}

// conserved is law 12.
func conserved(t testing.TB, c admin.Target) {
	t.Helper()
	if sum := c.Delivered + c.Superseded + c.Erased + c.Pending + c.Dead + c.Discarded; c.Accepted != sum {
		t.Errorf("target %s: accepted %d updates and can account for %d: %+v", c.Name, c.Accepted, sum, c)
	}
}

// settled waits until a target has nothing pending.
func (d *daemon) settled(name string) admin.Target {
	d.t.Helper()
	var last admin.Target
	eventually(d.t, name+" has nothing pending", func() bool {
		last = d.target(name)
		return last.Pending == 0
	})
	return last
}

// client is for everything but the load.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct {
	mu   sync.Mutex
	buf  []byte
	keep int // bytes at least; 0: keptLog
}

const keptLog = 16 << 10

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	keep := max(b.keep, keptLog)
	if len(b.buf) > 2*keep {
		b.buf = append([]byte(nil), b.buf[len(b.buf)-keep:]...)
	}
	return len(p), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.buf)
}
