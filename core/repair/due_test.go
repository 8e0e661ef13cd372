package repair

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm/sim"
	"github.com/consentd/consentd/core/store"
)

// begun marks everything as known until a while ago, as if a backfill had been then.
func (w *world) begun(ago time.Duration) {
	w.Helper()
	if err := w.store.SetMark(ctx, "repaired dataguard", []byte(time.Now().Add(-ago).UTC().Format(time.RFC3339Nano))); err != nil {
		w.Fatal(err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// TestWhenARepairIsDue: after a silence, by the clock, and not otherwise.
func TestWhenARepairIsDue(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*config.API)
		heard  time.Duration // ago
		why    string        // empty: none is due
	}{
		"nothing":           {func(*config.API) {}, time.Hour, ""},
		"silence":           {func(a *config.API) { a.Heartbeat = 20 * time.Millisecond }, time.Hour, "silence"},
		"webhooks come":     {func(a *config.API) { a.Heartbeat = time.Hour }, time.Minute, ""},
		"schedule":          {func(a *config.API) { a.RepairEvery = 20 * time.Millisecond }, 0, "schedule"},
		"schedule, not yet": {func(a *config.API) { a.RepairEvery = time.Hour }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t, tc.change, func(a *config.API) { a.ConfirmAfter = 10 * time.Millisecond })
			id := w.sim.Add("ada")
			w.sim.Record(id, sim.Grant(option))
			w.settle()
			w.begun(30 * time.Second)
			o := w.options()
			registry, log := prometheus.NewRegistry(), &lockedBuffer{}
			o.Metrics, o.Log = NewMetrics(registry), hclog.New(&hclog.LoggerOptions{Output: log})
			o.Heard = func() time.Time { return time.Now().Add(-tc.heard) }
			w.source = Start(o)
			defer w.source.Close()
			if tc.why == "" {
				// A few rounds of looking, after which nothing has begun.
				w.wait("it looked", func() bool { return testutil.ToFloat64(o.Metrics.repairedAt) > 0 })
				time.Sleep(300 * time.Millisecond)
				if p := w.progress(); p.Kind != "" {
					t.Errorf("it began: %+v", p)
				}
				return
			}
			w.wait("it is repaired", func() bool { is, _ := w.state(id); return is == "GRANTED" })
			w.wait("it ends", func() bool { p := w.progress(); return p.Why == tc.why && !p.Running })
			silent := testutil.ToFloat64(o.Metrics.isSilent)
			if (silent == 1) != (tc.why == "silence") {
				t.Errorf("silent is %v", silent)
			}
			if tc.why == "silence" {
				w.wait("the log warns", func() bool {
					return strings.Contains(log.String(), "the source is silent") && strings.Contains(log.String(), "no webhook brought them")
				})
			}
		})
	}
}

// TestAPIAway: while the API fails nothing is lost and nothing ends; when it is back, it goes on.
func TestAPIAway(t *testing.T) {
	w := begin(t)
	id := w.sim.Add("ada")
	w.sim.Record(id, sim.Grant(option))
	w.settle()
	w.sim.Behave(func(b *sim.Behaviour) { b.Failing = true })
	w.start()
	if _, err := w.source.Backfill(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.wait("it says why it does not go on", func() bool { p := w.progress(); return p.Running && p.Error != "" && !p.Refused })
	w.sim.Behave(func(b *sim.Behaviour) { b.Failing = false })
	w.wait("it ends", func() bool { return !w.progress().Running })
	if is, _ := w.state(id); is != "GRANTED" {
		t.Errorf("it is %s, %+v", is, w.progress())
	}
}

// TestErasedStaysErased: what the sender still knows of a citizen who was erased here does not come back.
func TestErasedStaysErased(t *testing.T) {
	w := begin(t)
	id := w.sim.Add("ada")
	w.sim.Record(id, sim.Grant(option))
	w.webhook(id, time.Now())
	if _, err := w.store.Erase(ctx, "dataguard", id, time.Now(), func(consent.State) ([]store.ErasureRequest, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.start()
	if p := w.backfill(); p.Superseded != 1 || p.Accepted != 0 {
		t.Errorf("%+v", p)
	}
	if is, _ := w.state(id); is != "unknown" {
		t.Errorf("it is %s", is)
	}
}

// TestDeltasBesideABackfill: the API tells the whole state also of a source that sends changes alone, and an older
// change that comes late does not undo it.
func TestDeltasBesideABackfill(t *testing.T) {
	w := begin(t)
	w.config.UpdateType = consent.ConsentReceipts
	id := w.sim.Add("ada")
	w.sim.Record(id, sim.Grant(option), sim.Grant("p7Qaz"))
	late := w.sim.State(id)
	late.SentAt = time.Now()
	late.Permissions = late.Permissions[:1]
	w.sim.Advance(10 * time.Second)
	w.sim.Record(id, sim.Deny(option))
	w.settle()
	w.start()
	if p := w.backfill(); p.Accepted != 1 {
		t.Fatalf("%+v", p)
	}
	v, err := w.store.Accept(ctx, consent.Update{Source: "dataguard", Type: consent.ConsentReceipts, Received: time.Now(), State: late, Body: consent.Encode(late)})
	if err != nil || v == consent.Accepted {
		t.Errorf("the late change: %v, %v", v, err)
	}
	if is, _ := w.state(id); is != "DENIED" {
		t.Errorf("it is %s", is)
	}
}

// One citizen is read at once, whatever else is known of the sender.
func TestOfRef(t *testing.T) {
	w := begin(t)
	for n := range 3 {
		w.sim.Record(w.sim.Add(fmt.Sprintf("c%d", n)), sim.Grant(option))
	}
	w.start()
	if n, err := w.source.OfRef(ctx, "c1"); err != nil || n != (Counts{Accepted: 1}) {
		t.Errorf("%+v, %v", n, err)
	}
	if n, err := w.source.OfRef(ctx, "nobody"); err != nil || n != (Counts{}) {
		t.Errorf("nobody: %+v, %v", n, err)
	}
}

// TestDoubtedIsAsked: an old withdrawal that was tried again and stamped anew withdraws, since nobody can tell; then the
// API is asked, and the grant is back. Of what was sent when it was recorded nobody is asked.
func TestDoubtedIsAsked(t *testing.T) {
	w := begin(t, func(a *config.API) { a.ConfirmAfter = 50 * time.Millisecond })
	id := w.sim.Add("ada")
	w.sim.Record(id, sim.Deny(option))
	old := w.sim.State(id)
	w.sim.Advance(time.Second)
	w.sim.Record(id, sim.Grant(option))
	w.webhook(id, time.Now().Add(-time.Minute))
	fresh := w.sim.State(id)
	fresh.SentAt = time.Now()
	w.start()
	w.source.Doubt(fresh)
	if ids := len(w.source.doubts); ids != 0 {
		t.Errorf("%d are doubted for nothing", ids)
	}
	old.SentAt = time.Now().Add(-time.Second)
	w.take(old)
	if is, held := w.state(id); is != "DENIED" || held != "" {
		t.Fatalf("to begin with it is %s, held %s", is, held)
	}
	w.settle()
	old.SentAt = old.SentAt.Add(time.Hour) // as if it had been recorded an hour before it was sent
	w.source.Doubt(old)
	w.wait("the grant is back", func() bool { is, _ := w.state(id); return is == "GRANTED" })
	w.wait("nobody is doubted any more", func() bool { return len(w.source.doubted()) == 0 })
}
