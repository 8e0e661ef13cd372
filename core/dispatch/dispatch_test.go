package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/zclconf/go-cty/cty"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
	"github.com/consentd/consentd/core/supervise"
	"github.com/consentd/consentd/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vendor is a Deliverer that notes what it gets and answers as it is told.
type vendor struct {
	answer func(key string, r sdk.Record) (sdk.Outcome, error)

	mu       sync.Mutex
	calls    []call
	inFlight map[string]bool
	// poison are those whose presence gets a whole call rejected.
	poison map[string]bool
	ready  chan struct{}
	t      *testing.T
}

func (v *vendor) Ready() <-chan struct{} { return v.ready }

type call struct {
	at    time.Time
	until time.Time // the deadline
	keys  []string
}

func (v *vendor) Deliver(ctx context.Context, records []sdk.Record) ([]sdk.Outcome, error) {
	c := call{at: time.Now()}
	c.until, _ = ctx.Deadline()
	outcomes := make([]sdk.Outcome, len(records))
	var broken error
	var sunk bool
	for i, r := range records {
		var f struct{ Key, State string }
		if err := json.Unmarshal(r.Fields, &f); err != nil {
			v.t.Errorf("record %s", r.Fields)
		}
		c.keys = append(c.keys, f.Key+" "+f.State)
		v.mu.Lock()
		if v.inFlight[f.Key] {
			v.t.Errorf("citizen in flight twice")
		}
		v.inFlight[f.Key] = true
		v.mu.Unlock()
		defer func() {
			v.mu.Lock()
			delete(v.inFlight, f.Key)
			v.mu.Unlock()
		}()
		sunk = sunk || v.poison[f.Key]
		outcomes[i] = sdk.Delivered("")
		if v.answer != nil {
			var err error
			if outcomes[i], err = v.answer(f.Key, r); err != nil {
				broken = err
			}
		}
	}
	v.mu.Lock()
	v.calls = append(v.calls, c)
	v.mu.Unlock()
	if broken != nil {
		return nil, broken
	}
	if sunk {
		for i := range outcomes {
			outcomes[i] = sdk.Rejected("BAD_REQUEST", "the vendor does not take the request")
		}
	}
	return outcomes, nil
}

func (v *vendor) delivered() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []string
	for _, c := range v.calls {
		all = append(all, c.keys...)
	}
	return all
}

// made are the calls so far.
func (v *vendor) made() []call {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.calls)
}

// world is one target over a real store, on the fake clock of synctest.
type world struct {
	t      *testing.T
	store  *sqlite.Store
	vendor *vendor
	target Target
	group  *Group
	log    *strings.Builder
}

const ruleText = `
rule "newsletter" {
  record {
    key   = citizen.id
    state = permission.email.state
  }
}`

func compile(t *testing.T, text string) *rules.Rule {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(text), "rules.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	block := file.Body.(*hclsyntax.Body).Blocks[0]
	record := block.Body.Blocks[0]
	d := rules.Definition{
		Name: block.Labels[0], Source: "dataguard", Target: "mail",
		Record: record.Body, RecordRange: record.DefRange(), Range: block.DefRange(),
	}
	if when := block.Body.Attributes["when"]; when != nil {
		d.When = when.Expr
	}
	if each := block.Body.Attributes["for_each"]; each != nil {
		d.ForEach = each.Expr
	}
	schema := sdk.Schema{Attributes: map[string]sdk.Attribute{
		"key": {Type: "string", Required: true}, "state": {Type: "string"},
	}}
	r, diags := rules.Compile(d, rules.Names{
		Options:     []rules.Option{{Name: "email", ID: "k3Rmx", Type: "option"}},
		Preferences: []rules.Preference{{Name: "interests", Reference: "interests"}},
		Lookups:     []rules.Lookup{{Name: "crm", Fields: map[string]cty.Type{"email": cty.String}}},
	}, schema)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return r
}

