package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const (
	pythonExample = root + "/examples/python-target"
	noSum         = "0000000000000000000000000000000000000000000000000000000000000000"
)

// contactsAPI is an API as the example expects it: contacts by id, changed by merge patches.
type contactsAPI struct {
	server *httptest.Server

	mu       sync.Mutex
	contacts map[string]map[string]any
	calls    []string // method and path
	answers  map[string][]http.HandlerFunc
}

func newContactsAPI(t *testing.T) *contactsAPI {
	a := &contactsAPI{contacts: map[string]map[string]any{}, answers: map[string][]http.HandlerFunc{}}
	a.server = httptest.NewServer(a)
	t.Cleanup(a.server.Close)
	return a
}

func (a *contactsAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	call := r.Method + " " + r.URL.EscapedPath()
	a.calls = append(a.calls, call)
	if r.Header.Get("Authorization") != "Bearer the-token" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if next := a.answers[call]; len(next) > 0 {
		a.answers[call] = next[1:]
		next[0](w, r)
		return
	}
	id := strings.TrimPrefix(r.URL.Path, "/v1/contacts/")
	contact := a.contacts[id]
	switch {
	case r.URL.Path == "/v1/contacts":
		fmt.Fprint(w, "[]")
		return
	case r.Method == http.MethodPatch && r.Header.Get("Content-Type") == "application/merge-patch+json":
		if contact == nil {
			contact = map[string]any{}
		}
		if err := json.NewDecoder(r.Body).Decode(&contact); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.contacts[id] = contact
	case contact == nil:
		w.WriteHeader(http.StatusNotFound)
		return
	case r.Method == http.MethodDelete:
		delete(a.contacts, id)
	}
	w.Header().Set("X-Request-Id", fmt.Sprint("request-", len(a.calls)))
	json.NewEncoder(w).Encode(contact)
}

func (a *contactsAPI) contact(id string) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.contacts[id]
}

func (a *contactsAPI) times(call string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		if c == call {
			n++
		}
	}
	return n
}

// next is how the API answers the next calls, before it works as it should.
func (a *contactsAPI) next(call string, answers ...http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[call] = append(a.answers[call], answers...)
}

// python skips the test where the example cannot run.
func python(t *testing.T) {
	t.Helper()
	out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf, cryptography").CombinedOutput()
	if err == nil {
		return
	}
	message := fmt.Sprintf("no Python with gRPC (Debian: python3-grpcio, python3-protobuf, python3-cryptography): %v\n%s", err, out)
	if os.Getenv("CI") == "true" {
		t.Fatal(message)
	}
	t.Skip(message)
}

