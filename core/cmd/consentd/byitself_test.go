package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/cpm/sim"
	"github.com/consentd/consentd/core/store/sqlite"
)

// remember sets a mark of a daemon that is down, as if time had passed.
func (i *instance) remember(name string, ago time.Duration, form string) {
	i.t.Helper()
	s, err := sqlite.Open(i.t.Context(), i.path("consentd.db"))
	if err != nil {
		i.t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetMark(i.t.Context(), name, []byte(time.Now().Add(-ago).UTC().Format(form))); err != nil {
		i.t.Fatal(err)
	}
}

// TestByItself: nobody types anything. After a time in which the daemon was down, it reads what changed; and by the
// clock it finds what was changed at a target.
func TestByItself(t *testing.T) {
	d := newDataguard(t)
	vendor, target := mailing(t, "")
	i := configure(t, d.source("repair_every = \"0\"")+target+"\nreconcile {\n  every = \"1h\"\n}\n")
	i.start()
	d.subscribe(i)
	var ids []string
	email := func(n int) string { return fmt.Sprintf("c%d@example.org", n) }
	for n := range 6 {
		ids = append(ids, d.Add(email(n)))
		d.Record(ids[n], sim.Grant(newsletter))
	}
	d.posted(t)
	d.Record(ids[5], sim.Deny(newsletter))
	d.posted(t)
	i.settled("newsletter")
	i.stop()

	for _, id := range ids[:3] {
		d.Record(id, sim.Deny(newsletter))
	}
	vendor.Confirm(email(5))
	d.pastSecond()
	i.remember("repaired dataguard", 10*time.Minute, time.RFC3339Nano)
	i.remember("reconciled", 2*time.Hour, time.RFC3339)
	i.start()
	status := func(n int) string {
		m, _ := vendor.Member(email(n))
		return m.Status
	}
	eventually(t, "what changed while it was down is there", func() bool {
		return status(0) == "unsubscribed" && status(1) == "unsubscribed" && status(2) == "unsubscribed" && status(3) == "subscribed"
	})
	eventually(t, "what was changed at the target is mended", func() bool { return status(5) == "unsubscribed" })
	if _, failed := d.Waiting(); failed == 0 {
		t.Error("webhooks brought it: there was nothing to repair")
	}
}

// TestRefused: when the API refuses, a person is told at once what to do, and the daemon is not stuck with it.
func TestRefused(t *testing.T) {
	d, s := newDataguard(t), newSink(t)
	rest := d.source("") + s.config("sink", "")
	i := configure(t, strings.Replace(rest, sim.APIKey, "another-key", 1))
	i.start()
	d.Record(d.Add("ada@example.org"), sim.Grant(newsletter))
	d.pastSecond()
	if out, code := i.run("source", "backfill", "dataguard"); code != 1 || !strings.Contains(i.lastError, "401") || !strings.Contains(i.lastError, "source stop dataguard") {
		t.Fatalf("backfill: exit code %d, %s", code, out)
	}
	if strings.Contains(i.lastError+i.log.String(), "another-key") {
		t.Error("the key is shown")
	}
	if out, _ := i.run("status"); !strings.Contains(out, "dataguard: a backfill is under way, 0%") || !strings.Contains(out, "dataguard: the sender's API: ") {
		t.Errorf("status: %s", out)
	}
	if _, code := i.run("source", "repair", "dataguard"); code != 1 || !strings.Contains(i.lastError, "for a backfill: wait for it, or end it") {
		t.Errorf("another one meanwhile: exit code %d", code)
	}
	if out, code := i.run("source", "stop", "dataguard"); code != 0 || out != "stopped\n" {
		t.Errorf("stop: exit code %d, %s", code, out)
	}
	if out, _ := i.run("status"); !strings.Contains(out, "dataguard: the last backfill ended early: stopped") {
		t.Errorf("status: %s", out)
	}
	i.rewrite(rest)
	if out, code := i.run("source", "backfill", "dataguard", "--external-ref", "ada@example.org"); code != 0 || !strings.Contains(out, "1 citizens read: 1 are news") {
		t.Errorf("after the reload: exit code %d, %s", code, out)
	}
	if _, code := i.run("source", "backfill", "nobody"); code != 1 || !strings.Contains(i.lastError, `source "nobody" not found`) {
		t.Errorf("no such source: exit code %d", code)
	}
}
