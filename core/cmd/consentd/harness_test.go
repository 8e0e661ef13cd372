package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/consentd/consentd/core/admin"
)

// binary is consentd as a user gets it, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "consentd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "consentd")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build consentd: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// patience is how long tests wait for what has to happen. It only ends what has gone wrong.
const patience = 60 * time.Second

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain for %v: %s", patience, what)
		}
	}
}

// instance is a consentd process with a configuration of its own.
type instance struct {
	t               *testing.T
	dir             string
	listener, admin string
	cmd             *exec.Cmd
	log             lockedBuffer
	lastError       string // what the last command said that was run beside the daemon
	exited          chan error
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// ports are given out below the range from which the system takes those of outgoing connections, so that none
// is taken before the daemon listens on it.
var ports atomic.Int64

func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := 20_000 + (int64(os.Getpid())*97+ports.Add(1))%12_000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

const baseConfig = `
log {
  level  = "debug"
  format = "text"
}

listener {
  address = "%s"
}

admin {
  address = "%s"
}

store "sqlite" {
  path = "%s"
}

option "newsletter_email" {
  id            = "k3Rmx"
  type          = "option"
  justification = "consent"
}

preference "interests" {
}

retry {
  initial_interval = "100ms"
  max_interval     = "5s"
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

// configure writes a configuration: what every test needs, and the rest.
func configure(t *testing.T, rest string) *instance {
	t.Helper()
	look()
	i := &instance{t: t, dir: t.TempDir(), listener: freeAddress(t), admin: freeAddress(t)}
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + rest)
	return i
}

func (i *instance) path(name string) string { return filepath.Join(i.dir, name) }

func (i *instance) write(text string) {
	i.t.Helper()
	if err := os.WriteFile(i.path("config.hcl"), []byte(text), 0o600); err != nil {
		i.t.Fatal(err)
	}
}

// start runs the daemon and waits until it takes updates.
func (i *instance) start() {
	i.t.Helper()
	i.cmd = exec.Command(binary, "run", "--config", i.path("config.hcl"))
	i.cmd.Stdout, i.cmd.Stderr = &i.log, &i.log
	i.cmd.Env = append(os.Environ(), "TMPDIR="+os.TempDir())
	if err := i.cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	cmd, exited := i.cmd, make(chan error, 1)
	i.exited = exited
	go func() { exited <- cmd.Wait() }()
	i.t.Cleanup(func() {
		if i.t.Failed() {
			i.t.Logf("log of consentd:\n%s", tail(i.log.String(), 60))
		}
		_ = cmd.Process.Kill()
	})
	eventually(i.t, "consentd takes updates", func() bool {
		select {
		case err := <-exited:
			i.t.Fatalf("consentd ended: %v\n%s", err, i.log.String())
		default:
		}
		res, err := client.Get("http://" + i.admin + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// stop ends the daemon as an init system does and checks that it ends well.
func (i *instance) stop() {
	i.t.Helper()
	_ = i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-i.exited:
		if err != nil {
			i.t.Errorf("consentd ended with %v", err)
		}
	case <-time.After(patience):
		i.t.Fatal("consentd does not end on SIGTERM")
	}
}

func (i *instance) kill() {
	i.t.Helper()
	_ = i.cmd.Process.Kill()
	<-i.exited
}

// run runs another command of the same binary.
func (i *instance) run(args ...string) (stdout string, code int) {
	i.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "CONSENTD_ADMIN_ADDR="+i.admin, "CONSENTD_SEND_CREDENTIAL=secret-key")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if _, isExit := err.(*exec.ExitError); err != nil && !isExit {
		i.t.Fatal(err)
	}
	i.lastError = errOut.String()
	if errOut.Len() > 0 {
		i.t.Logf("consentd %s: %s", strings.Join(args, " "), errOut.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func (i *instance) send(file string) (stdout string, code int) {
	i.t.Helper()
	return i.run("send", "--to", i.url(), "--header", "X-API-Key", "--delay", "0s", file)
}

func (i *instance) url() string { return "http://" + i.listener + "/webhooks/dataguard" }

func (i *instance) status() admin.Status {
	i.t.Helper()
	s, err := admin.NewClient(i.admin, "").Status(context.Background())
	if err != nil {
		i.t.Fatalf("status: %v", err)
	}
	return s
}

func (i *instance) target(name string) admin.Target {
	i.t.Helper()
	for _, t := range i.status().Targets {
		if t.Name == name {
			return t
		}
	}
	i.t.Fatalf("no target %s", name)
	return admin.Target{}
}

// settled waits until a target has nothing pending.
func (i *instance) settled(target string) admin.Target {
	i.t.Helper()
	var last admin.Target
	eventually(i.t, target+" has nothing pending", func() bool {
		last = i.target(target)
		return last.Pending == 0 && last.Accepted > 0
	})
	return last
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: patience}

// post posts a body with the api key and answers status and body.
func (i *instance) post(body []byte, change ...func(*http.Request)) (int, string) {
	i.t.Helper()
	status, text, err := i.tryPost(body, change...)
	if err != nil {
		i.t.Fatal(err)
	}
	return status, text
}

func (i *instance) tryPost(body []byte, change ...func(*http.Request)) (int, string, error) {
	req, err := http.NewRequest(http.MethodPost, i.url(), bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-Key", "secret-key")
	for _, c := range change {
		c(req)
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

func (i *instance) accept(body []byte) {
	i.t.Helper()
	if status, text := i.post(body); status != 200 || !strings.Contains(text, "accepted") {
		i.t.Fatalf("answer %d %s", status, text)
	}
}

var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// update of a citizen, the n-th in the sender's order.
func update(citizen, state string, n int) []byte {
	at := epoch.Add(time.Duration(n) * time.Second).Format(time.RFC3339Nano)
	return fmt.Appendf(nil, `{"applicationId": "acme", "citizenId": %q, "externalRef": "%s@example.org",
		"permissions": [{"transactionId": "t-%d", "optionType": "option", "optionId": "k3Rmx", "justification": "consent",
			"state": %q, "recordedAt": %q, "validUntil": null}],
		"preferences": [], "sentAt": %q}`, citizen, citizen, n, state, at, at)
}

// sink is an HTTP endpoint that keeps what it is told.
type sink struct {
	t      *testing.T
	server *http.Server
	url    string
	answer func(rec taken) int // status; nil or 0: 200

	mu  sync.Mutex
	all []taken
}

// taken is one request of the webhook plugin under sinkRule.
type taken struct {
	Citizen string `json:"citizen"`
	Allowed bool   `json:"allowed"`
	SentAt  string `json:"sent_at"`
	key     string
	at      time.Time
	status  int
}

func newSink(t *testing.T) *sink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{t: t, url: "http://" + l.Addr().String()}
	s.server = &http.Server{Handler: s}
	go s.server.Serve(l)
	t.Cleanup(func() { s.server.Close() })
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := taken{key: r.Header.Get("Idempotency-Key"), at: time.Now(), status: 200}
	if err := json.NewDecoder(r.Body).Decode(&rec); err != nil {
		s.t.Errorf("the sink got no JSON: %v", err)
	}
	if s.answer != nil {
		if status := s.answer(rec); status != 0 {
			rec.status = status
		}
	}
	s.mu.Lock()
	s.all = append(s.all, rec)
	s.mu.Unlock()
	w.WriteHeader(rec.status)
}

// of is what came for a citizen, in order.
func (s *sink) of(citizen string) []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	var of []taken
	for _, t := range s.all {
		if t.Citizen == citizen {
			of = append(of, t)
		}
	}
	return of
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// config is a target that feeds the sink.
func (s *sink) config(name, extra string) string {
	return fmt.Sprintf(`
target "webhook" %[1]q {
  %[3]s

  config {
    url = %[2]q
  }
}

rule %[1]q {
  source = source.dataguard
  target = target.%[1]s

  record {
    key = citizen.id
    body = {
      citizen = citizen.id
      allowed = permission.newsletter_email.allowed
      sent_at = sent_at
    }
  }
}
`, name, s.url, extra)
}

// look looks at what the binary is built of. go test takes a result out of its cache unless a file has changed
// that a test looked at while it ran, and it does not see what go build reads.
var look = sync.OnceFunc(func() {
	for _, part := range []string{"core", "sdk", "plugins"} {
		_ = filepath.WalkDir(filepath.Join("../../..", part), func(path string, _ os.DirEntry, _ error) error {
			_, _ = os.Stat(path)
			return nil
		})
	}
})
