package repair

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/cpm/sim"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
	"github.com/consentd/consentd/sdk/httpclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// world is a sender, a store, and what brings the one in line with the other.
type world struct {
	*testing.T
	sim    *sim.Sim
	api    http.Handler // what stands for the sim, if not nil
	store  *sqlite.Store
	source *Source
	config config.Source
	client func() *cpm.Client
}

func begin(t *testing.T, change ...func(*config.API)) *world {
	t.Helper()
	w := &world{T: t, sim: sim.New(sim.Options{})}
	t.Cleanup(w.sim.Close)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.api != nil {
			w.api.ServeHTTP(rw, r)
			return
		}
		w.sim.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	api := &config.API{Config: cpm.Config{
		BaseURL: server.URL, Application: sim.Application, Auth: httpclient.APIKey("X-API-Key", sim.APIKey), PageSize: 10, Timeout: 10 * time.Second,
		Paths: cpm.DefaultPaths(), Params: cpm.DefaultParams(),
	}, Overlap: time.Minute, ConfirmAfter: time.Hour}
	for _, c := range change {
		c(api)
	}
	w.config = config.Source{Name: "dataguard", UpdateType: consent.EffectivePermission, ApplicationID: sim.Application, API: api}
	var err error
	if w.store, err = sqlite.Open(ctx, filepath.Join(t.TempDir(), "s.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	if err := w.store.Route(ctx, map[string][]store.Route{"dataguard": {{Rule: "r", Target: "t"}}}); err != nil {
		t.Fatal(err)
	}
	w.client = func() *cpm.Client {
		c, err := cpm.New(api.Config, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	return w
}

func (w *world) options() Options {
	return Options{
		Source: w.config, Client: w.client(), Store: w.store, Heard: func() time.Time { return time.Time{} }, Log: hclog.NewNullLogger(),
		Metrics: NewMetrics(prometheus.NewRegistry()),
	}
}

func (w *world) start() {
	w.Helper()
	w.source = Start(w.options())
	source := w.source
	w.Cleanup(func() {
		if w.source == source {
			source.Close()
		}
	})
}

// webhook takes in what the sender says of a citizen now, sent at an instant.
func (w *world) webhook(id string, sent time.Time) consent.Verdict {
	w.Helper()
	state := w.sim.State(id)
	state.SentAt = sent
	return w.take(state)
}

func (w *world) take(state consent.State) consent.Verdict {
	w.Helper()
	v, err := w.store.Accept(ctx, consent.Update{Source: "dataguard", Type: consent.EffectivePermission, Received: time.Now(), State: state, Body: consent.Encode(state)})
	if err != nil {
		w.Fatal(err)
	}
	return v
}

// state is what is stored: the state of the one option, and what is held of it.
func (w *world) state(id string) (is, held string) {
	w.Helper()
	c, err := w.store.Citizen(ctx, "dataguard", id)
	if err != nil {
		return "unknown", ""
	}
	of := func(body []byte) string {
		s, err := consent.Decode(body)
		if err != nil || len(s.Permissions) == 0 {
			return ""
		}
		return s.Permissions[0].State
	}
	return of(c.Body), of(c.Held)
}

func (w *world) wait(what string, holds func() bool) {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("in vain: %s; %+v", what, w.progress())
		}
	}
}

func (w *world) progress() admin.Progress {
	w.Helper()
	p, err := w.source.Progress(ctx)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// walk asks for a walk and waits until it has ended.
func (w *world) walk(ask func() (admin.Progress, error)) admin.Progress {
	w.Helper()
	w.wait("nothing is under way", func() bool { return !w.progress().Running })
	if _, err := ask(); err != nil {
		w.Fatal(err)
	}
	w.wait("it ends", func() bool { return !w.progress().Running })
	return w.progress()
}

func (w *world) backfill() admin.Progress {
	return w.walk(func() (admin.Progress, error) { return w.source.Backfill(ctx, time.Time{}) })
}

// settle lets the sender's clock pass what was just recorded: a walk ends in the past, in whole seconds.
func (w *world) settle() { w.sim.Advance(3 * time.Second) }

const option = "k3Rmx"

func TestBackfill(t *testing.T) {
	w := begin(t)
	var ids []string
	for n := range 45 {
		id := w.sim.Add(fmt.Sprintf("c%d", n))
		w.sim.Record(id, sim.Grant(option))
		ids = append(ids, id)
	}
	w.settle()
	w.start()
	if p := w.backfill(); p.Accepted != 45 || p.Error != "" || p.Part != 1 {
		t.Fatalf("%+v", p)
	}
	for _, id := range ids {
		if is, _ := w.state(id); is != "GRANTED" {
			t.Errorf("%s is %s", id, is)
		}
	}
	w.sim.Record(ids[3], sim.Deny(option))
	w.settle()
	if p := w.backfill(); p.Accepted != 1 || p.Unchanged < 44 {
		t.Errorf("the second one: %+v", p)
	}
	if is, _ := w.state(ids[3]); is != "DENIED" {
		t.Errorf("it is %s", is)
	}
}

// TestNewerWebhookStays is what a backfill may never do: put back what a webhook has brought since. The API answers
// with what was true before.
func TestNewerWebhookStays(t *testing.T) {
	w := begin(t)
	id := w.sim.Add("ada")
	w.sim.Record(id, sim.Deny(option))
	w.settle()
	old := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "/v1/permissions/effective?applicationId="+sim.Application, nil)
	req.Header.Set("X-API-Key", sim.APIKey)
	w.sim.ServeHTTP(old, req)
	answer := old.Body.Bytes()
	var newer atomic.Bool
	w.api = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		// While the answer is on its way, a webhook overtakes it.
		if newer.CompareAndSwap(false, true) {
			w.sim.Record(id, sim.Grant(option))
			w.webhook(id, time.Now().Add(time.Second))
		}
		rw.Write(answer)
	})
	w.start()
	if p := w.backfill(); p.Accepted != 0 {
		t.Errorf("%+v", p)
	}
	if is, _ := w.state(id); is != "GRANTED" {
		t.Errorf("it is %s", is)
	}
}

