package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/plan"
	mailchimpsim "github.com/consentd/consentd/plugins/mailchimp/sim"
)

// planned runs plan with --json and more.
func (i *instance) planned(more ...string) admin.Plan {
	i.t.Helper()
	out, code := i.run(append([]string{"plan", "--json"}, more...)...)
	var p admin.Plan
	if err := json.Unmarshal([]byte(out), &p); err != nil || code != 0 {
		i.t.Fatalf("plan: exit code %d, %v\n%s%s", code, err, out, i.lastError)
	}
	return p
}

func (i *instance) refused(want string, args ...string) {
	i.t.Helper()
	before := i.status().Config
	if out, code := i.run(args...); code != 1 || !strings.Contains(i.lastError, want) {
		i.t.Errorf("%s: exit code %d, %s%s; want %q", strings.Join(args, " "), code, out, i.lastError, want)
	}
	if i.status().Config != before {
		i.t.Errorf("%s: another configuration is in force", strings.Join(args, " "))
	}
}

// TestPlan: what a rule that subscribes everybody would do shows before it does it, without anybody's address; and a
// reload is held to what was shown.
func TestPlan(t *testing.T) {
	vendor := mailchimpsim.New(nil)
	server := httptest.NewServer(vendor)
	defer server.Close()
	i := configure(t, "")
	config := func(status string) string {
		return fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + fmt.Sprintf(`
target "mailchimp" "newsletter" {
  config {
    api_key  = %q
    list_id  = %q
    base_url = "%s%s"
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.newsletter

  record {
    email  = citizen.external_ref
    status = %s
  }
}
`, mailchimpsim.APIKey, mailchimpsim.ListID, server.URL, mailchimpsim.BasePath, status)
	}
	const right = `permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"`
	i.write(config(right))
	i.start()
	for n := range 7 {
		i.accept(update(fmt.Sprintf("person-%d", n), []string{"GRANTED", "DENIED"}[min(n/3, 1)], 1))
	}
	i.settled("newsletter")

	next := i.path("next.hcl")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(next, config(`"subscribed"`)+"\nwithdrawal_slo = \"2m\"\n")
	p := i.planned("--config", next)
	if len(p.Targets) != 1 || p.Targets[0].Counts != (plan.Counts{Unchanged: 3, Granted: 4}) || len(p.Targets[0].Samples) != 3 || p.ID == "" || p.Citizens != 7 {
		t.Errorf("plan %+v", p)
	}
	for _, s := range p.Targets[0].Samples {
		if s.Direction != "granted" || s.Rule != "newsletter" || len(s.Citizen) != 32 || len(s.Fields) != 1 ||
			s.Fields[0] != (plan.Difference{At: "status", Before: `"unsubscribed"`, After: `"subscribed"`}) {
			t.Errorf("sample %+v", s)
		}
	}
	if len(p.Changes) != 2 || p.Changes[0].Block != `rule "newsletter"` || p.Changes[1].What != "added" {
		t.Errorf("changes %+v", p.Changes)
	}
	if again := i.planned("--config", next, "--samples", "0"); again.ID != p.ID || len(again.Targets[0].Samples) != 0 {
		t.Errorf("again: %+v", again)
	}
	if one := i.planned("--config", next, "--target", "newsletter"); one.ID != "" || one.Targets[0].Granted != 4 {
		t.Errorf("one target: %+v", one)
	}
	if none := i.planned(); none.Targets[0].Counts != (plan.Counts{Unchanged: 7}) || len(none.Changes) != 0 {
		t.Errorf("of the configuration in force: %+v", none)
	}
	// An address that changes does not show, neither before nor after.
	write(i.path("address.hcl"), strings.Replace(config(right), "email  = citizen.external_ref", `email  = "x-${citizen.external_ref}"`, 1))
	text, code := i.run("plan", "--config", i.path("address.hcl"))
	if code != 0 || !strings.Contains(text, "newsletter, rule newsletter, other: citizen ") || !strings.Contains(text, "email: (masked) -> (masked)") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	whole, _ := i.run("plan", "--config", next)
	for _, leak := range []string{"person-", "@example.org", "secret-key", mailchimpsim.APIKey} {
		if strings.Contains(text+whole+fmt.Sprintf("%+v", p), leak) {
			t.Errorf("a plan shows %s", leak)
		}
	}

	// What the daemon does not read.
	elsewhere := filepath.Join(t.TempDir(), "next.hcl")
	write(elsewhere, config(right))
	i.refused("is outside of", "plan", "--config", elsewhere)
	if err := os.Symlink(elsewhere, i.path("link.hcl")); err != nil {
		t.Fatal(err)
	}
	i.refused("is outside of", "plan", "--config", i.path("link.hcl"))
	write(i.path("admin.token"), "s3cret-token")
	i.refused("is not called *.hcl", "plan", "--config", i.path("admin.token"))
	i.refused("no such file", "plan", "--config", i.path("nowhere.hcl"))
	write(i.path("wrong.hcl"), strings.Replace(config(right), "newsletter_email.allowed", "newsleter_email.allowed", 1))
	i.refused("Did you mean", "plan", "--config", i.path("wrong.hcl"))
	i.refused("no target", "plan", "--config", next, "--target", "newsleter")

	// Held to the plan.
	i.refused("there is no plan", "reload", "--plan", "c0ffee")
	i.refused("is not the one of plan", "reload", "--plan", p.ID)
	if err := os.Rename(next, i.path("config.hcl")); err != nil {
		t.Fatal(err)
	}
	i.accept(update("person-8", "DENIED", 2))
	i.refused("would be granted 5 records, where the plan said 4", "reload", "--plan", p.ID)
	i.accept(update("person-5", "GRANTED", 2)) // no more than before
	if out, code := i.run("reload", "--plan", p.ID); code != 0 || !strings.Contains(out, "is in force") {
		t.Errorf("reload: exit code %d, %s", code, out)
	}
	i.refused("the configuration in force is another", "reload", "--plan", p.ID)
	if out, code := i.run("reload", "--plan", i.planned().ID); code != 0 || !strings.Contains(out, "the same as before") {
		t.Errorf("reload: exit code %d, %s", code, out)
	}
	i.stop()
	for _, leak := range []string{"person-", "@example.org", "s3cret-token"} {
		if strings.Contains(i.log.String(), leak) {
			t.Errorf("the log has %s", leak)
		}
	}
}

