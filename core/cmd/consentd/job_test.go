package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mailchimpsim "github.com/consentd/consentd/plugins/mailchimp/sim"
	salesforcesim "github.com/consentd/consentd/plugins/salesforce/sim"
)

// shared finds a file of the folder with the sender's and vendors' material, which is not part of the project.
func shared(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("CONSENTD_SHARED")
	for dir, _ := filepath.Abs("."); root == "" && dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(filepath.Join(dir, "shared", "payloads")); err == nil && info.IsDir() {
			root = filepath.Join(dir, "shared")
		}
	}
	path := filepath.Join(root, name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; set CONSENTD_SHARED", name)
		}
		t.Skipf("%s is not there; set CONSENTD_SHARED to the folder that holds it", name)
	}
	return path
}

// TestMainJob takes the sender's documented payload through the daemon to three targets.
func TestMainJob(t *testing.T) {
	payload := shared(t, "payloads/effective-permission.json")
	mailchimp, salesforce := mailchimpsim.New(nil), salesforcesim.New(nil)
	mailchimpServer, salesforceServer := httptest.NewServer(mailchimp), httptest.NewServer(salesforce)
	defer mailchimpServer.Close()
	defer salesforceServer.Close()
	i := configure(t, "")
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + fmt.Sprintf(`
target "file" "log" {
  config {
    path = %q
  }
}

target "mailchimp" "newsletter" {
  config {
    api_key  = %q
    list_id  = %q
    base_url = "%s%s"
  }
}

target "salesforce" "crm" {
  config {
    login_url     = %q
    client_id     = %q
    client_secret = %q
  }
}

rule "log" {
  source = source.dataguard
  target = target.log

  record {
    key = citizen.id
    fields = {
      newsletter = permission.newsletter_email.allowed
      interests  = preference.interests.choices
    }
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.newsletter
  when   = permission.newsletter_email.known

  record {
    email     = citizen.external_ref
    status    = permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"
    interests = { for c in preference.interests.choices : c => true }
  }
}

rule "contact" {
  source = source.dataguard
  target = target.crm

  record {
    object            = "Contact"
    external_id_field = "CPM_Id__c"
    external_id       = citizen.id
    fields = {
      LastName           = "Lovelace"
      HasOptedOutOfEmail = !permission.newsletter_email.allowed
    }
  }
}
`, i.path("arrivals.jsonl"), mailchimpsim.APIKey, mailchimpsim.ListID, mailchimpServer.URL, mailchimpsim.BasePath,
		salesforceServer.URL, salesforcesim.ClientID, salesforcesim.ClientSecret))
	i.start()

	out, code := i.send(payload)
	if code != 0 || out != "200 {\"status\":\"accepted\"}\n" {
		t.Fatalf("send: exit code %d, %s", code, out)
	}
	for _, target := range []string{"log", "newsletter", "crm"} {
		if got := i.settled(target); got.Delivered != 1 || got.Dead != 0 {
			t.Errorf("%s: %+v", target, got)
		}
	}
	line, err := os.ReadFile(i.path("arrivals.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var arrived struct {
		Key    string
		Fields map[string]any
	}
	if err := json.Unmarshal(line, &arrived); err != nil || arrived.Key != "5f0c1a9e7b2d" ||
		fmt.Sprint(arrived.Fields) != "map[interests:[interests_jazz interests_blues] newsletter:true]" {
		t.Errorf("file: %s, %v", line, err)
	}
	m, ok := mailchimp.Member("ada.lovelace@example.org")
	if !ok || m.Status != "subscribed" || !m.Interests["interests_jazz"] || !m.Interests["interests_blues"] {
		t.Errorf("mailchimp: %+v, %v", m, ok)
	}
	c, ok := salesforce.Record("Contact", "CPM_Id__c", "5f0c1a9e7b2d")
	if !ok || c["HasOptedOutOfEmail"] != false || c["LastName"] != "Lovelace" {
		t.Errorf("salesforce: %+v, %v", c, ok)
	}
	out, code = i.run("status")
	if code != 0 || !strings.Contains(out, "newsletter  mailchimp   running  0        1") {
		t.Errorf("status: exit code %d\n%s", code, out)
	}

	// The same person withdraws.
	body, err := os.ReadFile(payload)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(body), "GRANTED", "DENIED")
	text = strings.ReplaceAll(text, "2026-03-02T09:14", "2026-05-11T15:02")
	i.accept([]byte(text))
	for _, target := range []string{"log", "newsletter", "crm"} {
		i.settled(target)
	}
	if m, _ := mailchimp.Member("ada.lovelace@example.org"); m.Status != "unsubscribed" {
		t.Errorf("mailchimp after the withdrawal: %+v", m)
	}
	if c, _ := salesforce.Record("Contact", "CPM_Id__c", "5f0c1a9e7b2d"); c["HasOptedOutOfEmail"] != true {
		t.Errorf("salesforce after the withdrawal: %+v", c)
	}
	i.stop()
	if strings.Contains(i.log.String(), "lovelace") || strings.Contains(i.log.String(), "5f0c1a9e7b2d") || strings.Contains(i.log.String(), "secret-key") {
		t.Errorf("the log holds a person or a secret:\n%s", i.log.String())
	}
}