// TestPythonExample follows the page of the example and runs its configuration: a plugin in another language is
// held to the same as ours.
func TestPythonExample(t *testing.T) {
	python(t)
	api := newContactsAPI(t)
	i := configure(t, "")
	page, err := os.ReadFile(pythonExample + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := fences(string(page), "sh")
	if len(steps) != 2 {
		t.Fatalf("%d steps", len(steps))
	}
	if err := os.CopyFS(i.path("plugin"), os.DirFS(pythonExample+"/plugin")); err != nil {
		t.Fatal(err)
	}
	step := func(n int) string {
		cmd := exec.Command("bash", "-e", "-c", steps[n])
		cmd.Dir = i.dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", steps[n], err, out)
		}
		return string(out)
	}
	sum := sumPattern.FindString(step(0))
	config, err := os.ReadFile(pythonExample + "/config.hcl")
	if err != nil {
		t.Fatal(err)
	}
	i.write(strings.NewReplacer(
		noSum, sum,
		"127.0.0.1:8484", i.listener, "127.0.0.1:8485", i.admin,
		`"consentd.db"`, fmt.Sprintf("%q", i.path("consentd.db")), `"plugins.d"`, fmt.Sprintf("%q", i.path("plugins.d")),
		"http://127.0.0.1:8080", api.server.URL, `timeout = "30s"`, `timeout = "2s"`,
	).Replace(string(config)) + `
log {
  level = "debug"
}

retry {
  initial_interval = "100ms"
  max_interval     = "1s"
}
`)
	if out := step(1); !strings.Contains(out, "The configuration is valid") || !strings.Contains(out, "token (string; required; sensitive)") {
		t.Errorf("what the page says next: %s", out)
	}

	t.Setenv("CPM_KEY", "secret-key")
	t.Setenv("CONTACTS_TOKEN", "a\tb-c")
	wrong := exec.Command(binary, "validate", "--offline", "--config", i.path("config.hcl"))
	if out, _ := wrong.CombinedOutput(); wrong.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "Not a token") ||
		!strings.Contains(string(out), "token = env(") || strings.Contains(string(out), "b-c") {
		t.Errorf("a wrong token: exit code %d\n%s", wrong.ProcessState.ExitCode(), out)
	}
	t.Setenv("CONTACTS_TOKEN", "the-token")
	if _, code := i.run("validate", "--config", i.path("config.hcl")); code != 0 || api.times("GET /v1/contacts") != 1 {
		t.Errorf("validate: exit code %d, %q", code, api.calls)
	}

	i.start()
	i.accept(update("ada", "GRANTED", 1))
	i.settled("crm")
	if c := api.contact("ada"); c["subscribed"] != true || c["email"] != "ada@example.org" {
		t.Errorf("after the grant: %v", c)
	}
	i.accept(update("ada", "DENIED", 2))
	i.settled("crm")
	if c := api.contact("ada"); c["subscribed"] != false {
		t.Errorf("after the withdrawal: %v", c)
	}

	// Each answer means what the page says it does.
	status := func(code int, after string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			w.WriteHeader(code)
			fmt.Fprint(w, "bob@example.org is not welcome")
		}
	}
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	}
	hang := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // so that the server sees the client go
		<-r.Context().Done()
	}
	api.next("PATCH /v1/contacts/bob", status(500, ""), hangUp, hang, status(429, "1"))
	i.accept(update("bob", "GRANTED", 1))
	i.settled("crm")
	if c, n := api.contact("bob"), api.times("PATCH /v1/contacts/bob"); c["subscribed"] != true || n != 5 {
		t.Errorf("bob after %d calls: %v", n, c)
	}
	api.next("PATCH /v1/contacts/cyd%2F..", status(422, ""))
	i.accept(update("cyd/..", "GRANTED", 1))
	eventually(t, "cyd is a dead letter", func() bool { return i.target("crm").Dead == 1 })
	if out, code := i.run("dead", "list"); code != 0 || !strings.Contains(out, "HTTP_422") {
		t.Errorf("dead list: exit code %d, %s", code, out)
	}

	// A plugin that dies is there again, and has what came meanwhile.
	before := i.target("crm").Plugin
	if before.Restarts != 0 {
		t.Errorf("the plugin broke before: %+v", before)
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	i.accept(update("dan", "DENIED", 1))
	i.settled("crm")
	if c, now := api.contact("dan"), i.target("crm").Plugin; c["subscribed"] != false || now.Restarts != 1 || now.PID == before.PID {
		t.Errorf("after the crash: %v, %+v", c, now)
	}

	for _, who := range []string{"bob", "cyd/.."} { // one whom the API knows, and one whom not
		if out, code := i.run("citizen", "erase", "--yes", who); code != 0 {
			t.Errorf("erase %s: exit code %d, %s", who, code, out)
		}
	}
	eventually(t, "the API has erased them", func() bool { return api.contact("bob") == nil && i.target("crm").Erasures == 0 })
	i.stop()
	log := i.log.String()
	for _, never := range []string{"example.org", "the-token", "Traceback"} {
		if strings.Contains(log, never) {
			t.Errorf("the log holds %s", never)
		}
	}
}