func newWorld(t *testing.T, change func(*Target)) *world {
	s, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "consentd.db"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: s, vendor: &vendor{t: t, inFlight: map[string]bool{}, poison: map[string]bool{}, ready: make(chan struct{})}, log: &strings.Builder{}}
	w.target = Target{
		Name: "mail", Plugin: "vendor 1", Deliverer: w.vendor,
		Rules:    map[string]*rules.Rule{"newsletter": compile(t, ruleText)},
		MaxBatch: 10, MaxInFlight: 2, Timeout: 30 * time.Second,
		Retry:          config.Retry{InitialInterval: time.Second, Multiplier: 2, MaxInterval: 10 * time.Minute, MaxElapsedTime: 72 * time.Hour},
		DeadRetryEvery: time.Hour, ConfigHash: "c0ffee",
	}
	if change != nil {
		change(&w.target)
	}
	w.start()
	return w
}

func (w *world) start() {
	log := hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Debug, Mutex: &sync.Mutex{}})
	w.route(w.routes()...)
	w.group = Start(w.target, w.store, NewMetrics(prometheus.NewRegistry()), log)
}

func (w *world) close() {
	w.group.Drain(context.Background())
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) accept(citizen, state string) {
	w.t.Helper()
	now := time.Now()
	s := consent.State{CitizenID: consent.Identifier(citizen), SentAt: now, Permissions: []consent.Permission{
		{TransactionID: "t-1", OptionType: "option", OptionID: "k3Rmx", State: state, RecordedAt: now},
	}}
	verdict, err := w.store.Accept(context.Background(), consent.Update{
		Source: "dataguard", Type: consent.EffectivePermission, Received: now, State: s, Body: consent.Encode(s),
	})
	if err != nil || verdict != consent.Accepted {
		w.t.Fatalf("accept: %v, %v", verdict, err)
	}
}

func (w *world) route(routes ...store.Route) {
	w.t.Helper()
	if err := w.store.Route(context.Background(), map[string][]store.Route{"dataguard": routes}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) routes() []store.Route {
	var routes []store.Route
	for _, name := range slices.Sorted(maps.Keys(w.target.Rules)) {
		routes = append(routes, store.Route{Rule: name, Target: "mail"})
	}
	return routes
}

func (w *world) delivery(citizen string) store.Delivery {
	w.t.Helper()
	all, err := w.store.Deliveries(context.Background(), "dataguard", citizen)
	if err != nil || len(all) == 0 {
		w.t.Fatalf("deliveries of %s: %v", citizen, err)
	}
	return all[0]
}

// expect lets everything that is due happen and compares what the vendor got.
func (w *world) expect(want ...string) {
	w.t.Helper()
	w.settle()
	if got := w.vendor.delivered(); !slices.Equal(got, want) {
		w.t.Errorf("the vendor got %q, want %q", got, want)
	}
}

// settle waits until nothing is left to do now. Commits are real system calls, which the fake clock waits
// for by itself; a moment of it lets hints arrive.
func (w *world) settle() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

func run(t *testing.T, name string, change func(*Target), test func(*testing.T, *world)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, change)
			defer w.close()
			test(t, w)
		})
	})
}