// TestFuse: a reload that would grant everybody grants as many as the fuse stands, and withdrawals go on, over a crash
// as well, until somebody releases it.
func TestFuse(t *testing.T) {
	first, second := newSink(t), newSink(t)
	i := configure(t, apiKeySource+first.config("first", ""))
	i.start()
	people := []string{"ada", "bob", "cleo", "dan", "eve", "finn"}
	for n, citizen := range people {
		i.accept(update(citizen, "GRANTED", n))
	}
	i.settled("first")
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + "\nfuse {\n  max_grants = 2\n}\n" +
		first.config("first", "max_grants = 0") + second.config("second", ""))
	if _, code := i.run("reload"); code != 0 {
		t.Fatalf("reload: exit code %d", code)
	}
	held := func(n int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d grants are held", n), func() bool { return i.target("second").Waiting["fuse"] == n })
	}
	// What was in flight at a crash comes again, so it is people that are counted.
	granted := func() (n int) {
		for _, citizen := range append(people, "gus") {
			if slices.ContainsFunc(second.of(citizen), func(t taken) bool { return t.Allowed }) {
				n++
			}
		}
		return n
	}
	held(4)
	if granted() != 2 || i.target("second").FuseBlown == nil || i.target("first").FuseBlown != nil {
		t.Errorf("%d granted; %+v", granted(), i.target("second"))
	}
	if out, _ := i.run("status"); !strings.Contains(out, "second: its fuse has blown") || !strings.Contains(out, "4 are held") {
		t.Errorf("status:\n%s", out)
	}
	if m := i.metrics(); !strings.Contains(m, `consentd_fuse_blown{target="second"} 1`) || !strings.Contains(m, `consentd_fuse_blown{target="first"} 0`) ||
		!strings.Contains(m, `consentd_deliveries_waiting{reason="fuse",target="second"} 4`) {
		t.Errorf("metrics:\n%s", m)
	}
	var out, in string
	for _, citizen := range people {
		if len(second.of(citizen)) == 0 {
			out = citizen
		} else {
			in = citizen
		}
	}
	i.accept(update(out, "DENIED", 10))
	eventually(t, "the withdrawal of one who is held arrives", func() bool { return len(second.of(out)) > 0 && !second.of(out)[0].Allowed })
	held(3)
	eventually(t, "the log says that the fuse has blown", func() bool { return strings.Contains(i.log.String(), "fuse blown") })

	i.kill()
	i.start()
	i.accept(update(in, "DENIED", 11))
	eventually(t, "the withdrawal of one who was let through arrives", func() bool { all := second.of(in); return !all[len(all)-1].Allowed })
	i.accept(update("gus", "GRANTED", 12))
	held(4)
	if granted() != 2 {
		t.Errorf("%d granted after a crash", granted())
	}
	if strings.Count(i.log.String(), "fuse blown") != 1 {
		t.Error("the log does not say once that the fuse has blown")
	}

	i.refused("target \"secnd\" not found", "target", "release", "secnd")
	if said, code := i.run("target", "release", "second"); code != 0 || !strings.Contains(said, "4 held grants") {
		t.Errorf("release: exit code %d, %s", code, said)
	}
	i.settled("second")
	if granted() != 6 || i.target("second").FuseBlown != nil {
		t.Errorf("%d granted; %+v", granted(), i.target("second"))
	}
	i.stop()
}

// TestPlanLooksNobodyUp: answers that the daemon has count, as long as the lookup is the same, and no other is asked for.
func TestPlanLooksNobodyUp(t *testing.T) {
	var asked atomic.Int64
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fmt.Fprintf(w, `{"email": "x%s@crm.example.org"}`, strings.TrimPrefix(r.URL.Path, "/"))
	}))
	defer crm.Close()
	s := newSink(t)
	i := configure(t, "")
	config := func(path, target string) string {
		return fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + fmt.Sprintf(`
lookup "http" "crm" {
  url    = "%s%s${citizen.id}"
  fields = { email = "$.email" }
}
`, crm.URL, path) + target
	}
	rule := s.reading("first", "lookup.crm.email")
	i.write(config("/", rule))
	i.start()
	for n, citizen := range []string{"ada", "bob", "cleo"} {
		i.accept(update(citizen, "GRANTED", n))
	}
	i.settled("first")
	before := asked.Load()
	next := i.path("next.hcl")
	for path, want := range map[string]plan.Counts{"/": {Other: 3}, "/people/": {NotLookedUp: 3}} {
		if err := os.WriteFile(next, []byte(config(path, strings.Replace(rule, "sent_at = sent_at", "sent_at = null", 1))), 0o600); err != nil {
			t.Fatal(err)
		}
		if p := i.planned("--config", next); p.Targets[0].Counts != want {
			t.Errorf("%s: %+v", path, p.Targets)
		}
	}
	if asked.Load() != before {
		t.Errorf("%d were looked up for the plans", asked.Load()-before)
	}
	i.stop()
}
