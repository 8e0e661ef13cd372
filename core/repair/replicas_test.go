package repair

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/cpm/sim"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
)

// replica is one of two over one store.
type replica struct {
	*Source
	*shared
	log lockedBuffer
}

// shared is the store as a replica has it.
type shared struct {
	*sqlite.Store
	rank atomic.Int64

	mu    sync.Mutex
	reads map[string]int // of marks
}

func (s *shared) Mark(ctx context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	s.reads[name]++
	s.mu.Unlock()
	return s.Store.Mark(ctx, name)
}

// looks waits until the replica has looked anew at what there is to do, and who was heard.
func (w *world) looks(r *replica) {
	w.Helper()
	for _, name := range []string{"heard dataguard", "repaired dataguard"} {
		read := func() int {
			r.shared.mu.Lock()
			defer r.shared.mu.Unlock()
			return r.reads[name]
		}
		before := read()
		w.wait("it looks", func() bool { return read() > before+2 })
	}
}

func (s *shared) Share() store.Share { return store.Share{Rank: int(s.rank.Load()), Of: 2} }

// at lets the replica be at the source, or not.
func (s *shared) at(is bool) {
	for rank := range 2 {
		if n, _ := (store.Share{Rank: rank, Of: 2}).Part(1, "source dataguard"); (n == 1) == is {
			s.rank.Store(int64(rank))
		}
	}
}

func (w *world) replica(at bool, change ...func(*Options)) *replica {
	r := &replica{shared: &shared{Store: w.store, reads: map[string]int{}}}
	r.at(at)
	o := w.options()
	o.Store, o.Log = r.shared, hclog.New(&hclog.LoggerOptions{Output: &r.log})
	for _, c := range change {
		c(&o)
	}
	r.Source = Start(o)
	w.source = r.Source
	w.Cleanup(r.Source.Close)
	return r
}

func soon(a *config.API) { a.ConfirmAfter = 50 * time.Millisecond }

func (w *world) citizens(n int) {
	for i := range n {
		w.sim.Record(w.sim.Add(fmt.Sprintf("c%d", i)), sim.Grant(option))
	}
	w.settle()
}

func (w *world) asked() int { return w.sim.Requests("GET /v1/permissions/effective") }

// requests of one walk through 95 citizens, ten a page: for the clock, for how many there are, and for the pages.
const ofAWalk = 1 + 1 + 10

// TestOneWalk: what is due is done once, and so is what is asked for where it is not done.
func TestOneWalk(t *testing.T) {
	w := begin(t, soon)
	w.citizens(95)
	w.begun(300 * 24 * time.Hour)
	one, other := w.replica(true), w.replica(false)
	ended := func(r *replica, why string) admin.Progress {
		t.Helper()
		var p admin.Progress
		w.wait("it ends", func() bool {
			var err error
			if p, err = r.Progress(ctx); err != nil {
				t.Fatal(err)
			}
			return p.Kind != "" && !p.Running && p.Why == why
		})
		return p
	}
	ended(other, "start")
	if p := ended(one, "start"); p.Accepted != 95 || p.Part != 1 || w.asked() != ofAWalk {
		t.Errorf("%d requests, %+v", w.asked(), p)
	}
	p, err := other.Backfill(ctx, time.Time{})
	if err != nil || !p.Running {
		t.Fatalf("%+v, %v", p, err)
	}
	ended(one, "")
	if p := ended(other, ""); p.Read != 95 || p.Unchanged != 95 || w.asked() != 2*ofAWalk {
		t.Errorf("%d requests, %+v", w.asked(), p)
	}
	if said := other.log.String(); strings.Contains(said, "reading from") {
		t.Errorf("the other one read as well: %s", said)
	}
	w.wait("the other one knows until when everything is known", func() bool {
		return testutil.ToFloat64(other.Source.Metrics.repairedAt) > float64(time.Now().Add(-time.Hour).Unix())
	})
}

