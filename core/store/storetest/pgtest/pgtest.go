// Package pgtest runs throw-away PostgreSQL clusters for tests, from the server's own binaries. It is no part of the
// daemon.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Cluster is a server of its own, listening on loopback.
type Cluster struct {
	dir, port string
	settings  []string
	out       lockedText
	server    *exec.Cmd
	exited    chan struct{}
	databases int
}

type lockedText struct {
	mu   sync.Mutex
	text []byte
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if len(l.text) > 64<<10 {
		l.text = l.text[len(l.text)-32<<10:]
	}
	return len(p), nil
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

var errNone = errors.New("PostgreSQL's server is not installed")

// program finds one of the server's binaries, of the newest version where there are several.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", errNone
	}
	slices.Sort(found)
	return found[len(found)-1], nil
}

// nobody is whom servers run as when the tests are root's: they refuse root.
const nobody = 65534

func (c *Cluster) command(name string, args ...string) (*exec.Cmd, error) {
	path, err := program(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd, nil
}

// Start makes a cluster and runs it, in memory if there is room: to make databases is much to write. The server syncs
// as ever, and a crash of it alone loses nothing. Settings are lines of its configuration, as in "fsync=off".
func Start(settings ...string) (*Cluster, error) { return StartIn(folder(), settings...) }

// StartIn is Start in a folder that others may enter, as that of temporary files ("") is.
func StartIn(parent string, settings ...string) (_ *Cluster, err error) {
	dir, err := os.MkdirTemp(parent, "consentd-postgres-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, settings: settings}
	defer func() {
		if err != nil {
			c.Remove()
		}
	}()
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, err
		}
	}
	initdb, err := c.command("initdb", "-D", dir+"/data", "-A", "trust", "-U", "consentd", "-E", "UTF8", "--no-sync")
	if err != nil {
		return nil, err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, c.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	return c, c.Run()
}

// folder is in memory, if there is room.
func folder() string {
	const memory, room = "/dev/shm", 2 << 30
	var fs syscall.Statfs_t
	if syscall.Statfs(memory, &fs) != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return ""
	}
	return memory
}

// patience is how long a server may take to start.
const patience = time.Minute

// Run runs the server, also again after it ended.
func (c *Cluster) Run() error {
	args := []string{"-D", c.dir + "/data", "-p", c.port, "-k", c.dir}
	for _, s := range append([]string{"listen_addresses=127.0.0.1", "max_connections=100"}, c.settings...) {
		args = append(args, "-c", s)
	}
	cmd, err := c.command("postgres", args...)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = &c.out, &c.out
	exited, started := make(chan struct{}), make(chan error)
	c.server, c.exited = cmd, exited
	go func() { // the signal at a parent's death is tied to the thread that started it
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
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(30 * time.Millisecond) {
		err := c.Exec("postgres", "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("the server ended: %w\n%s", err, c.out.String())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not answer: %w\n%s", err, c.out.String())
		}
	}
}

// Restart has the server run with other settings.
func (c *Cluster) Restart(t testing.TB, settings ...string) {
	t.Helper()
	c.Stop(syscall.SIGINT)
	c.settings = settings
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
}

// Own gives files to the server, which does not read keys of others.
func (c *Cluster) Own(t testing.TB, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if os.Getuid() == 0 {
			if err := os.Chown(p, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Access puts lines before all others of pg_hba.conf. They count from the next start on.
func (c *Cluster) Access(t testing.TB, lines ...string) {
	t.Helper()
	path := c.dir + "/data/pg_hba.conf"
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append([]byte(strings.Join(lines, "\n")+"\n"), text...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Stop ends the server: SIGINT ends connections and then the server, SIGQUIT all at once, as a crash does.
func (c *Cluster) Stop(signal syscall.Signal) {
	if c.server == nil || c.server.Process == nil {
		return
	}
	_ = c.server.Process.Signal(signal)
	<-c.exited
}

// Remove ends the server and removes the cluster.
func (c *Cluster) Remove() {
	c.Stop(syscall.SIGQUIT)
	os.RemoveAll(c.dir)
}

// DSN is the connection string of a database.
func (c *Cluster) DSN(database string) string {
	return fmt.Sprintf("postgres://consentd@127.0.0.1:%s/%s?sslmode=disable", c.port, database)
}

// Dir is the cluster's folder.
func (c *Cluster) Dir() string { return c.dir }

// Address is where the server listens.
func (c *Cluster) Address() string { return "127.0.0.1:" + c.port }

// Exec runs statements in a database.
func (c *Cluster) Exec(database, statements string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.DSN(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statements, pgx.QueryExecModeSimpleProtocol)
	return err
}

// Database makes a database and answers with its connection string.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	c.databases++
	name := fmt.Sprint("test", c.databases)
	if err := c.Exec("postgres", "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return c.DSN(name)
}

// Name is the database of a connection string that Database made.
func Name(dsn string) string {
	name, _, _ := strings.Cut(dsn[strings.LastIndex(dsn, "/")+1:], "?")
	return name
}

// New is a cluster for one test. Where PostgreSQL is not installed the test is skipped, but not where everything is to be
// tested.
func New(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c, err := Start(settings...)
	need(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the server:\n%s", c.out.String())
		}
		c.Remove()
	})
	return c
}

func need(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, errNone) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// Shared is a cluster for all tests of a binary, started by the first that needs it. TestMain removes it.
type Shared struct {
	once    sync.Once
	cluster *Cluster
	err     error
}

// Cluster is the cluster.
func (s *Shared) Cluster(t testing.TB) *Cluster {
	t.Helper()
	s.once.Do(func() { s.cluster, s.err = Start() })
	need(t, s.err)
	return s.cluster
}

// Remove removes the cluster, if there is one.
func (s *Shared) Remove() {
	if s.cluster != nil {
		s.cluster.Remove()
	}
}
