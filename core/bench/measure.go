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

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/webhook"
)

// nowhere is a store that keeps nothing.
type nowhere struct{}

func (nowhere) Accept(context.Context, consent.Update) (consent.Verdict, error) {
	return consent.Accepted, nil
}
func (nowhere) Quarantine(context.Context, store.Quarantined) error { return nil }

// serveBare serves the daemon's own handler over no store.
func serveBare(address string) error {
	listener := config.Listener{Address: address, MaxBodySize: 1 << 20}
	log := hclog.NewNullLogger()
	h, err := webhook.New(webhook.Options{
		Listener: listener, Store: nowhere{}, Log: log, Metrics: webhook.NewMetrics(prometheus.NewRegistry()),
		Sources: []config.Source{{
			Name: "dataguard", Path: "/webhooks/dataguard", UpdateType: consent.EffectivePermission,
			Auth: config.Auth{Mode: config.AuthAPIKey, Header: "X-API-Key", Keys: []string{"bench"}},
		}},
	})
	if err != nil {
		return err
	}
	err = webhook.NewServer(listener, h, log).ListenAndServe()
	if err == http.ErrServerClosed {
		return nil
	}
	return err
}

func (o options) measureBare(ctx context.Context) (result, error) {
	exe, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	address, err := freeAddress()
	if err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, exe, "-bare", address)
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
	before := cpu(cmd.Process.Pid)
	acked, took, err := o.load(address)
	if err != nil {
		return result{}, err
	}
	return o.result(acked, 0, took, cpu(cmd.Process.Pid)-before, resident(cmd.Process.Pid), 0), nil
}

func (o options) result(acked int, delivered int64, took []time.Duration, used time.Duration, daemon, plugin int64) result {
	return result{
		acks: float64(acked) / o.time.Seconds(), deliveries: float64(delivered) / o.time.Seconds(),
		p50: took[len(took)/2], p99: took[len(took)*99/100], cpu: used * 1000 / time.Duration(acked),
		daemon: daemon, plugin: plugin,
	}
}

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
store "sqlite" {
  path = %q
}
source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"
  auth "api_key" {
    header = "X-API-Key"
    keys   = ["bench"]
  }
}
`

const benchRule = `
option "newsletter_email" {
  id            = "opt1"
  type          = "option"
  justification = "consent"
}
preference "interests" {
}
target "webhook" "sink" {
  config {
    url = %q
  }
}
rule "sink" {
  source = source.dataguard
  target = target.sink
  when   = permission.newsletter_email.known
  record {
    key = citizen.id
    body = {
      email      = citizen.external_ref
      newsletter = permission.newsletter_email.allowed
      state      = permission.newsletter_email.state
      interests  = { for c in preference.interests.choices : c => true }
    }
  }
}
`

// measure runs consentd, with a target or with none.
func (o options) measure(ctx context.Context, binary, dir string, deliver bool) (result, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return result{}, err
	}
	listener, err := freeAddress()
	if err != nil {
		return result{}, err
	}
	adminAddress, err := freeAddress()
	if err != nil {
		return result{}, err
	}
	s, err := newSink()
	if err != nil {
		return result{}, err
	}
	defer s.listener.Close()
	text := fmt.Sprintf(benchConfig, listener, adminAddress, filepath.Join(dir, "consentd.db"))
	if deliver {
		text += fmt.Sprintf(benchRule, "http://"+s.listener.Addr().String())
	}
	file := filepath.Join(dir, "consentd.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, binary, "run", "--config", file)
	var said bytes.Buffer // with no rule it warns that it does nothing, which is what is measured
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	if err := serving(adminAddress); err != nil {
		return result{}, err
	}
	plugin := 0
	if deliver {
		status, err := admin.NewClient(adminAddress, "").Status(ctx)
		if err != nil {
			return result{}, err
		}
		plugin = status.Targets[0].Plugin.PID
	}
	before := cpu(cmd.Process.Pid) + cpu(plugin)
	acked, took, err := o.load(listener)
	delivered := s.taken.Load()
	if err != nil {
		return result{}, err
	}
	return o.result(acked, delivered, took, cpu(cmd.Process.Pid)+cpu(plugin)-before, resident(cmd.Process.Pid), resident(plugin)), nil
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

// cpu is what a process has used, of /proc/PID/stat (proc_pid_stat(5)); zero where there is none.
func cpu(pid int) time.Duration {
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

// resident is the memory of a process in RAM, in bytes.
func resident(pid int) int64 {
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
