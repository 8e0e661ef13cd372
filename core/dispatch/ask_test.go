package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// crm is another system: whom it knows, how long it takes, and whether it answers at all.
type crm struct {
	mu    sync.Mutex
	knows map[string]bool // nil: everybody
	takes time.Duration
	down  bool
	asked []string
}

func (c *crm) find(ctx context.Context, p lookup.Person) (map[string]cty.Value, error) {
	c.mu.Lock()
	c.asked = append(c.asked, p.ID)
	known, takes, down := c.knows == nil || c.knows[p.ID], c.takes, c.down
	c.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case down:
		return nil, errors.New("it answered 500")
	case !known:
		return nil, lookup.ErrNobody
	}
	return map[string]cty.Value{"email": cty.StringVal(p.ID + "@x")}, nil
}

func (c *crm) times() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked)
}

func (c *crm) change(f func(*crm)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

const lookupRule = `
rule "newsletter" {
  record {
    key   = lookup.crm.email
    state = permission.email.state
  }
}`

// looking runs a test over a target whose rule names people by what a CRM says.
func looking(t *testing.T, name string, c *crm, change func(*Target), test func(*testing.T, *world)) {
	run(t, name, func(target *Target) {
		target.Rules["newsletter"] = compile(t, lookupRule)
		set, diags := lookup.Open([]lookup.Config{{
			Kind: "test", Name: "crm", Fields: []lookup.Field{{Name: "email", Type: cty.String}},
			Timeout: 5 * time.Second, MaxInFlight: 4, TTL: time.Hour, Size: 1000, Func: c.find,
		}}, lookup.NewMetrics(prometheus.NewRegistry()), hclog.NewNullLogger())
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		target.Lookups = set
		if change != nil {
			change(target)
		}
	}, func(t *testing.T, w *world) {
		defer w.target.Lookups.Close()
		defer func() { w.group.Drain(context.Background()) }()
		test(t, w)
	})
}

func (w *world) waiting() string {
	w.t.Helper()
	all, err := w.store.Waiting(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimPrefix(fmt.Sprint(all["mail"]), "map")
}

func TestLookup(t *testing.T) {
	c := &crm{}
	looking(t, "what is found names the person, and is asked once", c, nil, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.expect("ada@x GRANTED")
		w.accept("ada", "DENIED")
		w.expect("ada@x GRANTED", "ada@x DENIED")
		if c.times() != 1 {
			t.Errorf("asked %d times", c.times())
		}
	})
	unknown := &crm{knows: map[string]bool{}}
	looking(t, "who is not known waits, for ever if need be", unknown, func(target *Target) {
		target.Retry.MaxAttempts, target.Retry.MaxElapsedTime = 3, time.Hour
	}, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		time.Sleep(2 * 24 * time.Hour)
		synctest.Wait()
		d := w.delivery("ada")
		if d.Status != store.Pending || d.Reason != store.ReasonIdentity || d.Attempts != 0 || d.Given || d.Error != `lookup "crm" knows nobody by these ids` {
			t.Errorf("delivery %+v", d)
		}
		if w.waiting() != "[identity:1]" {
			t.Errorf("waiting: %s", w.waiting())
		}
		// With the target's back-off: about ten times until it has grown to ten minutes, then every ten minutes.
		if n, want := unknown.times(), 2*24*6; n < want || n > want+30 {
			t.Errorf("asked %d times, want about %d", n, want)
		}
		unknown.change(func(c *crm) { c.knows["ada"] = true })
		time.Sleep(10 * time.Minute)
		w.expect("ada@x GRANTED")
		if d := w.delivery("ada"); d.Status != store.Settled || d.Reason != "" || w.waiting() != "[]" {
			t.Errorf("delivery %+v, waiting %s", d, w.waiting())
		}
	})
	backOff := &crm{knows: map[string]bool{}}
	looking(t, "a newer update tries at once", backOff, nil, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		time.Sleep(time.Hour)
		backOff.change(func(c *crm) { c.knows["ada"] = true })
		w.accept("ada", "DENIED")
		w.expect("ada@x DENIED")
	})
	down := &crm{down: true}
	looking(t, "a withdrawal is no dead letter for want of an answer", down, func(target *Target) { target.Retry.MaxElapsedTime = time.Minute }, func(t *testing.T, w *world) {
		w.accept("ada", "DENIED")
		time.Sleep(24 * time.Hour)
		if d := w.delivery("ada"); d.Status != store.Pending || !d.Withdrawal || d.Reason != store.ReasonLookup || d.Attempts != 0 || w.waiting() != "[lookup:1]" {
			t.Errorf("delivery %+v, waiting %s", d, w.waiting())
		}
		down.change(func(c *crm) { c.down = false })
		time.Sleep(11 * time.Minute)
		w.expect("ada@x DENIED")
	})
	budget := &crm{knows: map[string]bool{}}
	looking(t, "the target's own budget begins when the person is known", budget, func(target *Target) { target.Retry.MaxElapsedTime = time.Hour }, func(t *testing.T, w *world) {
		w.vendor.answer = func(string, sdk.Record) (sdk.Outcome, error) { return sdk.Retry("500", "it broke"), nil }
		w.accept("ada", "GRANTED")
		time.Sleep(5 * time.Hour)
		budget.change(func(c *crm) { c.knows["ada"] = true })
		time.Sleep(45 * time.Minute)
		if d := w.delivery("ada"); d.Status != store.Pending || d.Reason != "" || d.Attempts < 5 || time.Since(d.FailingSince) > 50*time.Minute {
			t.Errorf("delivery %+v", d)
		}
		time.Sleep(45 * time.Minute)
		if d := w.delivery("ada"); d.Status != store.Dead || d.Reason != store.ReasonExhausted {
			t.Errorf("delivery %+v", d)
		}
	})
	none := &crm{knows: map[string]bool{}}
	looking(t, "nobody is asked for whom the rule has nothing to say", none, func(target *Target) {
		target.Rules["newsletter"] = compile(t, strings.Replace(lookupRule, "record", "when = permission.email.state == \"DENIED\"\n  record", 1))
	}, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.expect()
		if d := w.delivery("ada"); d.Status != store.Settled || none.times() != 0 {
			t.Errorf("asked %d times, delivery %+v", none.times(), d)
		}
	})
}