// TestLaggingAPIGrantsNothing: what the API reads from may not know of a withdrawal yet that a webhook brought.
func TestLaggingAPIGrantsNothing(t *testing.T) {
	w := begin(t)
	id := w.sim.Add("ada")
	w.sim.Record(id, sim.Grant(option))
	w.sim.Advance(10 * time.Second)
	w.sim.Record(id, sim.Deny(option))
	w.webhook(id, time.Now().Add(-time.Minute))
	w.sim.Behave(func(b *sim.Behaviour) { b.Lag = 5 * time.Second })
	w.api = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		q.Del("since") // what changed lately is not there yet, and so is who it was
		q.Del("before")
		q.Set("externalRef", "ada")
		r.URL.RawQuery = q.Encode()
		w.sim.ServeHTTP(rw, r)
	})
	w.start()
	w.backfill()
	if is, held := w.state(id); is != "DENIED" || held != "GRANTED" {
		t.Errorf("it is %s, held %s", is, held)
	}
}

// TestHeldIsSettled: what is held is confirmed or dismissed by what the sender says, once it has been held long enough.
func TestHeldIsSettled(t *testing.T) {
	for name, tc := range map[string]struct{ truth, want string }{
		"confirmed": {"GRANTED", "GRANTED"}, "dismissed": {"DENIED", "DENIED"},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t, func(a *config.API) { a.ConfirmAfter = 300 * time.Millisecond })
			id := w.sim.Add("ada")
			w.sim.Record(id, sim.Grant(option))
			older := w.sim.State(id)
			w.sim.Advance(10 * time.Second)
			if tc.truth == "GRANTED" {
				// What is newer ends, and the older one is back in force: the same as a retry that was stamped anew.
				w.sim.Record(id, sim.Change{Option: option, Justification: "consent", State: "DENIED", ValidUntil: time.Now().Add(20 * time.Second)})
			} else {
				w.sim.Record(id, sim.Deny(option))
			}
			w.webhook(id, time.Now().Add(-time.Minute))
			older.SentAt = time.Now().Add(-time.Second)
			w.take(older)
			if is, held := w.state(id); is != "DENIED" || held != "GRANTED" {
				t.Fatalf("to begin with it is %s, held %s", is, held)
			}
			w.sim.Advance(30 * time.Second)
			w.start()
			w.wait("it is settled", func() bool { _, held := w.state(id); return held == "" })
			if is, _ := w.state(id); is != tc.want {
				t.Errorf("it is %s, want %s", is, tc.want)
			}
		})
	}
}

