package lookup

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/theory/jsonpath"
	"github.com/zclconf/go-cty/cty"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ada = Person{Source: "dataguard", ID: "c-ada", ExternalRef: "ref-ada", ApplicationID: "acme", Version: 1}

func expression(t *testing.T, text string) *Expr {
	t.Helper()
	parsed, diags := hclsyntax.ParseExpression([]byte(text), "lookup.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	e, diags := Compile(parsed, cty.DynamicPseudoType)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return &e
}

// field is one in the form "name type from", where a question mark after the name makes it optional.
func field(text string) Field {
	parts := strings.SplitN(text, " ", 3)
	f := Field{Name: strings.TrimSuffix(parts[0], "?"), From: parts[2], Type: cty.String, Optional: strings.HasSuffix(parts[0], "?")}
	switch parts[1] {
	case "number":
		f.Type = cty.Number
	case "bool":
		f.Type = cty.Bool
	case "list":
		f.Type = listOfText
	}
	if strings.HasPrefix(f.From, "$") {
		f.Path = jsonpath.MustParse(f.From)
	}
	return f
}

func config(fields ...string) Config {
	c := Config{Kind: "test", Name: "crm", Timeout: 5 * time.Second, MaxInFlight: 2, TTL: time.Hour, Size: 1000}
	for _, f := range fields {
		c.Fields = append(c.Fields, field(f))
	}
	return c
}

// written is a log that may be read while it is written.
type written struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// opened is a set of one lookup, with its log.
func opened(t *testing.T, c Config) (*Set, *written) {
	t.Helper()
	log := &written{}
	s, diags := Open([]Config{c}, NewMetrics(prometheus.NewRegistry()), hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug}))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	t.Cleanup(s.Close)
	return s, log
}

// show is an answer, or why there is none.
func show(found map[string]cty.Value, err error) string {
	if err != nil {
		return err.Error()
	}
	var all []string
	for it := found["crm"].ElementIterator(); it.Next(); {
		k, v := it.Element()
		text := "null"
		if !v.IsNull() {
			text = strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", v), "cty."), ")")
		}
		all = append(all, k.AsString()+"="+text)
	}
	return strings.Join(all, " ")
}

func ask(s *Set, p Person) string { return show(s.Fetch(context.Background(), []string{"crm"}, p)) }

// fake is a backend that does what it is told.
type fake struct {
	answer  func(ctx context.Context, p Person) (map[string]cty.Value, error)
	asked   atomic.Int64
	atOnce  atomic.Int64
	highest atomic.Int64
}

func (f *fake) find(ctx context.Context, p Person) (map[string]cty.Value, error) {
	f.asked.Add(1)
	n := f.atOnce.Add(1)
	defer f.atOnce.Add(-1)
	for {
		if high := f.highest.Load(); n <= high || f.highest.CompareAndSwap(high, n) {
			break
		}
	}
	return f.answer(ctx, p)
}

func email(p Person) (map[string]cty.Value, error) {
	return map[string]cty.Value{"email": cty.StringVal(p.ExternalRef + "@example.org")}, nil
}

// simulated runs a test on the fake clock, over a lookup that asks a fake.
func simulated(t *testing.T, name string, change func(*Config), test func(*testing.T, *Set, *fake)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := config("email string email", "phone? string phone")
			if change != nil {
				change(&c)
			}
			f := &fake{answer: func(_ context.Context, p Person) (map[string]cty.Value, error) { return email(p) }}
			c.Func = f.find
			s, _ := Open([]Config{c}, NewMetrics(prometheus.NewRegistry()), hclog.NewNullLogger())
			defer s.Close()
			test(t, s, f)
		})
	})
}

func person(n int) Person {
	return Person{Source: "dataguard", ID: fmt.Sprint("c", n), ExternalRef: fmt.Sprint("ref", n), Version: 1}
}

const adasEmail = `email=StringVal("ref-ada@example.org" phone=null`