func TestDeliver(t *testing.T) {
	run(t, "the newest state, once", nil, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.expect("ada GRANTED")
		d := w.delivery("ada")
		if d.Status != store.Settled || d.Outcome != "delivered" {
			t.Errorf("delivery %+v", d)
		}
		r, err := w.store.Receipts(context.Background(), "dataguard", "ada")
		if err != nil || len(r) != 1 || r[0].Config != "c0ffee" || r[0].Plugin != "vendor 1" || len(r[0].Transactions) != 1 {
			t.Errorf("receipts %+v, %v", r, err)
		}
	})
	run(t, "an equal record makes no call", nil, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("ada", "GRANTED")
		w.expect("ada GRANTED")
		if d := w.delivery("ada"); d.Outcome != "unchanged" || d.Delivered != d.Desired {
			t.Errorf("delivery %+v", d)
		}
	})
	run(t, "an equal record goes to a target that became another system", nil, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		w.group.Drain(context.Background())
		w.target.Identity = []byte("another list")
		w.start()
		w.accept("ada", "GRANTED")
		w.expect("ada GRANTED", "ada GRANTED")
	})
	run(t, "a rule that says nothing makes no call", func(target *Target) {
		target.Rules["newsletter"] = compile(t, strings.Replace(ruleText, "record", "when = permission.email.known\n  record", 1))
	}, func(t *testing.T, w *world) {
		now := time.Now()
		s := consent.State{CitizenID: "ada", SentAt: now}
		if _, err := w.store.Accept(context.Background(), consent.Update{
			Source: "dataguard", Type: consent.EffectivePermission, Received: now, State: s, Body: consent.Encode(s),
		}); err != nil {
			t.Fatal(err)
		}
		w.expect()
		if d := w.delivery("ada"); d.Status != store.Settled {
			t.Errorf("delivery %+v", d)
		}
	})
	run(t, "for_each: several records, one delivery", func(target *Target) {
		target.MaxBatch = 2
		target.Rules["newsletter"] = compile(t, `
rule "newsletter" {
  for_each = ["x", "y", "z"]
  record {
    key   = "${citizen.id}-${each.value}"
    state = permission.email.state
  }
}`)
	}, func(t *testing.T, w *world) {
		w.vendor.answer = func(key string, _ sdk.Record) (sdk.Outcome, error) {
			if key == "ada-z" {
				return sdk.Rejected("NO_Z", "z is not taken"), nil
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		w.expect("ada-x GRANTED", "ada-y GRANTED", "ada-z GRANTED")
		if d := w.delivery("ada"); d.Status != store.Dead || d.Reason != store.ReasonRejected || !strings.Contains(d.Error, "NO_Z") {
			t.Errorf("delivery %+v", d)
		}
	})
	run(t, "a rule that fails makes a dead letter", func(target *Target) {
		target.Rules["newsletter"] = compile(t, strings.Replace(ruleText, "citizen.id", "regex(\"x\", citizen.id)", 1))
	}, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.expect()
		d := w.delivery("ada")
		if d.Status != store.Dead || d.Reason != store.ReasonRule || !strings.Contains(d.Error, "rules.hcl:4") || strings.Contains(d.Error, "ada") {
			t.Errorf("delivery %+v", d)
		}
	})
}

