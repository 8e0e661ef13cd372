package lookup

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"
)

func TestFailure(t *testing.T) {
	simulated(t, "no answer within the timeout", nil, func(t *testing.T, s *Set, f *fake) {
		f.answer = func(ctx context.Context, _ Person) (map[string]cty.Value, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		if got := ask(s, ada); got != `lookup "crm" failed: no answer within 5s` || time.Since(start) != 5*time.Second {
			t.Errorf("%s, after %v", got, time.Since(start))
		}
	})
	simulated(t, "one for whom it always fails rests nobody", nil, func(t *testing.T, s *Set, f *fake) {
		f.answer = func(_ context.Context, p Person) (map[string]cty.Value, error) {
			if p.ID == ada.ID {
				return nil, errors.New("it answered 500")
			}
			return email(p)
		}
		for n := range 20 {
			ask(s, ada)
			if got := ask(s, person(n)); !strings.HasPrefix(got, "email=") {
				t.Fatal(got)
			}
		}
		if f.asked.Load() != 40 {
			t.Errorf("asked %d times", f.asked.Load())
		}
	})
	simulated(t, "who fails again and again is left alone, longer each time", nil, func(t *testing.T, s *Set, f *fake) {
		down := true
		f.answer = func(_ context.Context, p Person) (map[string]cty.Value, error) {
			if down {
				return nil, errors.New("it answered 500")
			}
			return email(p)
		}
		for n := range 100 {
			ask(s, person(n))
		}
		if f.asked.Load() != restAfter {
			t.Errorf("asked %d times", f.asked.Load())
		}
		_, err := s.Fetch(context.Background(), []string{"crm"}, ada)
		if failure := (*Failure)(nil); !errors.As(err, &failure) || failure.After != leastRest || !strings.Contains(err.Error(), "500") {
			t.Errorf("%#v", err)
		}
		if st := s.Status()[0]; st.Failing != "it answered 500" || st.Since.IsZero() {
			t.Errorf("status %+v", st)
		}
		f.asked.Store(0)
		for range 3600 {
			ask(s, ada)
			time.Sleep(time.Second)
		}
		if n := f.asked.Load(); n < 3600/31 || n > 3600/30+10 {
			t.Errorf("asked %d times within an hour", n)
		}
		down = false
		time.Sleep(mostRest)
		if got := ask(s, ada); got != adasEmail || s.Status()[0].Failing != "" {
			t.Errorf("%s, %+v", got, s.Status())
		}
	})
	simulated(t, "an outage is everybody's at once, and lasts as long as is said", nil, func(t *testing.T, s *Set, f *fake) {
		f.answer = func(context.Context, Person) (map[string]cty.Value, error) {
			return nil, &outage{"it answered 429 Too Many Requests", time.Minute}
		}
		ask(s, ada)
		time.Sleep(59 * time.Second)
		ask(s, person(1))
		if f.asked.Load() != 1 {
			t.Errorf("asked %d times", f.asked.Load())
		}
	})
	simulated(t, "a panic is a failure without its text", nil, func(t *testing.T, s *Set, f *fake) {
		f.answer = func(_ context.Context, p Person) (map[string]cty.Value, error) { panic(p.ExternalRef) }
		if got := ask(s, ada); got != `lookup "crm" failed: it panicked` {
			t.Error(got)
		}
	})
}
