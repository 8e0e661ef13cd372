package fault

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is the service manager's end of sd_notify(3).
type manager struct {
	t      testing.TB
	socket *net.UnixConn
	said   []string // all that it was told, line by line
}

func newManager(t testing.TB) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{t: t, socket: socket}
}

// hears reads one message within a time, and says whether there was any.
func (m *manager) hears(within time.Duration) (message []string, some bool) {
	_ = m.socket.SetReadDeadline(time.Now().Add(within))
	var buf [4096]byte
	n, err := m.socket.Read(buf[:])
	if err != nil {
		return nil, false
	}
	message = strings.Split(string(buf[:n]), "\n")
	m.said = append(m.said, message...)
	return message, true
}

// waits reads until a message has a line, which is then the last one that was read, and answers that message.
func (m *manager) waits(line string) []string {
	m.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if message, some := m.hears(time.Second); some && slices.Contains(message, line) {
			return message
		}
	}
	m.t.Fatalf("the service manager waits for %s; it was told\n%s", line, strings.Join(m.said, "\n"))
	return nil
}

// TestServiceManager tells a service manager of a start, of reloads good and bad, and of the end.
func TestServiceManager(t *testing.T) {
	m := newManager(t)
	d := newDaemon(t, "", apiKeySource)
	d.start()
	ready := m.waits("READY=1")
	if status := strings.Join(ready, " "); !strings.Contains(status, "STATUS=Takes updates for 0 targets, configuration ") {
		t.Errorf("when ready it is told %q", ready)
	}
	if !slices.Contains(m.said, "EXTEND_TIMEOUT_USEC=60000000") || !slices.Contains(m.said, "STATUS=Opening the store") {
		t.Errorf("it is not asked for more time while the store is opened:\n%s", strings.Join(m.said, "\n"))
	}

	config := filepath.Join(d.dir, "consentd.hcl")
	good, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for text, failed := range map[string]bool{string(good): false, "nonsense {\n}\n": true} {
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		begins := m.waits("RELOADING=1")
		if !slices.ContainsFunc(begins, regexp.MustCompile(`^MONOTONIC_USEC=[0-9]+$`).MatchString) {
			t.Errorf("it is not told when the reload began: %q", begins)
		}
		ends := strings.Join(m.waits("READY=1"), " ")
		if strings.Contains(ends, "the last reload failed") != failed {
			t.Errorf("after a reload, failed %v, it is told %q", failed, ends)
		}
	}
	if slices.Contains(m.said, "WATCHDOG=1") {
		t.Error("there are pings, and nobody asked for them")
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.waits("STOPPING=1")
	<-d.exited
}

// TestWatchdog stops a disk: the daemon then still answers /healthz, but whoever waits for its pings does so in
// vain. When the disk goes on, they do.
func TestWatchdog(t *testing.T) {
	needs(t, "a FUSE file system", fuseAvailable())
	m := newManager(t)
	const ping = "WATCHDOG=1"
	t.Setenv("WATCHDOG_USEC", "400000") // one each 200 ms
	d := newShaky(t)
	d.launch()
	m.waits("READY=1")
	for range 3 {
		m.waits(ping)
	}
	func() {
		d.disk.mu.Lock()
		defer d.disk.mu.Unlock()
		pings := 0
		for until := time.Now().Add(2 * time.Second); time.Now().Before(until); {
			if message, some := m.hears(time.Until(until)); some && slices.Contains(message, ping) {
				pings++
			}
		}
		if pings > 1 { // one may have been on its way
			t.Errorf("%d pings while the store could not write", pings)
		}
	}()
	m.waits(ping)
	d.disk.failing(failure{operation: writing, from: 1, to: 1 << 30, errno: syscall.ENOSPC})
	eventually(t, "the disk is full", func() bool { return d.disk.hits() > 0 })
	for range 3 { // another start would find it as full
		m.waits(ping)
	}
	d.disk.failing(failure{})
	d.stop()
}
