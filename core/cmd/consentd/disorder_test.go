package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/cpm/sim"
)

// TestDisorder is everything at once that the sender may do: messages twice, in any order, tried again an hour later and
// stamped anew; a subscription that is paused for a while; and a daemon that is killed in the midst. What comes of it
// by webhooks alone may be behind, and an old withdrawal that comes again withdraws. After one backfill, and when the API was
// asked about what came on old evidence, every target is right.
func TestDisorder(t *testing.T) {
	const citizens, rounds = 100, 8
	d, s := newDataguard(t), newSink(t)
	d.Behave(func(b *sim.Behaviour) { b.Duplicate, b.Shuffle, b.Restamp = true, true, true })
	i := configure(t, d.source("repair_every = \"0\"\nconfirm_after = \"1s\"")+s.config("sink", ""))
	i.start()
	d.subscribe(i)
	chance := rand.New(rand.NewPCG(1, 2))
	var ids []string
	for n := range citizens {
		ids = append(ids, d.Add(fmt.Sprintf("c%d@example.org", n)))
	}
	for round := range rounds {
		switch round {
		case 3:
			i.kill()
		case 4:
			i.start()
		case 5:
			d.SetStatus(d.subscription, cpm.Paused)
		case 6:
			d.SetStatus(d.subscription, cpm.Active)
		}
		for _, id := range ids {
			switch chance.IntN(4) {
			case 0, 1:
				d.Record(id, sim.Grant(newsletter))
			case 2:
				d.Record(id, sim.Deny(newsletter))
			}
		}
		eventually(t, "the round is posted, or failed", func() bool { queued, _ := d.Waiting(); return queued == 0 })
	}
	if _, failed := d.Waiting(); failed == 0 {
		t.Fatal("nothing failed: there is nothing to try again")
	}
	time.Sleep(2 * time.Second) // a walk ends in the past, in whole seconds
	if out, code := i.run("source", "backfill", "dataguard"); code != 0 || !strings.Contains(out, " 0 went to quarantine") {
		t.Fatalf("backfill: exit code %d, %s", code, out)
	}
	d.Advance(61 * time.Minute) // and now the old messages come again, stamped anew
	d.posted(t)
	eventually(t, "nothing is held, and the target is right about everybody", func() bool {
		return i.status().Held == 0 && i.target("sink").Pending == 0 && s.wrong(d, ids) == 0
	})
	if c := i.target("sink"); c.Dead > 0 {
		t.Errorf("%+v", c)
	}
}
