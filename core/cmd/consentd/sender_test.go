package main

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/cpm/sim"
)

// backfilled is how many citizens TestInterruptedBackfill has.
var backfilled = flag.Int("backfill", 2000, "citizens of the interrupted backfill; the long form has 100000")

// dataguard is the sender of an instance: its citizens, its subscription and its API.
type dataguard struct {
	*sim.Sim
	url          string
	subscription string
}

func newDataguard(t *testing.T) *dataguard {
	t.Helper()
	d := &dataguard{Sim: sim.New(sim.Options{Application: "acme", Configuration: sim.Configuration{
		Data: []sim.Named{{ID: "d1", Name: "Email"}}, Purposes: []sim.Named{{ID: "p1", Name: "Newsletter"}}, Parties: []sim.Named{{ID: "q1", Name: "Acme"}},
		Options: []sim.Option{{ID: newsletter, DataID: "d1", PurposeID: "p1", PartyID: "q1"}},
	}})}
	server := httptest.NewServer(d.Sim)
	t.Cleanup(func() { d.Close(); server.Close() })
	d.url = server.URL
	return d
}

const newsletter = "k3Rmx"

// source is a source that can ask the sender; lines go into its api block.
func (d *dataguard) source(lines string) string {
	return strings.Replace(apiKeySource, "auth \"api_key\"", fmt.Sprintf("application_id = \"acme\"\n\n  api {\n    base_url = %q\n    api_key  = %q\n    rate_limit = \"1000/s\"\n%s\n  }\n\n  auth \"api_key\"", d.url, sim.APIKey, lines), 1)
}

// subscribe lets the sender post to an instance, as somebody sets it up in the sender's own pages.
func (d *dataguard) subscribe(i *instance) { d.subscribeAs(i, "effective-permission") }

func (d *dataguard) subscribeAs(i *instance, updateType string) {
	i.t.Helper()
	id, err := d.Subscribe(cpm.Subscription{Name: "by hand", URL: i.url(), UpdateType: updateType, Authentication: cpm.Authentication{
		AuthType: cpm.AuthAPIKey, APIKey: &cpm.APIKey{Location: "header", Key: "X-API-Key", Value: "secret-key"},
	}})
	if err != nil {
		i.t.Fatal(err)
	}
	d.subscription = id
}

// posted waits until the sender has posted all it had to.
func (d *dataguard) posted(t *testing.T) {
	t.Helper()
	eventually(t, "the sender has posted everything", func() bool { queued, failed := d.Waiting(); return queued+failed == 0 })
}

// pastSecond lets what was recorded be older than the second in which a walk begins: it ends in the past.
func (d *dataguard) pastSecond() { d.Advance(3 * time.Second) }

// allowed is what the sender says of a citizen now.
func (d *dataguard) allowed(id string) bool {
	for _, p := range d.State(id).Permissions {
		if p.OptionID == newsletter {
			return p.Allowed(time.Now().Add(time.Hour))
		}
	}
	return false
}

// holds checks that the sink holds of everybody what the sender says.
func (s *sink) holds(d *dataguard, ids []string) {
	s.t.Helper()
	if wrong := s.wrong(d, ids); wrong > 0 {
		s.t.Errorf("the target is wrong about %d of %d citizens", wrong, len(ids))
	}
}

// wrong is about how many citizens the sink holds something else than the sender says.
func (s *sink) wrong(d *dataguard, ids []string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := map[string]taken{}
	for _, rec := range s.all {
		if rec.status == 200 {
			last[rec.Citizen] = rec
		}
	}
	for _, id := range ids {
		if got := last[id]; got.Allowed != d.allowed(id) { // nothing said is as good as a no
			n++
		}
	}
	return n
}

// TestPausedSubscription is what the sender's documents say of a pause: what changes is lost. One repair brings it
// back, and lets nothing through that is not true any more.
func TestPausedSubscription(t *testing.T) {
	for updateType, citizens := range map[string]int{"effective-permission": 1000, "consent-receipts": 200} {
		t.Run(updateType, func(t *testing.T) { pausedSubscription(t, updateType, citizens) })
	}
}

