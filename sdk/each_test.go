package sdk

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
)

func numbered(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i].ID = fmt.Sprint(i)
	}
	return records
}

func TestEachKeepsOrderAndBound(t *testing.T) {
	for _, atOnce := range []int{-1, 0, 1, 3, 100} {
		var running, most atomic.Int32
		outcomes := Each(t.Context(), numbered(50), atOnce, func(_ context.Context, r Record) Outcome {
			now := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			return Delivered(r.ID)
		})
		for i, o := range outcomes {
			if o.Reference != fmt.Sprint(i) {
				t.Errorf("at once %d: outcome %d is of record %s", atOnce, i, o.Reference)
			}
		}
		if int(most.Load()) > max(atOnce, 1) {
			t.Errorf("at once %d: %d ran", atOnce, most.Load())
		}
	}
	if got := Each(t.Context(), nil, 4, nil); len(got) != 0 {
		t.Errorf("no records: %v", got)
	}
}

// All that may run at once do: none waits for another to end.
func TestEachRunsAtOnce(t *testing.T) {
	all := make(chan struct{})
	var running atomic.Int32
	Each(t.Context(), numbered(4), 4, func(context.Context, Record) Outcome {
		if running.Add(1) == 4 {
			close(all)
		}
		<-all
		return Delivered("")
	})
}

func TestEachCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	started := 0
	outcomes := Each(ctx, numbered(10), 1, func(_ context.Context, r Record) Outcome {
		started++
		if r.ID == "3" {
			cancel()
		}
		return Delivered("")
	})
	if started != 4 {
		t.Errorf("%d were started, want 4", started)
	}
	for i, o := range outcomes {
		if want := KindDelivered; i > 3 {
			if o.Kind != KindRetry || o.Code != "CANCELED" {
				t.Errorf("outcome %d: %+v", i, o)
			}
		} else if o.Kind != want {
			t.Errorf("outcome %d: %+v", i, o)
		}
	}
}