// TestWalkGoesOnAfterARestart: what was begun is gone on with, and is not begun anew.
func TestWalkGoesOnAfterARestart(t *testing.T) {
	w := begin(t)
	for n := range 95 {
		w.sim.Record(w.sim.Add(fmt.Sprintf("c%d", n)), sim.Grant(option))
	}
	w.settle()
	var pages atomic.Int32
	block := make(chan struct{})
	w.api = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if pages.Add(1) == 6 {
			select {
			case <-block:
			case <-r.Context().Done():
				return
			}
		}
		w.sim.ServeHTTP(rw, r)
	})
	w.start()
	if _, err := w.source.Backfill(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.wait("it is half-way", func() bool { return pages.Load() == 6 })
	if _, err := w.source.Backfill(ctx, time.Time{}); err == nil {
		t.Error("two at once")
	}
	w.source.Close()
	close(block)
	before := pages.Load()
	w.start()
	w.wait("it ends", func() bool { p := w.progress(); return !p.Running && p.Kind == KindBackfill })
	if p := w.progress(); p.Accepted != 95 || p.Read != 95 {
		t.Errorf("%+v", p)
	}
	if again := pages.Load() - before; again > 8 {
		t.Errorf("%d pages were read after the restart: it began anew", again)
	}
	if v, err := w.store.Mark(ctx, w.source.walkMark()); v != nil || err != nil {
		t.Errorf("a mark is left: %s, %v", v, err)
	}
}

func TestStop(t *testing.T) {
	w := begin(t)
	w.sim.Behave(func(b *sim.Behaviour) { b.Failing = true })
	w.start()
	if _, err := w.source.Backfill(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if was, err := w.source.Stop(ctx); !was || err != nil {
		t.Errorf("%v, %v", was, err)
	}
	if was, err := w.source.Stop(ctx); was || err != nil {
		t.Errorf("again: %v, %v", was, err)
	}
	w.sim.Behave(func(b *sim.Behaviour) { b.Failing = false })
	if p := w.backfill(); p.Error != "" {
		t.Errorf("another one: %+v", p)
	}
}

// TestGapIsRepairedAtTheStart: what changed while nothing ran is there after the start, by itself, and only that is read.
func TestGapIsRepairedAtTheStart(t *testing.T) {
	w := begin(t)
	var ids []string
	for n := range 20 {
		id := w.sim.Add(fmt.Sprintf("c%d", n))
		w.sim.Record(id, sim.Grant(option))
		ids = append(ids, id)
	}
	w.sim.Advance(2 * time.Minute)
	w.start()
	w.backfill()
	w.source.Close()
	w.sim.Advance(2 * time.Minute)
	for _, id := range ids[:5] {
		w.sim.Record(id, sim.Deny(option))
	}
	w.settle()
	// As if the daemon had been down for longer than a moment.
	past := time.Now().Add(-2 * time.Minute).UTC().Format(time.RFC3339Nano)
	if err := w.store.SetMark(ctx, w.source.repairedMark(), []byte(past)); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.wait("it is repaired", func() bool {
		is, _ := w.state(ids[4])
		return is == "DENIED" && !w.progress().Running
	})
	if p := w.progress(); p.Why != "start" || p.Accepted != 5 {
		t.Errorf("%+v", p)
	}
	value, _ := w.store.Mark(ctx, w.source.repairedMark())
	if until, err := time.Parse(time.RFC3339Nano, string(value)); err != nil || time.Until(until) < time.Minute {
		t.Errorf("known until %s, %v", value, err)
	}
}