// TestOlderUpdateChangesNoTarget is law 2 as a user sees it.
func TestOlderUpdateChangesNoTarget(t *testing.T) {
	s := newSink(t)
	i := configure(t, apiKeySource+s.config("sink", ""))
	i.start()
	i.accept(update("ada", "GRANTED", 5))
	i.accept(update("ada", "DENIED", 9))
	i.settled("sink")
	before := s.count()
	if status, text := i.post(update("ada", "GRANTED", 8)); status != 200 || !strings.Contains(text, "superseded") {
		t.Errorf("older: %d %s", status, text)
	}
	if status, text := i.post(update("ada", "DENIED", 9)); status != 200 || !strings.Contains(text, "duplicate") {
		t.Errorf("the same: %d %s", status, text)
	}
	i.accept(update("bob", "GRANTED", 1)) // so that there is something to wait for
	eventually(t, "bob arrives", func() bool { return len(s.of("bob")) == 1 })
	if got := s.count(); got != before+1 {
		t.Errorf("%d requests after the older update, %d before", got-1, before)
	}
	if all := s.of("ada"); all[len(all)-1].Allowed {
		t.Error("the target believes in a consent that was withdrawn")
	}
}

// TestWithdrawalOvertakesBacklog is law 5 as a user sees it.
func TestWithdrawalOvertakesBacklog(t *testing.T) {
	const backlog = 10_000
	s := newSink(t)
	i := configure(t, apiKeySource+s.config("sink", `rate_limit = "50/s"`))
	i.start()
	i.accept(update("ada", "GRANTED", 0))
	eventually(t, "ada is granted", func() bool { return len(s.of("ada")) == 1 })
	work := make(chan int)
	errs := make(chan error, 32)
	for range 32 {
		go func() {
			var err error
			for n := range work {
				if status, text, e := i.tryPost(update(fmt.Sprint("grant", n), "GRANTED", 1)); e != nil || status != 200 {
					err = fmt.Errorf("%d %s %w", status, text, e)
				}
			}
			errs <- err
		}()
	}
	for n := range backlog {
		work <- n
	}
	close(work)
	for range 32 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if pending := i.target("sink").Pending; pending < backlog/2 {
		t.Fatalf("only %d of %d are pending: the target is too fast for this test", pending, backlog)
	}
	before, start := s.count(), time.Now()
	i.accept(update("ada", "DENIED", 2))
	eventually(t, "the withdrawal arrives", func() bool { return len(s.of("ada")) == 2 })
	// At 50 a second the backlog takes more than three minutes; only what was claimed already may go first.
	if overtaken := s.count() - before; overtaken > 300 {
		t.Errorf("%d grants went before the withdrawal", overtaken)
	}
	t.Logf("the withdrawal took %v, with %d pending", time.Since(start).Round(time.Millisecond), i.target("sink").Pending)
	if i.target("sink").Pending == 0 {
		t.Error("the backlog was gone, so nothing was overtaken")
	}
}