// TestRecordID: the same for every try at one version, another for the next version with the same content.
func TestRecordID(t *testing.T) {
	run(t, "", nil, func(t *testing.T, w *world) {
		var ids []string
		var fail atomic.Bool
		fail.Store(true)
		w.vendor.answer = func(_ string, r sdk.Record) (sdk.Outcome, error) {
			ids = append(ids, r.ID)
			if fail.Load() {
				fail.Store(false)
				return sdk.Retry("HTTP_500", ""), nil
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		time.Sleep(time.Minute)
		w.accept("ada", "DENIED")
		w.settle()
		w.accept("ada", "GRANTED")
		w.expect("ada GRANTED", "ada GRANTED", "ada DENIED", "ada GRANTED")
		if ids[0] != ids[1] || ids[1] == ids[3] || ids[1] == ids[2] {
			t.Errorf("ids %q", ids)
		}
	})
}

func TestRetry(t *testing.T) {
	run(t, "at growing intervals until it works", nil, func(t *testing.T, w *world) {
		recovered := time.Now().Add(time.Hour)
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if time.Now().Before(recovered) {
				return sdk.Retry("HTTP_500", "the vendor answered 500"), nil
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if d := w.delivery("ada"); d.Status != store.Settled {
			t.Fatalf("delivery %+v", d)
		}
		var gaps []time.Duration
		for i := 1; i < len(w.vendor.calls); i++ {
			gaps = append(gaps, w.vendor.calls[i].at.Sub(w.vendor.calls[i-1].at).Round(time.Second))
		}
		want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600, 600, 600}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(gaps, want[:len(gaps)]) || len(gaps) < 14 {
			t.Errorf("gaps %v", gaps)
		}
	})
	run(t, "no sooner than the vendor asks", nil, func(t *testing.T, w *world) {
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			o := sdk.Retry("LOCKED", "")
			o.RetryAfter = time.Hour
			return o, nil
		}
		w.accept("ada", "GRANTED")
		w.settle()
		if d := w.delivery("ada"); time.Until(d.NextAttempt).Round(time.Minute) != time.Hour {
			t.Errorf("next attempt in %v", time.Until(d.NextAttempt))
		}
	})
	run(t, "the newest state, not the one that failed", nil, func(t *testing.T, w *world) {
		w.vendor.answer = func(key string, r sdk.Record) (sdk.Outcome, error) {
			if strings.Contains(string(r.Fields), "GRANTED") {
				return sdk.Retry("HTTP_500", ""), nil
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("ada", "DENIED")
		w.expect("ada GRANTED", "ada DENIED")
		time.Sleep(time.Hour)
		w.expect("ada GRANTED", "ada DENIED")
	})
	run(t, "until the budget is used up, then every hour", func(target *Target) { target.Retry.MaxAttempts = 3 }, func(t *testing.T, w *world) {
		var fail atomic.Bool
		fail.Store(true)
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if fail.Load() {
				return sdk.Retry("HTTP_500", ""), nil
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		time.Sleep(time.Minute)
		w.expect("ada GRANTED", "ada GRANTED", "ada GRANTED")
		if d := w.delivery("ada"); d.Status != store.Dead || d.Reason != store.ReasonExhausted {
			t.Fatalf("delivery %+v", d)
		}
		time.Sleep(time.Hour)
		w.expect("ada GRANTED", "ada GRANTED", "ada GRANTED", "ada GRANTED")
		if d := w.delivery("ada"); d.Status != store.Dead || d.Reason != store.ReasonExhausted {
			t.Fatalf("delivery %+v", d)
		}
		fail.Store(false)
		time.Sleep(time.Hour)
		if d := w.delivery("ada"); d.Status != store.Settled {
			t.Errorf("delivery %+v", d)
		}
	})
	run(t, "a withdrawal for ever", func(target *Target) {
		target.Retry.MaxAttempts, target.Retry.MaxElapsedTime = 3, time.Minute
	}, func(t *testing.T, w *world) {
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) { return sdk.Retry("HTTP_500", ""), nil }
		w.accept("ada", "DENIED")
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if d := w.delivery("ada"); d.Status != store.Pending || !d.Withdrawal || d.Attempts < 100 {
			t.Errorf("delivery %+v", d)
		}
	})
}

func TestDeadLetter(t *testing.T) {
	run(t, "replay brings the newest state home", func(target *Target) { target.DeadRetryEvery = 0 }, func(t *testing.T, w *world) {
		var broken atomic.Bool
		broken.Store(true)
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if broken.Load() {
				return sdk.Rejected("INVALID_EMAIL", "no such address"), nil
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		w.settle()
		d := w.delivery("ada")
		if d.Status != store.Dead || d.Reason != store.ReasonRejected || d.Error != "INVALID_EMAIL: no such address" || !d.NextAttempt.IsZero() {
			t.Fatalf("delivery %+v", d)
		}
		w.accept("ada", "DENIED")
		w.settle()
		broken.Store(false)
		if n, err := w.store.ReplayDead(context.Background(), store.DeadFilter{Target: "mail"}, time.Now()); err != nil || n != 1 {
			t.Fatalf("replayed %d, %v", n, err)
		}
		w.expect("ada GRANTED", "ada DENIED", "ada DENIED")
		if d := w.delivery("ada"); d.Status != store.Settled {
			t.Errorf("delivery %+v", d)
		}
	})
	run(t, "its own retry in vain changes nothing", nil, func(t *testing.T, w *world) {
		var later atomic.Bool
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if later.Load() {
				return sdk.Retry("HTTP_500", ""), nil
			}
			return sdk.Rejected("INVALID_EMAIL", ""), nil
		}
		w.accept("ada", "GRANTED")
		w.settle()
		later.Store(true)
		time.Sleep(90 * time.Minute)
		d := w.delivery("ada")
		if d.Status != store.Dead || d.Reason != store.ReasonRejected || len(w.vendor.calls) != 2 {
			t.Errorf("after %d calls: %+v", len(w.vendor.calls), d)
		}
		if next := time.Until(d.NextAttempt).Round(time.Minute); next != 30*time.Minute {
			t.Errorf("next attempt in %v", next)
		}
	})
	run(t, "one bad record stays one", nil, func(t *testing.T, w *world) {
		w.vendor.answer = func(key string, _ sdk.Record) (sdk.Outcome, error) {
			if key == "c3" {
				return sdk.Rejected("INVALID_EMAIL", ""), nil
			}
			return sdk.Delivered(""), nil
		}
		for i := range 8 {
			w.accept(fmt.Sprint("c", i), "GRANTED")
		}
		w.settle()
		counts, err := w.store.Counts(context.Background())
		if err != nil || counts["mail"].Delivered != 7 || counts["mail"].Dead != 1 {
			t.Errorf("counts %+v, %v", counts, err)
		}
	})
}

func TestCrash(t *testing.T) {
	run(t, "the record that breaks the plugin is buried alone", nil, func(t *testing.T, w *world) {
		w.vendor.answer = func(key string, _ sdk.Record) (sdk.Outcome, error) {
			if key == "c3" {
				return sdk.Outcome{}, supervise.ErrBroken
			}
			return sdk.Delivered(""), nil
		}
		w.group.Drain(context.Background())
		for i := range 8 {
			w.accept(fmt.Sprint("c", i), "GRANTED")
		}
		w.start() // with all of them due, so that they go in one call
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(w.vendor.calls[0].keys); n < 8 {
			t.Fatalf("the first call had %d records", n)
		}
		counts, err := w.store.Counts(context.Background())
		if err != nil || counts["mail"].Delivered != 7 || counts["mail"].Dead != 1 {
			t.Errorf("counts %+v, %v", counts, err)
		}
		if d := w.delivery("c3"); d.Reason != store.ReasonCrash {
			t.Errorf("delivery %+v", d)
		}
	})
	run(t, "a plugin that does not run costs no attempt", nil, func(t *testing.T, w *world) {
		var down atomic.Bool
		down.Store(true)
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if down.Load() {
				return sdk.Outcome{}, supervise.ErrDown
			}
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		time.Sleep(time.Hour)
		if d := w.delivery("ada"); d.Attempts != 0 || d.Crashes != 0 || d.Status != store.Pending {
			t.Errorf("delivery %+v", d)
		}
		if s := w.group.Status(); s.State != DownState {
			t.Errorf("status %+v", s)
		}
		if n := len(w.vendor.delivered()); n != 1 {
			t.Errorf("the plugin was asked %d times while it did not run", n)
		}
		down.Store(false)
		close(w.vendor.ready)
		w.settle()
		if d := w.delivery("ada"); d.Status != store.Settled {
			t.Errorf("delivery %+v", d)
		}
	})
}

func TestPause(t *testing.T) {
	for _, tc := range []struct {
		name    string
		outcome sdk.Outcome
		state   State
		calls   int // in an hour
	}{
		{"unauthorized: keeps its work, probes, resumes by itself", sdk.Unauthorized("HTTP_401", "key revoked"), UnauthorizedState, 100},
		{"throttled: waits as long as the vendor asks", sdk.Throttled(20*time.Minute, "HTTP_429", "slow down"), ThrottledState, 5},
	} {
		run(t, tc.name, func(target *Target) { target.Retry.MaxAttempts, target.Retry.MaxElapsedTime = 2, time.Minute }, func(t *testing.T, w *world) {
			var paused atomic.Bool
			paused.Store(true)
			w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
				if paused.Load() {
					return tc.outcome, nil
				}
				return sdk.Delivered(""), nil
			}
			for i := range 30 {
				w.accept(fmt.Sprint("c", i), "GRANTED")
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			counts, err := w.store.Counts(context.Background())
			if err != nil || counts["mail"].Pending != 30 || counts["mail"].Dead != 0 {
				t.Errorf("counts %+v, %v", counts, err)
			}
			if s := w.group.Status(); s.State != tc.state || !strings.Contains(s.LastError, tc.outcome.Code) {
				t.Errorf("status %+v", s)
			}
			if d := w.delivery("c0"); d.Attempts != 0 {
				t.Errorf("the pause counted %d attempts", d.Attempts)
			}
			if n := len(w.vendor.calls); n < 3 || n > tc.calls {
				t.Errorf("%d calls in an hour", n)
			}
			for _, c := range w.vendor.calls[2:] {
				if len(c.keys) != 1 {
					t.Errorf("a probe of %d records", len(c.keys))
				}
			}
			w.accept("ada", "DENIED")
			paused.Store(false)
			before := len(w.vendor.delivered())
			time.Sleep(30 * time.Minute)
			synctest.Wait()
			after := w.vendor.delivered()[before:]
			if len(after) != 31 || after[0] != "ada DENIED" {
				t.Errorf("after it resumed: %q", after)
			}
			if s := w.group.Status(); s.State != Running {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// TestWithdrawalsFirst is law 5: a withdrawal overtakes a backlog, and slow grants in flight do not hold it up.
func TestWithdrawalsFirst(t *testing.T) {
	run(t, "overtakes the backlog", func(target *Target) { target.RateLimit = 1 }, func(t *testing.T, w *world) {
		for i := range 500 {
			w.accept(fmt.Sprint("c", i), "GRANTED")
		}
		time.Sleep(10 * time.Second)
		w.accept("ada", "DENIED")
		time.Sleep(2 * time.Second)
		got := w.vendor.delivered()
		if i := slices.Index(got, "ada DENIED"); i < 0 || len(got) > 15 {
			t.Errorf("the withdrawal was number %d of %d", i, len(got))
		}
	})
	run(t, "has a call of its own", nil, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.vendor.answer = func(key string, _ sdk.Record) (sdk.Outcome, error) {
			if key != "ada" {
				<-release
			}
			return sdk.Delivered(""), nil
		}
		for i := range 50 {
			w.accept(fmt.Sprint("c", i), "GRANTED")
		}
		w.settle()
		w.accept("ada", "DENIED")
		w.settle()
		if d := w.delivery("ada"); d.Status != store.Settled {
			t.Errorf("the withdrawal waits for slow grants: %+v", d)
		}
		close(release)
	})
}

// TestSilentRule: a rule that falls silent at a withdrawal does not count as having told the target.
func TestSilentRule(t *testing.T) {
	run(t, "", func(target *Target) {
		target.Rules["newsletter"] = compile(t, strings.Replace(ruleText, "record", "when = permission.email.allowed\n  record", 1))
	}, func(t *testing.T, w *world) {
		w.accept("bob", "DENIED") // never given anything: nothing to tell
		w.accept("ada", "GRANTED")
		w.settle()
		w.accept("ada", "DENIED")
		w.expect("ada GRANTED")
		if d := w.delivery("ada"); d.Status != store.Dead || d.Reason != store.ReasonRule || !d.Withdrawal {
			t.Errorf("delivery %+v", d)
		}
		if d := w.delivery("bob"); d.Status != store.Settled {
			t.Errorf("delivery %+v", d)
		}
	})
}

// TestPauseOutlastsOlderCalls: a call that began before the pause does not end it.
func TestPauseOutlastsOlderCalls(t *testing.T) {
	run(t, "", func(target *Target) { target.MaxBatch, target.MaxInFlight = 1, 3 }, func(t *testing.T, w *world) {
		w.vendor.answer = func(key string, _ sdk.Record) (sdk.Outcome, error) {
			if key == "slow" {
				time.Sleep(10 * time.Second)
				return sdk.Delivered(""), nil
			}
			return sdk.Throttled(time.Hour, "HTTP_429", "slow down"), nil
		}
		w.accept("slow", "GRANTED")
		w.settle()
		w.accept("ada", "GRANTED")
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if s := w.group.Status(); s.State != ThrottledState || len(w.vendor.calls) != 2 {
			t.Errorf("after %d calls: %+v", len(w.vendor.calls), s)
		}
	})
}

// TestOneBurstIsOnePause: calls that fail together do not add up to a longer pause.
func TestOneBurstIsOnePause(t *testing.T) {
	run(t, "", func(target *Target) { target.MaxBatch, target.MaxInFlight = 1, 20 }, func(t *testing.T, w *world) {
		var down atomic.Bool
		down.Store(true)
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			time.Sleep(time.Second)
			if down.Load() {
				return sdk.Unauthorized("HTTP_401", ""), nil
			}
			return sdk.Delivered(""), nil
		}
		for i := range 19 {
			w.accept(fmt.Sprint("c", i), "DENIED")
		}
		time.Sleep(1100 * time.Millisecond)
		down.Store(false)
		time.Sleep(10 * time.Second)
		if s := w.group.Status(); s.State != Running {
			t.Errorf("ten seconds after one burst: %+v", s)
		}
	})
}

// TestDrainHasADeadline, also while a delivery is isolated.
func TestDrainHasADeadline(t *testing.T) {
	run(t, "", nil, func(t *testing.T, w *world) {
		var crash atomic.Bool
		crash.Store(true)
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			if crash.Load() {
				return sdk.Outcome{}, supervise.ErrBroken
			}
			time.Sleep(20 * time.Second)
			return sdk.Delivered(""), nil
		}
		for i := range 8 {
			w.accept(fmt.Sprint("c", i), "GRANTED")
		}
		time.Sleep(100 * time.Millisecond)
		crash.Store(false)
		time.Sleep(10 * time.Second)
		w.accept("ada", "DENIED")
		time.Sleep(25 * time.Second) // the suspect in flight ends, and then the withdrawal has its turn
		if d := w.delivery("ada"); d.Status == store.Pending && !slices.Contains(w.vendor.delivered(), "ada DENIED") && w.group.Status().InFlight == 0 {
			t.Errorf("the withdrawal waits for suspects: %+v", d)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.group.Drain(ctx)
		if took := time.Since(start); took > 25*time.Second {
			t.Errorf("the drain took %v", took)
		}
	})
}

func TestRateLimit(t *testing.T) {
	run(t, "", func(target *Target) { target.RateLimit = 5 }, func(t *testing.T, w *world) {
		for i := range 1000 {
			w.accept(fmt.Sprint("c", i), "GRANTED")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.vendor.delivered()); n < 295 || n > 310 {
			t.Errorf("%d records in a minute at 5/s", n)
		}
	})
}

func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) {
			time.Sleep(5 * time.Second)
			return sdk.Delivered(""), nil
		}
		w.accept("ada", "GRANTED")
		w.settle()
		w.group.Drain(context.Background())
		if d := w.delivery("ada"); d.Status != store.Settled {
			t.Errorf("delivery %+v", d)
		}
		w.accept("bob", "GRANTED")
		w.settle()
		if d := w.delivery("bob"); d.Status != store.Pending {
			t.Errorf("claimed after the drain: %+v", d)
		}
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestNothingLeaks: no id, address or error text of a record reaches the log.
func TestNothingLeaks(t *testing.T) {
	var w *world
	run(t, "", func(target *Target) { target.Retry.MaxAttempts = 2 }, func(t *testing.T, in *world) {
		w = in
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) { return sdk.Retry("HTTP_500", ""), nil }
		w.accept("ada.lovelace@example.org", "GRANTED")
		time.Sleep(time.Hour)
		synctest.Wait()
	})
	if w.log.Len() == 0 || strings.Contains(w.log.String(), "ada") {
		t.Errorf("log: %s", w.log)
	}
}
