package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/consentd/consentd/core/admin"
)

const benchConfig = `
log {
  level = "error"
}
listener {
  address = %q
}
admin {
  address = %q
}
%s
source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"
  auth "api_key" {
    header = "X-API-Key"
    keys   = ["bench"]
  }
}
option "newsletter_email" {
  id            = "opt1"
  type          = "option"
  justification = "consent"
}
preference "interests" {
}
`

// webhookTarget posts every record to the sink, one call each; fileTarget appends them to a file in batches.
const (
	webhookTarget = `
target "webhook" %[1]q {
  config {
    url = %[2]q
  }
}
` + ruleBegins + "body" + ruleEnds

	fileTarget = `
target "file" %[1]q {
  config {
    path = %[2]q
  }
}
` + ruleBegins + "fields" + ruleEnds

	ruleBegins = `rule %[1]q {
  source = source.dataguard
  target = target.%[1]s
  when   = permission.newsletter_email.known
  record {
    key = citizen.id
    `
	ruleEnds = ` = {
      email      = citizen.external_ref
      newsletter = permission.newsletter_email.allowed
      state      = permission.newsletter_email.state
      interests  = { for c in preference.interests.choices : c => true }
    }
  }
}
`
)

// daemon is a consentd at work.
type daemon struct {
	binary, dir, file string
	listener, admin   string
	cores             float64 // that it may use; 0: all
	cmd               *exec.Cmd
	quota             *quota
}

// newDaemon writes a configuration with these targets. The daemon does not run yet.
func (o options) newDaemon(name string, targets ...string) (*daemon, error) {
	return o.newReplica(name, "", targets...)
}

// newReplica is newDaemon over a PostgreSQL database, if one is named.
func (o options) newReplica(name, dsn string, targets ...string) (*daemon, error) {
	d := &daemon{binary: o.binary, dir: filepath.Join(o.dir, name)}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if d.listener, err = freeAddress(); err != nil {
		return nil, err
	}
	if d.admin, err = freeAddress(); err != nil {
		return nil, err
	}
	store := fmt.Sprintf("store \"sqlite\" {\n  path = %q\n}", filepath.Join(d.dir, "consentd.db"))
	if dsn != "" {
		store = fmt.Sprintf("store \"postgres\" {\n  dsn   = %q\n  lease = %q\n}", dsn, lease)
	}
	text := fmt.Sprintf(benchConfig, d.listener, d.admin, store) + strings.Join(targets, "")
	d.file = filepath.Join(d.dir, "consentd.hcl")
	return d, os.WriteFile(d.file, []byte(text), 0o600)
}

// start runs it and says how long it took until updates were taken in.
func (d *daemon) start(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	d.cmd = exec.CommandContext(ctx, d.binary, "run", "--config", d.file)
	var said bytes.Buffer // with no rule it warns that it does nothing, which is what is measured
	d.cmd.Stdout, d.cmd.Stderr = &said, &said
	if err := d.cmd.Start(); err != nil {
		return 0, err
	}
	err := d.hold()
	if err == nil {
		err = serving(d.admin)
	}
	if err != nil {
		d.stop()
		return 0, fmt.Errorf("%w\n%s", err, said.String())
	}
	return time.Since(began), nil
}

// hold gives it the CPU that it may use, before it has any plugin.
func (d *daemon) hold() (err error) {
	if d.cores == 0 {
		return nil
	}
	if d.quota, err = newQuota(filepath.Base(d.dir), d.cores); err != nil {
		return err
	}
	return d.quota.hold(d.cmd.Process.Pid)
}

func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// stop ends it and removes what it kept.
func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
	if d.quota != nil {
		d.quota.remove()
	}
	_ = os.RemoveAll(d.dir)
}

// delivered is how many updates are delivered so far, over all targets.
func (d *daemon) delivered(ctx context.Context) (n int64, err error) {
	status, err := admin.NewClient(d.admin, "").Status(ctx)
	if err != nil {
		return 0, err
	}
	for _, t := range status.Targets {
		n += t.Delivered
	}
	return n, nil
}

// plugins are the processes of the daemon's targets.
func (d *daemon) plugins(ctx context.Context) (pids []int, err error) {
	status, err := admin.NewClient(d.admin, "").Status(ctx)
	for _, t := range status.Targets {
		pids = append(pids, t.Plugin.PID)
	}
	return pids, err
}

// under says what the daemon does under a load.
func (o options) under(ctx context.Context, d *daemon, load func() ([]time.Duration, error)) (result, error) {
	pids, err := d.plugins(ctx)
	if err != nil {
		return result{}, err
	}
	before, err := d.delivered(ctx)
	if err != nil {
		return result{}, err
	}
	pids = append(pids, d.cmd.Process.Pid)
	used, began := cpu(pids...), time.Now()
	took, err := load()
	if err != nil {
		return result{}, err
	}
	lasted := time.Since(began)
	after, err := d.delivered(ctx)
	if err != nil {
		return result{}, err
	}
	r := resultOf(took, lasted, cpu(pids...)-used)
	r.deliveries = float64(after-before) / lasted.Seconds()
	r.daemon, r.plugins = resident(d.cmd.Process.Pid), resident(pids[:len(pids)-1]...)
	return r, nil
}

func resultOf(took []time.Duration, lasted, used time.Duration) result {
	return result{
		acks: float64(len(took)) / lasted.Seconds(), p50: took[len(took)/2], p99: took[len(took)*99/100],
		cpu: used * 1000 / time.Duration(len(took)),
	}
}

// reference measures what the daemon is compared with.
func (o options) reference(ctx context.Context, kind, sink string) (result, error) {
	exe, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	address, err := freeAddress()
	if err != nil {
		return result{}, err
	}
	return o.through(exec.CommandContext(ctx, exe, "-serve", kind, "-at", address+","+sink), address)
}

// through measures acks through a process that listens at the address, and ends it.
func (o options) through(cmd *exec.Cmd, address string) (result, error) {
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if err := reachable(address); err != nil {
		return result{}, err
	}
	used, began := cpu(cmd.Process.Pid), time.Now()
	took, err := o.load(address)
	if err != nil {
		return result{}, err
	}
	r := resultOf(took, time.Since(began), cpu(cmd.Process.Pid)-used)
	r.daemon = resident(cmd.Process.Pid)
	return r, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func reachable(address string) error {
	var err error
	for range 500 {
		var c net.Conn
		if c, err = net.Dial("tcp", address); err == nil {
			return c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// serving waits until consentd takes updates.
func serving(admin string) error {
	if err := reachable(admin); err != nil {
		return err
	}
	for range 500 {
		res, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("consentd does not get ready")
}

// cpu is what processes have used, of /proc/PID/stat (proc_pid_stat(5)).
func cpu(pids ...int) (used time.Duration) {
	for _, pid := range pids {
		used += cpuOf(pid)
	}
	return used
}

func cpuOf(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	const ticks = 100 // USER_HZ, which is 100 on every Linux that Go runs on
	return time.Duration(user+system) * time.Second / ticks
}

// resident is the memory of processes in RAM, in bytes.
func resident(pids ...int) (bytes int64) {
	for _, pid := range pids {
		bytes += residentOf(pid)
	}
	return bytes
}

func residentOf(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