func pausedSubscription(t *testing.T, updateType string, citizens int) {
	d, s := newDataguard(t), newSink(t)
	i := configure(t, strings.Replace(d.source("repair_every = \"0\""), "effective-permission", updateType, 1)+s.config("sink", ""))
	i.start()
	d.subscribeAs(i, updateType)
	var ids []string
	for n := range citizens {
		id := d.Add(fmt.Sprintf("c%d@example.org", n))
		if n%10 != 9 {
			d.Record(id, sim.Grant(newsletter))
		}
		ids = append(ids, id)
	}
	d.posted(t)
	i.settled("sink")
	before := s.count()

	d.SetStatus(d.subscription, cpm.Paused)
	for n, id := range ids {
		switch {
		case n%10 == 9: // who was not known at all
			d.Record(id, sim.Grant(newsletter))
		case n%2 == 0:
			d.Record(id, sim.Deny(newsletter))
		default: // who changes their mind twice
			d.Record(id, sim.Deny(newsletter))
			d.Record(id, sim.Grant(newsletter))
		}
	}
	d.pastSecond()
	d.SetStatus(d.subscription, cpm.Active)
	d.posted(t)
	if s.count() != before {
		t.Fatal("the pause lost nothing: there is nothing to repair")
	}
	// What an older update would grant must not come through either, whenever it comes.
	if out, code := i.run("source", "repair", "dataguard"); code != 0 || !strings.Contains(out, fmt.Sprintf("%d are news", citizens)) {
		t.Fatalf("repair: exit code %d, %s", code, out)
	}
	i.settled("sink")
	s.holds(d, ids)
	for n, id := range ids {
		if n%10 == 9 || n%2 != 0 {
			continue
		}
		of := s.of(id)
		for k, rec := range of {
			if rec.Allowed && k > 0 {
				t.Fatalf("citizen %d was granted again after their grant: %+v", n, of)
			}
		}
	}
	if c := i.target("sink"); c.Withdrawals != 0 || c.Dead != 0 {
		t.Errorf("%+v", c)
	}
	if out, code := i.run("source", "repair", "dataguard"); code != 0 || !strings.Contains(out, " 0 are news") {
		t.Errorf("a second repair: exit code %d, %s", code, out)
	}
}

// TestInterruptedBackfill: the daemon is killed in the midst of a backfill, goes on after the restart, and in the end
// everything is right. Meanwhile webhooks come, and they are newer.
func TestInterruptedBackfill(t *testing.T) {
	d, s := newDataguard(t), newSink(t)
	var ids []string
	for n := range *backfilled {
		id := d.Add(fmt.Sprintf("c%d@example.org", n))
		if n%3 == 0 {
			d.Record(id, sim.Deny(newsletter))
		} else {
			d.Record(id, sim.Grant(newsletter))
		}
		ids = append(ids, id)
	}
	d.pastSecond()
	i := configure(t, d.source("repair_every = \"0\"")+s.config("sink", "max_in_flight = 16"))
	i.start()
	d.subscribe(i)
	if out, code := i.run("source", "backfill", "dataguard", "--detach"); code != 0 || out != "begun\n" {
		t.Fatalf("backfill: exit code %d, %s", code, out)
	}
	progress := func() admin.Progress {
		p, err := admin.NewClient(i.admin, "").Progress(t.Context(), "dataguard")
		if err != nil {
			return admin.Progress{Running: true}
		}
		return p
	}
	eventually(t, "a third is read", func() bool { return progress().Read > *backfilled/3 })
	i.kill()
	asked := d.Requests("GET /v1/permissions/effective")
	for _, id := range ids[:*backfilled/20] { // some of those who were read, some who were not
		d.Record(id, sim.Deny(newsletter))
	}
	for _, id := range ids[*backfilled*19/20:] {
		d.Record(id, sim.Deny(newsletter))
	}
	i.start()
	d.Advance(time.Hour) // for the webhooks that failed while it was down
	eventually(t, "the backfill ends", func() bool { p := progress(); return !p.Running && p.Kind == "backfill" })
	if p := progress(); p.Error != "" || p.Read < *backfilled*9/10 {
		t.Errorf("%+v", p)
	}
	if again, whole := d.Requests("GET /v1/permissions/effective")-asked, *backfilled/100; again > whole*4/5+3 {
		t.Errorf("%d requests after the restart: it began anew", again)
	}
	d.posted(t)
	i.settled("sink")
	s.holds(d, ids)
}
