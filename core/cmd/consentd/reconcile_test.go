package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/cpm/sim"
	mailchimpsim "github.com/consentd/consentd/plugins/mailchimp/sim"
)

// mailing is a Mailchimp audience as a target, with one interest that no permission has to do with.
func mailing(t *testing.T, extra string) (*mailchimpsim.Server, string) {
	t.Helper()
	vendor := mailchimpsim.New(nil)
	server := httptest.NewServer(vendor)
	t.Cleanup(server.Close)
	return vendor, fmt.Sprintf(`
target "mailchimp" "newsletter" {
  %s

  config {
    api_key  = %q
    list_id  = %q
    base_url = "%s%s"
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.newsletter
  when   = permission.newsletter_email.known

  record {
    email        = citizen.external_ref
    status       = permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"
    merge_fields = { CPMID = citizen.id }
  }
}
`, extra, mailchimpsim.APIKey, mailchimpsim.ListID, server.URL, mailchimpsim.BasePath)
}

func (i *instance) reconcile(args ...string) admin.Reconciliation {
	i.t.Helper()
	out, code := i.run(append([]string{"reconcile", "--json"}, args...)...)
	var r admin.Reconciliation
	if err := json.Unmarshal([]byte(out), &r); err != nil || code > 1 {
		i.t.Fatalf("reconcile %q: exit code %d, %v\n%s", args, code, err, out)
	}
	return r
}

// TestTargetEditedBehindOurBack: what somebody changed at the vendor is found and mended, withdrawals by default, and
// the rest when that is asked for. The report names nobody.
func TestTargetEditedBehindOurBack(t *testing.T) {
	d := newDataguard(t)
	vendor, target := mailing(t, "")
	i := configure(t, d.source("")+target)
	i.start()
	d.subscribe(i)
	email := func(n int) string { return fmt.Sprintf("c%d@example.org", n) }
	for n := range 12 {
		id := d.Add(email(n))
		d.Record(id, sim.Grant(newsletter))
		if n < 6 {
			d.posted(t)
			d.Record(id, sim.Deny(newsletter))
		}
	}
	d.posted(t)
	d.pastSecond()
	i.settled("newsletter")
	status := func(n int) string {
		m, _ := vendor.Member(email(n))
		return m.Status
	}
	if r := i.reconcile("--repair", "none", "newsletter").Targets[0]; r.Records != 12 || r.Differ+r.Missing+r.Unreadable+r.Waiting > 0 {
		t.Fatalf("to begin with %+v", r)
	}

	vendor.Confirm(email(2)) // who said no is told again
	vendor.Put(mailchimpsim.Member{Email: email(9), Status: "unsubscribed"})
	vendor.Put(mailchimpsim.Member{Email: email(10), Status: "subscribed", MergeFields: map[string]any{"CPMID": "somebody else"}})
	r := i.reconcile("--repair", "none", "newsletter").Targets[0]
	if r.Differ != 3 || r.Withdrawals != 1 || r.Repaired != 0 || len(r.Samples) != 3 {
		t.Errorf("found %+v", r)
	}
	if status(2) != "subscribed" {
		t.Fatal("it was mended although nobody asked")
	}
	out, code := i.run("reconcile")
	if code != 0 || !strings.Contains(out, "differs in status: less is allowed than is held; repaired") || strings.Contains(out, "example.org") {
		t.Errorf("reconcile: exit code %d\n%s", code, out)
	}
	i.settled("newsletter")
	eventually(t, "the withdrawal is there again", func() bool { return status(2) == "unsubscribed" })
	if status(9) != "unsubscribed" {
		t.Error("a grant was repaired by default")
	}
	if r := i.reconcile("--repair", "all", "newsletter").Targets[0]; r.Differ != 2 || r.Repaired != 2 {
		t.Errorf("repair all: %+v", r)
	}
	i.settled("newsletter")
	if m, _ := vendor.Member(email(10)); m.MergeFields["CPMID"] == "somebody else" {
		t.Error("the merge field was not mended")
	}
	if strings.Contains(i.log.String(), "example.org") {
		t.Error("the log names somebody")
	}
}

