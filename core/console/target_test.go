package console

import (
	"slices"
	"testing"
	"time"

	"github.com/consentd/consentd/core/admin"
)

// TestTargetActions works a target's page: what would harm is asked first.
func TestTargetActions(t *testing.T) {
	d := newDesk(t)
	d.get("/targets/crm").has(t, ">Pause…<", ">Send everything again…<")
	d.post("/targets/crm/pause").has(t, "WITHDRAWALS WAIT AS WELL", `name="confirmed" value="yes"`)
	d.post("/targets/crm/resync").has(t, "Send crm everything again?")
	d.post("/targets/crm/release").has(t, "be sure that they are meant")
	if len(d.doings) > 0 {
		t.Fatalf("done before the answer: %q", d.doings)
	}
	d.post("/targets/crm/pause", "confirmed", "yes").has(t, "The target is paused")
	d.mu.Lock()
	blown := time.Now()
	d.status.Targets[0].State, d.status.Targets[0].Pause, d.status.Targets[0].FuseBlown = "paused", &admin.Pause{}, &blown
	d.mu.Unlock()
	d.get("/targets/crm").has(t, ">Resume<", "by an operator; withdrawals wait as well", ">Release the fuse…<")
	d.post("/targets/crm/resume").has(t, "The target goes on.")
	d.post("/targets/crm/resync", "confirmed", "yes").has(t, "3 deliveries are pending again.")
	d.post("/targets/crm/release", "confirmed", "yes").has(t, "3 grants that the fuse held go out.")
	if p := d.post("/targets/crm/explode", "confirmed", "yes"); p.status != 404 {
		t.Errorf("no such verb: %d", p.status)
	}
	want := []string{"pause crm", "resume crm", "resync crm after 0", "resync crm after 7", "release crm"}
	if !slices.Equal(d.doings, want) {
		t.Errorf("done %q, want %q", d.doings, want)
	}
}
