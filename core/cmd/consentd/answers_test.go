package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	s := newSink(t)
	i := configure(t, apiKeySource+s.config("sink", ""))
	i.start()
	good := update("ada", "GRANTED", 1)
	for _, tc := range []struct {
		name   string
		body   []byte
		change func(*http.Request)
		status int
		text   string
	}{
		{"right", good, nil, 200, `"accepted"`},
		{"wrong key", good, func(r *http.Request) { r.Header.Set("X-API-Key", "wrong") }, 401, "unauthorized"},
		{"no key", good, func(r *http.Request) { r.Header.Del("X-API-Key") }, 401, "unauthorized"},
		{"bad JSON", []byte(`{"citizenId": `), nil, 202, "quarantined"},
		{"another shape", []byte(`{"hello": "world"}`), nil, 202, "quarantined"},
		{"2 MiB", bytes.Repeat([]byte(" "), 2<<20), nil, 413, "too_large"},
		{"wrong media type", good, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415, "media"},
		{"wrong method", good, func(r *http.Request) { r.Method = http.MethodPut }, 405, "method"},
	} {
		change := tc.change
		if change == nil {
			change = func(*http.Request) {}
		}
		status, text := i.post(tc.body, change)
		if status != tc.status || !strings.Contains(text, tc.text) {
			t.Errorf("%s: %d %s", tc.name, status, text)
		}
	}
	out, code := i.run("quarantine", "list")
	if code != 0 || strings.Count(out, "dataguard") != 2 || !strings.Contains(out, "malformed JSON") {
		t.Errorf("quarantine list: exit code %d\n%s", code, out)
	}
	if out, code := i.run("quarantine", "show", "1"); code != 0 || out != "{\"citizenId\": \n" {
		t.Errorf("quarantine show: exit code %d, %q", code, out)
	}
	if out, code := i.run("quarantine", "replay", "1"); code != 1 {
		t.Errorf("quarantine replay of what is still not understood: exit code %d, %q", code, out)
	}
	if out, code := i.run("quarantine", "discard", "1"); code != 0 || out != "discarded\n" {
		t.Errorf("quarantine discard: exit code %d, %q", code, out)
	}
	i.stop()
}

// TestQuarantineReplay: a body of another application is understood once the configuration says so.
func TestQuarantineReplay(t *testing.T) {
	s := newSink(t)
	i := configure(t, "")
	base := fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db"))
	i.write(base + strings.Replace(apiKeySource, "update_type", "application_id = \"other\"\n  update_type", 1) + s.config("sink", ""))
	i.start()
	if status, text := i.post(update("ada", "GRANTED", 1)); status != 202 {
		t.Fatalf("another application: %d %s", status, text)
	}
	i.stop()
	i.write(base + apiKeySource + s.config("sink", ""))
	i.start()
	if out, code := i.run("quarantine", "replay", "1"); code != 0 || out != "accepted\n" {
		t.Errorf("quarantine replay: exit code %d, %q", code, out)
	}
	i.settled("sink")
	if out, code := i.run("quarantine", "list"); code != 0 || out != "The quarantine is empty.\n" {
		t.Errorf("quarantine list: exit code %d, %q", code, out)
	}
}

// TestExpiredToken: an access token that has expired is answered 401, and the sender that refreshes it is
// accepted, also across a restart.
func TestExpiredToken(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	i := configure(t, `
source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  auth "oauth2" {
    refresh_tokens = ["refresh-me-0123456789"]
    token_lifetime = "1s"
  }
}
`+s.config("sink", ""))
	i.start()
	file := i.path("update.json")
	for n := range 3 {
		if err := os.WriteFile(file, update("ada", "GRANTED", n), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, "send", "--to", i.url(), "--refresh-url", i.url()+"/oauth/token", file)
		cmd.Env = append(os.Environ(), "CONSENTD_SEND_CREDENTIAL=expired", "CONSENTD_SEND_REFRESH_TOKEN=refresh-me-0123456789")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "accepted") {
			t.Errorf("send %d: %v, %s", n, err, out)
		}
		if n == 1 {
			i.stop()
			i.start()
		}
	}
	token := fetchToken(t, i)
	bearer := func(r *http.Request) {
		r.Header.Del("X-API-Key")
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if status, text := i.post(update("ada", "DENIED", 9), bearer); status != 200 {
		t.Errorf("fresh token: %d %s", status, text)
	}
	eventually(t, "the token expires", func() bool {
		status, _ := i.post(update("ada", "DENIED", 9), bearer)
		return status == 401
	})
}

func fetchToken(t *testing.T, i *instance) string {
	t.Helper()
	res, err := client.PostForm(i.url()+"/oauth/token", map[string][]string{
		"grant_type": {"refresh_token"}, "refresh_token": {"refresh-me-0123456789"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("token endpoint: %d, %v", res.StatusCode, err)
	}
	return answer.AccessToken
}

// TestFullStore: without space on the disk updates are answered 503 and none is lost; with space again they
// are accepted, without a restart.
func TestFullStore(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a small disk: %v", err)
		}
		t.Skipf("a small disk cannot be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	s := newSink(t)
	i := configure(t, "")
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, filepath.Join(disk, "consentd.db")) + apiKeySource + s.config("sink", ""))
	i.start()
	i.accept(update("ada", "GRANTED", 1))
	i.settled("sink")

	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	var refused, acked []string
	for n := 0; len(refused) < 5 && n < 2000; n++ {
		name := fmt.Sprint("c", n)
		switch status, text := i.post(update(name, "GRANTED", 2)); status {
		case 200:
			acked = append(acked, name)
		case 503:
			refused = append(refused, name)
		default:
			t.Fatalf("answer %d %s", status, text)
		}
	}
	if len(refused) < 5 {
		t.Fatal("the store never was full")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is space again", func() bool {
		status, _ := i.post(update("eve", "GRANTED", 3))
		return status == 200
	})
	for _, name := range refused {
		if status, text := i.post(update(name, "GRANTED", 2)); status != 200 || !strings.Contains(text, "accepted") {
			t.Errorf("%s again: %d %s", name, status, text)
		}
	}
	i.settled("sink")
	for _, name := range append(append(acked, refused...), "ada", "eve") {
		if len(s.of(name)) == 0 {
			t.Errorf("%s did not arrive", name)
		}
	}
	i.stop()
}

// TestDrain: SIGTERM lets the delivery in flight end, and what is pending stays for the next start.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	s.answer = func(taken) int { time.Sleep(300 * time.Millisecond); return 0 }
	i := configure(t, apiKeySource+s.config("sink", `rate_limit = "20/s"`))
	i.start()
	for n := range 60 {
		i.accept(update(fmt.Sprint("c", n), "GRANTED", 1))
	}
	eventually(t, "something is in flight", func() bool { return i.target("sink").InFlight > 0 })
	i.stop()
	i.start()
	i.settled("sink")
	for n := range 60 {
		if got := len(s.of(fmt.Sprint("c", n))); got != 1 {
			t.Errorf("c%d arrived %d times", n, got)
		}
	}
}