// TestHeldGrant is the rest of law 2 as a user sees it: a grant on older evidence, in a message that was stamped
// anew, waits for an operator.
func TestHeldGrant(t *testing.T) {
	s := newSink(t)
	i := configure(t, apiKeySource+s.config("sink", ""))
	i.start()
	i.accept(update("ada", "DENIED", 5))
	i.settled("sink")
	restamped := strings.Replace(string(update("ada", "GRANTED", 1)), `"sentAt": "2026-03-02T09:00:01Z"`, `"sentAt": "2026-03-02T10:00:00Z"`, 1)
	i.accept([]byte(restamped))
	i.settled("sink")
	if all := s.of("ada"); all[len(all)-1].Allowed {
		t.Error("the target believes in a consent that was withdrawn")
	}
	if out, code := i.run("status"); code != 0 || !strings.Contains(out, "1 citizens with held grants") {
		t.Errorf("status: exit code %d\n%s", code, out)
	}
	if out, code := i.run("citizen", "show", "ada"); code != 0 || !strings.Contains(out, "HELD") || !strings.Contains(out, "GRANTED") || !strings.Contains(out, "DENIED") {
		t.Errorf("citizen show: exit code %d\n%s", code, out)
	}
	if out, code := i.run("citizen", "release", "ada"); code != 0 || out != "released\n" {
		t.Errorf("citizen release: exit code %d, %s", code, out)
	}
	eventually(t, "the grant arrives", func() bool { all := s.of("ada"); return all[len(all)-1].Allowed })
	if out, code := i.run("citizen", "release", "ada"); code != 1 {
		t.Errorf("citizen release again: exit code %d, %s", code, out)
	}
	i.settled("sink")
	if out, code := i.run("citizen", "receipts", "ada"); code != 0 || strings.Count(out, "delivered") != 3 && strings.Count(out, "delivered") != 2 {
		t.Errorf("citizen receipts: exit code %d\n%s", code, out)
	}
	if out, code := i.run("receipts", "verify"); code != 0 || !strings.Contains(out, "all as they were written") {
		t.Errorf("receipts verify: exit code %d\n%s", code, out)
	}
	if out, code := i.run("receipts", "export"); code != 0 || strings.Count(out, "\n") < 2 || strings.Contains(out, `"ada`) {
		t.Errorf("receipts export: exit code %d\n%s", code, out)
	}
	if out, code := i.run("citizen", "show", "nobody"); code != 1 {
		t.Errorf("citizen show nobody: exit code %d\n%s", code, out)
	}
}

// TestValidityEnds is law 9 as a user sees it: no message comes when a permission expires, and the target is told
// all the same, also if the daemon was away at that instant.
func TestValidityEnds(t *testing.T) {
	s := newSink(t)
	i := configure(t, apiKeySource+s.config("sink", ""))
	i.start()
	expiring := func(citizen string, in time.Duration) []byte {
		until := time.Now().Add(in).UTC().Format(time.RFC3339Nano)
		return []byte(strings.Replace(string(update(citizen, "GRANTED", 1)), `"validUntil": null`, `"validUntil": "`+until+`"`, 1))
	}
	i.accept(expiring("ada", 2*time.Second))
	i.accept(expiring("bob", 4*time.Second))
	eventually(t, "ada is granted", func() bool { all := s.of("ada"); return len(all) == 1 && all[0].Allowed })
	eventually(t, "ada has expired", func() bool { all := s.of("ada"); return len(all) == 2 && !all[1].Allowed })
	i.kill()
	time.Sleep(3 * time.Second)
	i.start()
	eventually(t, "bob has expired", func() bool { all := s.of("bob"); return len(all) > 1 && !all[len(all)-1].Allowed })
}

// TestRulesChange: a rule that is new reaches the citizens who are known, and one that is renamed takes over the
// withdrawal that the old one still owes its target.
func TestRulesChange(t *testing.T) {
	s := newSink(t)
	var down atomic.Bool
	s.answer = func(taken) int {
		if down.Load() {
			return 500
		}
		return 0
	}
	i := configure(t, "")
	base := fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource
	i.write(base + s.config("sink", ""))
	i.start()
	i.accept(update("ada", "GRANTED", 1))
	i.accept(update("bob", "GRANTED", 1))
	i.settled("sink")
	down.Store(true)
	i.accept(update("ada", "DENIED", 2))
	eventually(t, "the withdrawal fails", func() bool { return i.target("sink").LastError != "" })
	i.stop()
	down.Store(false)
	i.write(base + strings.Replace(s.config("sink", ""), `rule "sink"`, `rule "renamed"`, 1))
	i.start()
	i.settled("sink")
	all := s.of("ada")
	if last := all[len(all)-1]; last.Allowed || last.status != 200 {
		t.Errorf("what ada's target was told last: %+v", last)
	}
	if got := len(s.of("bob")); got != 2 {
		t.Errorf("bob arrived %d times, once for each rule is right", got)
	}
	if got := i.target("sink"); got.Withdrawals != 0 || got.Pending != 0 {
		t.Errorf("target: %+v", got)
	}
}