// TestStoreIsComparedWithTheSender: what no webhook brought and nobody noticed is found. Without a repair, or with that
// of withdrawals alone, nothing is granted by it.
func TestStoreIsComparedWithTheSender(t *testing.T) {
	d, s := newDataguard(t), newSink(t)
	i := configure(t, d.source("repair_every = \"0\"")+s.config("sink", ""))
	i.start()
	d.subscribe(i)
	var ids []string
	for n := range 10 {
		id := d.Add(fmt.Sprintf("c%d@example.org", n))
		d.Record(id, sim.Grant(newsletter))
		ids = append(ids, id)
	}
	d.Record(ids[1], sim.Deny(newsletter))
	d.posted(t)
	i.settled("sink")
	d.SetStatus(d.subscription, cpm.Paused)
	d.Record(ids[0], sim.Deny(newsletter))  // a withdrawal
	d.Record(ids[1], sim.Grant(newsletter)) // a grant
	unknown := d.Add("new@example.org")
	d.Record(unknown, sim.Grant(newsletter))
	d.pastSecond()
	check := func(when string, r admin.Reconciliation, missing, differ, withdrawals, repaired int) {
		t.Helper()
		if len(r.Sources) != 1 || r.Sources[0].Error != "" {
			t.Fatalf("%s: %+v", when, r)
		}
		if got := r.Sources[0]; got.Citizens < 11 || got.Missing != missing || got.Differ != differ || got.Withdrawals != withdrawals || got.Repaired != repaired {
			t.Errorf("%s: %+v", when, got)
		}
	}
	check("none", i.reconcile("--repair", "none"), 1, 2, 1, 0)
	check("withdrawals", i.reconcile(), 1, 2, 1, 1)
	i.settled("sink")
	for n, want := range map[int]bool{0: false, 1: false, 2: true} {
		if of := s.of(ids[n]); of[len(of)-1].Allowed != want {
			t.Errorf("citizen %d: %+v", n, of)
		}
	}
	check("all", i.reconcile("--repair", "all"), 1, 1, 0, 2)
	i.settled("sink")
	s.holds(d, append(ids, unknown))
	check("nothing is left", i.reconcile("--repair", "all"), 0, 0, 0, 0)
}

// TestGoneAtTheSender: the sender tells of no deletion. Who is gone there is found, and erased here and at the targets
// if that is configured; but not when it looks like a mistake.
func TestGoneAtTheSender(t *testing.T) {
	d := newDataguard(t)
	vendor, target := mailing(t, "erase = true")
	i := configure(t, d.source("")+target)
	i.start()
	d.subscribe(i)
	var ids []string
	for n := range 8 {
		id := d.Add(fmt.Sprintf("c%d@example.org", n))
		d.Record(id, sim.Grant(newsletter))
		ids = append(ids, id)
	}
	d.posted(t)
	i.settled("newsletter")
	d.Delete(ids[3])
	d.Delete(ids[4])
	d.pastSecond()
	if r := i.reconcile(); r.Sources[0].Gone != 2 || r.Sources[0].Erased != 0 {
		t.Fatalf("not configured: %+v", r.Sources[0])
	}
	rest := d.source("") + target
	i.rewrite(rest + "\nreconcile {\n  erase_gone   = true\n  max_erasures = 1\n}\n")
	if r := i.reconcile(); r.Sources[0].Erased != 0 || !strings.Contains(r.Sources[0].Error, "max_erasures") {
		t.Errorf("too many: %+v", r.Sources[0])
	}
	i.rewrite(rest + "\nreconcile {\n  erase_gone = true\n}\n")
	if r := i.reconcile("--repair", "none"); r.Sources[0].Erased != 0 {
		t.Errorf("only reported: %+v", r.Sources[0])
	}
	if r := i.reconcile(); r.Sources[0].Gone != 2 || r.Sources[0].Erased != 2 || r.Sources[0].Error != "" {
		t.Errorf("%+v", r.Sources[0])
	}
	eventually(t, "the target has erased them", func() bool { return vendor.Len() == 6 })
	if _, code := i.run("citizen", "show", ids[3]); code != 1 {
		t.Errorf("show of who is gone: exit code %d", code)
	}
	eventually(t, "no trace is left", func() bool { return traces(t, i.dir, ids[3]) == 0 })
	if out, code := i.run("source", "backfill", "dataguard"); code != 0 || !strings.Contains(out, "6 citizens read: 0 are news") {
		t.Errorf("a backfill afterwards: exit code %d, %s", code, out)
	}

	// With a wrong path everybody seems to be gone.
	d.Delete(ids[5])
	d.pastSecond()
	i.rewrite(strings.Replace(rest, "rate_limit = \"1000/s\"", "rate_limit = \"1000/s\"\n paths {\n citizens = \"/v9/citizens\"\n }", 1) + "\nreconcile {\n  erase_gone = true\n}\n")
	if r := i.reconcile(); r.Sources[0].Erased != 0 || !strings.Contains(r.Sources[0].Error, "paths > citizens") {
		t.Errorf("a wrong path: %+v", r.Sources[0])
	}
}
