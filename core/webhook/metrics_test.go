package webhook

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestLastCommitted: silence counts from the last post that was committed, whatever reloads come in between.
func TestLastCommitted(t *testing.T) {
	b := newBench(t, keyAuth())
	begin := b.clock.read()
	last := func(when string, want time.Time) {
		t.Helper()
		if got := testutil.ToFloat64(b.metrics.last.WithLabelValues("dataguard")); got != float64(want.Unix()) {
			t.Errorf("%s: %v, want %v", when, got, want.Unix())
		}
	}
	last("before any post", begin)
	b.clock.advance(time.Hour)
	b.post(t, nil, update("c-1", "GRANTED", tuesday))
	last("after one that was refused", begin)
	b.post(t, withKey(nil), update("c-1", "GRANTED", tuesday))
	last("after one that was committed", begin.Add(time.Hour))
	b.clock.advance(time.Hour)
	b.make(t, b.source)
	last("after a reload", begin.Add(time.Hour))
	b.post(t, withKey(nil), "not understood")
	last("after one that went to quarantine", begin.Add(2*time.Hour))
}
