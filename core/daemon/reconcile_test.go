package daemon

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
)

// oneOf is the store as one of several replicas has it.
type oneOf struct {
	*sqlite.Store
	share store.Share
}

func (o *oneOf) Share() store.Share { return o.share }

// TestComparisonIsDueOnce: of all replicas over one store, one compares by the clock, and none while one joins.
func TestComparisonIsDueOnce(t *testing.T) {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "consentd.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	due := func(replicas int, every time.Duration) (n int) {
		t.Helper()
		for rank := range replicas {
			d := &daemon{store: &oneOf{s, store.Share{Rank: rank, Of: replicas}}}
			is, err := d.comparisonDue(t.Context(), every)
			if err != nil {
				t.Fatal(err)
			}
			if is {
				n++
			}
		}
		return n
	}
	if n := due(3, time.Hour); n != 0 {
		t.Errorf("at first %d", n)
	}
	if v, err := s.Mark(t.Context(), reconciledMark); err != nil || v == nil {
		t.Errorf("nobody noted when it began: %q, %v", v, err)
	}
	for _, replicas := range []int{1, 2, 3} {
		if n := due(replicas, time.Nanosecond); n != 1 {
			t.Errorf("it is due at %d of %d", n, replicas)
		}
	}
	if n := due(3, 0) + due(3, time.Hour); n != 0 {
		t.Errorf("it is due at %d, too early", n)
	}
	joining := &daemon{store: &oneOf{s, store.Share{Rank: -1, Of: 3}}}
	if is, err := joining.comparisonDue(t.Context(), time.Nanosecond); is || err != nil {
		t.Errorf("one that joins: %v, %v", is, err)
	}
}