// TestSlowLookup is law 8 for what a target's rules look up: it takes no worker's place and holds up nobody.
func TestSlowLookup(t *testing.T) {
	const other = `
rule "other" {
  record {
    key   = citizen.id
    state = permission.email.state
  }
}`
	slow := &crm{takes: 4 * time.Second}
	looking(t, "others of the target go on", slow, func(target *Target) {
		target.Rules["other"] = compile(t, other)
	}, func(t *testing.T, w *world) {
		for n := range 50 {
			w.acceptFor(fmt.Sprintf("slow%02d", n), "GRANTED", "newsletter")
		}
		w.settle()
		start := time.Now()
		w.acceptFor("bob", "GRANTED", "other")
		w.expect("bob GRANTED")
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if s := w.group.Status(); s.InFlight != 0 {
			t.Errorf("%d calls are in flight", s.InFlight)
		}
		// A withdrawal has a place of its own at the lookup.
		start = time.Now()
		w.acceptFor("eve", "DENIED", "newsletter")
		time.Sleep(4*time.Second + 10*time.Millisecond)
		if got := w.vendor.delivered(); !slices.Contains(got, "eve@x DENIED") {
			t.Errorf("after %v: %q", time.Since(start), got)
		}
		time.Sleep(2 * time.Minute)
		w.settle()
		if got := w.vendor.delivered(); len(got) != 52 {
			t.Errorf("%d records", len(got))
		}
	})
	full := &crm{takes: 4 * time.Second}
	looking(t, "a withdrawal finds room behind a backlog that is looked up", full, nil, func(t *testing.T, w *world) {
		w.group.Drain(context.Background())
		for n := range maxAsking + 100 {
			w.accept(fmt.Sprintf("c%04d", n), "GRANTED")
		}
		w.start()
		w.settle()
		start := time.Now()
		w.accept("eve", "DENIED")
		time.Sleep(4*time.Second + 10*time.Millisecond)
		if got := w.vendor.delivered(); !slices.Contains(got, "eve@x DENIED") {
			t.Errorf("after %v: %q", time.Since(start), got)
		}
	})
	dead := &crm{takes: 5 * time.Second, down: true}
	looking(t, "a backlog that waits for an answer lets those behind it pass", dead, func(target *Target) {
		target.Rules["other"] = compile(t, other)
	}, func(t *testing.T, w *world) {
		w.group.Drain(context.Background())
		for n := range maxAsking + 200 {
			w.acceptFor(fmt.Sprintf("c%04d", n), "GRANTED", "newsletter")
		}
		w.acceptFor("bob", "GRANTED", "other")
		w.start()
		time.Sleep(time.Minute)
		if got := w.vendor.delivered(); !slices.Contains(got, "bob GRANTED") {
			t.Errorf("the vendor got %q, the lookup was asked %d times", got, dead.times())
		}
		if !strings.Contains(w.waiting(), fmt.Sprintf("lookup:%d", maxAsking+200)) {
			t.Errorf("waiting: %s", w.waiting())
		}
	})
}

// acceptFor accepts an update that one rule alone is for.
func (w *world) acceptFor(citizen, state, rule string) {
	w.t.Helper()
	w.route(store.Route{Rule: rule, Target: "mail"})
	w.accept(citizen, state)
	w.route(w.routes()...)
}

func TestLookupAtTheEnd(t *testing.T) {
	slow := &crm{takes: time.Hour}
	looking(t, "a target drains without an answer", slow, nil, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		start := time.Now()
		w.group.Drain(context.Background())
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if d := w.delivery("ada"); d.Status != store.Pending || d.Reason != "" || slow.times() != 1 {
			t.Errorf("delivery %+v", d)
		}
		slow.change(func(c *crm) { c.takes = 0 })
		w.start()
		time.Sleep(10 * time.Second)
		w.expect("ada@x GRANTED")
	})
}