func TestCache(t *testing.T) {
	simulated(t, "an answer is kept for its time", nil, func(t *testing.T, s *Set, f *fake) {
		for range 3 {
			if got := ask(s, ada); got != adasEmail {
				t.Fatal(got)
			}
		}
		newer := ada
		newer.Version = 2
		if _, known := s.Known([]string{"crm"}, newer); !known || f.asked.Load() != 1 {
			t.Errorf("known %v, asked %d times", known, f.asked.Load())
		}
		time.Sleep(time.Hour + time.Millisecond)
		if _, known := s.Known([]string{"crm"}, ada); known {
			t.Error("it is kept for longer")
		}
		ask(s, ada)
		if f.asked.Load() != 2 {
			t.Errorf("asked %d times", f.asked.Load())
		}
	})
	simulated(t, "what is over leaves the memory", nil, func(t *testing.T, s *Set, f *fake) {
		ask(s, ada)
		time.Sleep(time.Hour + sweepEvery)
		synctest.Wait()
		if n := s.byName["crm"].cache.Len(); n != 0 {
			t.Errorf("%d answers are left", n)
		}
	})
	simulated(t, "other ids are another question", nil, func(t *testing.T, s *Set, f *fake) {
		ask(s, ada)
		moved := ada
		moved.ExternalRef = "ref-lovelace"
		if got := ask(s, moved); !strings.Contains(got, "ref-lovelace") {
			t.Error(got)
		}
	})
	simulated(t, "no more than so many are kept", nil, func(t *testing.T, s *Set, f *fake) {
		for n := range 1500 {
			ask(s, person(n))
		}
		if n := s.byName["crm"].cache.Len(); n != 1000 {
			t.Errorf("%d answers are kept", n)
		}
	})
	simulated(t, "a miss is kept for a moment, and not for a newer update", nil, func(t *testing.T, s *Set, f *fake) {
		f.answer = func(context.Context, Person) (map[string]cty.Value, error) { return nil, ErrNobody }
		for range 2 {
			if got := ask(s, ada); got != `lookup "crm" knows nobody by these ids` {
				t.Fatal(got)
			}
		}
		if f.asked.Load() != 1 {
			t.Errorf("asked %d times", f.asked.Load())
		}
		newer := ada
		newer.Version = 2
		ask(s, newer)
		time.Sleep(missTTL + time.Millisecond)
		ask(s, newer)
		if f.asked.Load() != 3 {
			t.Errorf("asked %d times", f.asked.Load())
		}
	})
	simulated(t, "a field that is not optional has to be there", nil, func(t *testing.T, s *Set, f *fake) {
		f.answer = func(context.Context, Person) (map[string]cty.Value, error) {
			return map[string]cty.Value{"phone": cty.StringVal("1")}, nil
		}
		if got := ask(s, ada); got != `lookup "crm" knows no email of them` {
			t.Error(got)
		}
	})
	simulated(t, "who is forgotten is not kept, even when the question is under way", nil, func(t *testing.T, s *Set, f *fake) {
		ask(s, ada)
		f.answer = func(_ context.Context, p Person) (map[string]cty.Value, error) {
			time.Sleep(time.Second)
			return email(p)
		}
		bob := person(7)
		var done sync.WaitGroup
		done.Go(func() { ask(s, bob) })
		time.Sleep(time.Millisecond)
		s.Forget("dataguard", ada.ID)
		s.Forget("dataguard", bob.ID)
		done.Wait()
		for _, p := range []Person{ada, bob} {
			if _, known := s.Known([]string{"crm"}, p); known {
				t.Errorf("%s is still known", p.ID)
			}
		}
		defer func() { // Who comes back is asked for anew, once.
			n := f.asked.Load()
			for range 3 {
				ask(s, bob)
			}
			if _, known := s.Known([]string{"crm"}, bob); !known || f.asked.Load() != n+1 {
				t.Errorf("known %v, asked %d times more", known, f.asked.Load()-n)
			}
			time.Sleep(returnTTL + time.Millisecond)
			if _, known := s.Known([]string{"crm"}, bob); known {
				t.Error("known for longer than it has to be")
			}
		}()
		for _, item := range s.byName["crm"].cache.Items() {
			if item.Value().value != cty.NilVal {
				t.Error("a value is left")
			}
		}
	})
}

func TestTogether(t *testing.T) {
	slowly := func(f *fake) {
		f.answer = func(ctx context.Context, p Person) (map[string]cty.Value, error) {
			select {
			case <-time.After(time.Second):
				return email(p)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	simulated(t, "many who ask for one are one question", nil, func(t *testing.T, s *Set, f *fake) {
		slowly(f)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if got := ask(s, ada); got != adasEmail {
					t.Error(got)
				}
			})
		}
		all.Wait()
		if f.asked.Load() != 1 {
			t.Errorf("asked %d times", f.asked.Load())
		}
	})
	simulated(t, "a withdrawal does not wait for the others", func(c *Config) { c.MaxInFlight = 4 }, func(t *testing.T, s *Set, f *fake) {
		slowly(f)
		var all sync.WaitGroup
		for n := range 100 {
			all.Go(func() { ask(s, person(n)) })
		}
		time.Sleep(time.Millisecond)
		start := time.Now()
		urgent := ada
		urgent.Urgent = true
		if got := ask(s, urgent); got != adasEmail || time.Since(start) != time.Second {
			t.Errorf("%s, after %v", got, time.Since(start))
		}
		all.Wait()
		if f.highest.Load() != 4 {
			t.Errorf("%d at once", f.highest.Load())
		}
	})
	simulated(t, "the rate is kept", func(c *Config) { c.RateLimit, c.MaxInFlight = 10, 100 }, func(t *testing.T, s *Set, f *fake) {
		start := time.Now()
		var all sync.WaitGroup
		for n := range 60 {
			all.Go(func() { ask(s, person(n)) })
		}
		all.Wait()
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("60 questions took %v", took)
		}
	})
	simulated(t, "who asks may go", nil, func(t *testing.T, s *Set, f *fake) {
		slowly(f)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if _, err := s.Fetch(ctx, []string{"crm"}, ada); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if got := ask(s, ada); got != adasEmail || f.asked.Load() != 1 {
			t.Errorf("%s, asked %d times", got, f.asked.Load())
		}
	})
	simulated(t, "a question is cut short at the end", nil, func(t *testing.T, s *Set, f *fake) {
		f.answer = func(ctx context.Context, _ Person) (map[string]cty.Value, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, _ = s.Fetch(ctx, []string{"crm"}, ada) // what it began goes on, until the set is closed
	})
}
