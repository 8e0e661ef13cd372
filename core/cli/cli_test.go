package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/plugins/file"
	"github.com/consentd/consentd/sdk"
)

// TestMain lets the test binary serve the bundled plugins, as consentd does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "plugin" {
		a := &App{Plugins: []sdk.Plugin{file.Plugin()}, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		os.Exit(a.Main(context.Background(), os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// output is a buffer that one goroutine writes and another reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

const update = `{"citizenId": "c1", "sentAt": "2026-03-02T09:14:06Z", "permissions": []}`

// TestSendSaysWhatIsWrong: nobody there is the environment, an answer that refuses is not.
func TestSendSaysWhatIsWrong(t *testing.T) {
	answer := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(s.Close)
		t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
		return s.URL
	}
	source, gone := answer(401, `{"error":"unauthorized"}`), httptest.NewServer(nil)
	gone.Close()
	for name, c := range map[string]struct {
		to, refresh string
		code        int
		want        string
	}{
		"refused":             {source, "", exitRuntime, "Set CONSENTD_SEND_CREDENTIAL to it, and say with --header"},
		"refresh refused":     {source, answer(400, `{"error":"invalid_grant"}`), exitRuntime, "the token endpoint answers 400 invalid_grant\nCheck CONSENTD_SEND_REFRESH_TOKEN"},
		"new token refused":   {source, answer(200, `{"access_token":"x"}`), exitRuntime, "the new access token was refused"},
		"no token endpoint":   {source, gone.URL, exitEnvironment, "is --refresh-url right, and consentd running at " + strings.TrimPrefix(gone.URL, "http://")},
		"nobody":              {gone.URL, "", exitEnvironment, "is consentd running at " + strings.TrimPrefix(gone.URL, "http://")},
		"neither of the two":  {gone.URL, gone.URL, exitEnvironment, "; is consentd running at "},
		"refused for another": {answer(503, "later"), "", exitRuntime, "Error: the update was not taken\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CONSENTD_SEND_REFRESH_TOKEN", "refresh-secret")
			var out, errs bytes.Buffer
			a := &App{Stdin: strings.NewReader(update), Stdout: &out, Stderr: &errs}
			args := []string{"send", "--attempts", "1", "--to", c.to, "-"}
			if c.refresh != "" {
				args = append(args, "--refresh-url", c.refresh)
			}
			if code := a.Main(t.Context(), args); code != c.code || !strings.Contains(errs.String(), c.want) {
				t.Errorf("exit code %d, want %d; %s%s", code, c.code, out.String(), errs.String())
			}
			if strings.Contains(errs.String(), "refresh-secret") || c.code != exitEnvironment && strings.Contains(errs.String(), "running") {
				t.Errorf("it says %s", errs.String())
			}
		})
	}
}

// TestRunWarnsFirst: warnings are there while the daemon runs, not when it has ended.
func TestRunWarnsFirst(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "admin.sock")
	text := fmt.Sprintf(`
listener { address = "127.0.0.1:0" }
admin { address = "unix://%s" }
store "sqlite" { path = "consentd.db" }
source "in" {
  path        = "/in"
  update_type = "effective-permission"
  auth "none" {}
}
option "o" { id = "k3Rmx" }
target "file" "out" {
  config { path = "%s" }
}
rule "r" {
  source = source.in
  target = target.out
  when   = permission.o.allowed
  record {
    key    = citizen.id
    fields = {}
  }
}
`, socket, filepath.Join(dir, "out.jsonl"))
	path := filepath.Join(dir, "config.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var errs output
	a := &App{Version: "test", Plugins: []sdk.Plugin{file.Plugin()}, Stdout: &errs, Stderr: &errs}
	done := make(chan int, 1)
	go func() { done <- a.Main(ctx, []string{"run", "--config", path}) }()
	const warning = "Rule falls silent at a withdrawal"
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(errs.String(), warning) && len(done) == 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	warned := strings.Contains(errs.String(), warning) && len(done) == 0
	cancel()
	if code := <-done; code != exitOK || !warned || strings.Count(errs.String(), warning) != 1 {
		t.Errorf("exit code %d, warned in time: %v\n%s", code, warned, errs.String())
	}
}
