package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unit stands in for systemd: consentd as a child of the script.
const unit = `
set -eE
trap 'echo "did not work: $BASH_COMMAND"' ERR
systemctl() {
	case $1 in stop | restart) kill "$daemon"; wait "$daemon" ;; esac
	case $1 in start | restart)
		consentd run >>"$DIR/log" 2>&1 &
		daemon=$!
		until curl -fs "http://$CONSENTD_ADMIN_ADDR/readyz" >/dev/null; do
			kill -0 "$daemon"
			sleep 0.05
		done
	esac
}
journalctl() { cat "$DIR/log"; }
`

// TestOperatingPage runs every command of the runbook as it is written, in its order, beside a daemon with a dead
// letter and a body in quarantine.
func TestOperatingPage(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is missing")
		}
		t.Skip("curl is missing, which the page's commands use")
	}
	look()
	page, err := os.ReadFile(root + "/core/docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(t)
	s.answer = func(rec taken) int {
		if rec.Citizen == "citizen-1" {
			return http.StatusUnprocessableEntity
		}
		return 0
	}
	i := configure(t, apiKeySource+s.config("crm", ""))
	for name, body := range map[string][]byte{"refused.json": update("citizen-1", "DENIED", 1), "junk.json": []byte("[]")} {
		if err := os.WriteFile(i.path(name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begin := `export CONSENTD_CONFIG=/etc/consentd CONSENTD_ADMIN_ADDR=127.0.0.1:8485
systemctl start consentd
for file in refused.json junk.json; do consentd send --to ` + i.url() + ` --header X-API-Key "$DIR/$file"; done
until consentd dead list | grep rejected; do sleep 0.05; done
`
	steps := fences(string(page), "sh")
	if len(steps) < 20 {
		t.Fatalf("%d steps", len(steps))
	}
	script := unit + strings.NewReplacer(
		"/etc/consentd", i.path("config.hcl"), "/var/lib/consentd", i.dir, "127.0.0.1:8485", i.admin, "127.0.0.1:8484", i.listener,
	).Replace(begin+strings.Join(steps, "\n")) + "\nsystemctl stop consentd\n"
	if err := os.WriteFile(i.path("script"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", i.path("script"))
	cmd.Env = append(os.Environ(), "DIR="+i.dir, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "CONSENTD_SEND_CREDENTIAL=secret-key")
	out, err := cmd.CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(i.path("log"))
		t.Fatalf("%v\n%s\n%s", err, out, tail(string(log), 20))
	}
	for _, want := range []string{
		fmt.Sprintf("crm     %s  running", "webhook"),
		"ready",
		"consentd_oldest_withdrawal_seconds{target=\"crm\"}",
		"The configuration is valid",
		"the same as before",
		"citizen-1",
		"1 replayed",
		"discarded",
		"consentd_store_disk_available_bytes",
		"receipts    ok",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}