// block lets the n-th request wait until it is to go on.
func (w *world) block(n int32) (requests *atomic.Int32, goOn func()) {
	requests = &atomic.Int32{}
	blocked := make(chan struct{})
	w.api = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == n {
			select {
			case <-blocked:
			case <-r.Context().Done():
				return
			}
		}
		w.sim.ServeHTTP(rw, r)
	})
	return requests, func() { close(blocked) }
}

// TestTakeOver: who is not at the source any more leaves off after the page, and the other one goes on from there.
func TestTakeOver(t *testing.T) {
	w := begin(t, soon)
	w.citizens(95)
	pages, goOn := w.block(6)
	one, other := w.replica(true), w.replica(false)
	if _, err := one.Backfill(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.wait("it is half-way", func() bool { return pages.Load() == 6 })
	before, err := other.Progress(ctx)
	if err != nil || !before.Running || before.Read == 0 {
		t.Errorf("%+v, %v", before, err)
	}
	one.at(false)
	goOn()
	w.wait("it leaves off", func() bool { return strings.Contains(one.log.String(), "another replica goes on") })
	if n := pages.Load(); n != 6 {
		t.Errorf("it left off after %d pages", n)
	}
	other.at(true)
	w.wait("the other one ends it", func() bool { return strings.Contains(other.log.String(), "read from the sender's API") })
	for _, r := range []*replica{one, other} {
		if p, err := r.Progress(ctx); err != nil || p.Running || p.Read != 95 || p.Accepted != 95 || !p.Started.Equal(before.Started) {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if n := w.asked(); n != ofAWalk {
		t.Errorf("%d requests", n)
	}
}

// TestStoodStill: who stood still while another one ended the walk does not bring it back.
func TestStoodStill(t *testing.T) {
	w := begin(t, soon)
	w.citizens(95)
	pages, goOn := w.block(6)
	one, other := w.replica(true), w.replica(false)
	if _, err := one.Backfill(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.wait("it is half-way", func() bool { return pages.Load() == 6 })
	other.at(true)
	w.wait("the other one ends it", func() bool { return !w.progress().Running })
	ended := w.progress()
	goOn()
	w.wait("it leaves off", func() bool { return strings.Contains(one.log.String(), "another replica goes on") })
	w.looks(one)
	if p := w.progress(); p != ended || p.Read != 95 || w.asked() != ofAWalk+1 {
		t.Errorf("%d requests, %+v", w.asked(), p)
	}
}

// TestStopFromAnother: any replica says how it goes and stops it, and says afterwards how it ended.
func TestStopFromAnother(t *testing.T) {
	w := begin(t, soon)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	w.citizens(5)
	w.sim.Behave(func(b *sim.Behaviour) { b.Failing = true })
	one, other := w.replica(true), w.replica(false)
	if _, err := one.Backfill(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.wait("the other one says why it does not go on", func() bool {
		p, err := other.Progress(ctx)
		return err == nil && p.Running && p.Error != ""
	})
	if _, err := other.Repair(ctx); err == nil {
		t.Error("two at once")
	}
	if was, err := other.Stop(ctx); !was || err != nil {
		t.Errorf("%v, %v", was, err)
	}
	third := w.replica(false) // as after a restart
	for _, r := range []*replica{one, other, third} {
		if p, err := r.Progress(ctx); err != nil || p.Running || p.Error != "stopped" || p.Ended.IsZero() {
			t.Errorf("%+v, %v", p, err)
		}
	}

	// What is stopped before anybody has begun it is not begun.
	w.sim.Behave(func(b *sim.Behaviour) { b.Failing = false })
	one.at(false)
	p, err := other.Backfill(ctx, time.Time{})
	if err != nil || !p.Running {
		t.Fatalf("%+v, %v", p, err)
	}
	before := w.asked()
	impatient, leave := context.WithCancel(ctx)
	go func() {
		defer leave()
		for said := ""; said != instant(p.Started) && ctx.Err() == nil; time.Sleep(time.Second) {
			v, _ := w.store.Mark(ctx, one.stopMark())
			said = string(v)
		}
	}()
	if was, err := third.Stop(impatient); !was || err == nil || !strings.Contains(err.Error(), "it is noted") {
		t.Errorf("%v, %v", was, err)
	}
	if p := w.progress(); !p.Running {
		t.Errorf("nobody can have looked: %+v", p)
	}
	one.at(true)
	w.wait("it ends", func() bool { p := w.progress(); return !p.Running && p.Error == "stopped" })
	if n := w.asked() - before; n != 0 {
		t.Errorf("%d requests", n)
	}
	if _, err := third.Backfill(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.wait("another one ends well", func() bool { p := w.progress(); return !p.Running && p.Accepted == 5 && p.Error == "" })
}

// TestHeldIsAskedOnce: of what is held the one that is at the source asks, of what is odd the one that was told.
func TestHeldIsAskedOnce(t *testing.T) {
	w := begin(t, soon)
	ids := []string{w.sim.Add("ada"), w.sim.Add("bob")}
	for _, id := range ids {
		w.sim.Record(id, sim.Grant(option))
	}
	older := w.sim.State(ids[0])
	w.sim.Advance(10 * time.Second)
	for _, id := range ids {
		w.sim.Record(id, sim.Deny(option))
		w.webhook(id, time.Now().Add(-time.Minute))
	}
	older.SentAt = time.Now().Add(-time.Second)
	w.take(older)
	if _, held := w.state(ids[0]); held != "GRANTED" {
		t.Fatalf("held is %q", held)
	}
	w.settle()
	doubted := w.sim.State(ids[1])
	doubted.SentAt = time.Now().Add(time.Hour) // long after it was recorded
	other := w.replica(false)
	other.Doubt(doubted)
	w.wait("the one that is not at the source asks of what it was told", func() bool { return len(other.doubted()) == 0 && w.asked() == 1 })
	if _, held := w.state(ids[0]); held != "GRANTED" {
		t.Errorf("it asked of what is held as well: %q", held)
	}
	w.replica(true)
	w.wait("it is settled", func() bool { _, held := w.state(ids[0]); return held == "" })
	if n := w.asked(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestWhatWasHeard: silence is judged by what any replica heard, also before a restart, and to note that is no work.
func TestWhatWasHeard(t *testing.T) {
	const never, heartbeat = 0, 4 * time.Hour
	for name, tc := range map[string]struct {
		own, noted time.Duration // ago
		silent     bool
		then       time.Duration // what is noted afterwards, ago
	}{
		"here":                         {5 * time.Hour, 6 * time.Hour, true, 5 * time.Hour},
		"here, lately":                 {time.Minute, 5 * time.Hour, false, time.Minute},
		"by another":                   {5 * time.Hour, time.Hour, false, time.Hour},
		"by another, before the start": {never, 5 * time.Hour, true, 5 * time.Hour},
		"by nobody since":              {never, time.Hour, false, time.Hour},
		"never":                        {never, never, false, 3 * time.Hour},
		"was just noted":               {time.Second, 30 * time.Second, false, 30 * time.Second},
		"was noted a while ago":        {61 * time.Second, 62 * time.Second, false, 61 * time.Second},
		"a clock was wrong":            {5 * time.Hour, -24 * time.Hour, true, 5 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t, func(a *config.API) { a.Heartbeat = heartbeat })
			now := time.Now()
			o := w.options()
			o.Metrics = NewMetrics(prometheus.NewRegistry())
			if tc.own != never {
				o.Heard = func() time.Time { return now.Add(-tc.own) }
			}
			s := &Source{Options: o, name: "dataguard", opened: now.Add(-3 * time.Hour)}
			if tc.noted != never {
				if err := w.store.SetMark(ctx, "heard dataguard", []byte(instant(now.Add(-tc.noted)))); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.hear(ctx, now); err != nil {
				t.Fatal(err)
			}
			if is := testutil.ToFloat64(o.Metrics.isSilent) == 1; is != tc.silent || s.isSilent() != is {
				t.Errorf("silent is %v", is)
			}
			if got, err := s.time(ctx, "heard dataguard"); err != nil || !got.Equal(now.Add(-tc.then).Truncate(0)) {
				t.Errorf("noted is %v ago, %v", now.Sub(got), err)
			}
		})
	}
}

// TestHeardByTheOther: no silence is repaired at one replica while webhooks come in at the other.
func TestHeardByTheOther(t *testing.T) {
	w := begin(t, soon, func(a *config.API) { a.Heartbeat = time.Hour })
	w.citizens(5)
	w.begun(2 * time.Hour)
	heard := func(ago time.Duration) func(*Options) {
		return func(o *Options) {
			o.Heard = func() time.Time { return time.Now().Add(-ago) }
			o.Metrics = NewMetrics(prometheus.NewRegistry())
		}
	}
	w.replica(false, heard(0))
	w.wait("it is noted", func() bool { v, err := w.store.Mark(ctx, "heard dataguard"); return err == nil && v != nil })
	one := w.replica(true, heard(2*time.Hour))
	w.wait("what was missed before the start is read", func() bool { p := w.progress(); return p.Why == "start" && !p.Running })
	w.begun(2 * time.Hour)
	w.looks(one)
	if p := w.progress(); p.Why != "start" || one.isSilent() || strings.Contains(one.log.String(), "silent") {
		t.Errorf("%+v, silent: %v", p, one.isSilent())
	}
}

// TestTheStartIsRepairedOnce: who comes to a source later reads what was missed before its own start only if nobody has.
func TestTheStartIsRepairedOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		opened, repaired time.Duration // ago
		why              string
	}{
		"nobody has":              {time.Hour, 2 * time.Hour, "start"},
		"somebody has":            {2 * time.Hour, time.Hour, ""},
		"it was only a moment":    {0, 30 * time.Second, ""},
		"it was more than that":   {0, 2 * time.Minute, "start"},
		"everything is known now": {time.Hour, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t)
			w.begun(tc.repaired)
			s := &Source{Options: w.options(), name: "dataguard", opened: time.Now().Add(-tc.opened)}
			why := func() string {
				j, err := s.due(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if j == nil {
					return ""
				}
				return j.Why
			}
			if got := why(); got != tc.why {
				t.Errorf("due is %q", got)
			}
			if got := why(); got != "" {
				t.Errorf("then it is %q", got)
			}
		})
	}
}

// TestOlderMark: what an earlier consentd had begun is gone on with.
func TestOlderMark(t *testing.T) {
	w := begin(t)
	w.citizens(25)
	mark := fmt.Sprintf(`{"kind":"backfill","started":"2026-03-02T10:14:05.12+01:00","cursor":{"since":"0001-01-01T00:00:00Z","before":%q,"from":"1970-01-01T00:00:00Z",
		"to":%[1]q,"offset":10,"step":1,"read":5,"expected":25},"counts":{"accepted":5,"unchanged":0,"superseded":0,"quarantined":0}}`, instant(time.Now().Add(time.Second)))
	if err := w.store.SetMark(ctx, "walk dataguard", []byte(mark)); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.wait("it ends", func() bool { return !w.progress().Running })
	if p := w.progress(); p.Read != 25 || p.Accepted != 25 || p.Error != "" || w.asked() != 2 {
		t.Errorf("%d requests, %+v", w.asked(), p)
	}
	if v, err := w.store.Mark(ctx, "walk dataguard"); v != nil || err != nil {
		t.Errorf("a mark is left: %s, %v", v, err)
	}
}
