package sdk

import (
	"context"
	"sync"
	"sync/atomic"
)

// Each delivers records one at a time, at most atOnce of them at once, and returns the outcomes in
// the records' order. When ctx ends, what has not been started is Retry. It suits vendors without a
// batch call:
//
//	func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
//		return sdk.Each(ctx, records, 8, t.deliver)
//	}
func Each(ctx context.Context, records []Record, atOnce int, deliver func(context.Context, Record) Outcome) []Outcome {
	outcomes := make([]Outcome, len(records))
	each(len(records), atOnce, func(i int) {
		if err := ctx.Err(); err != nil {
			outcomes[i] = FromError(err)
			return
		}
		outcomes[i] = deliver(ctx, records[i])
		outcomes[i].Individual = true
	})
	return outcomes
}

// ReadEach reads for records one at a time, at most atOnce of them at once, and returns the readings in the
// records' order. It is for Reader what Each is for Target.
func ReadEach(ctx context.Context, records []Record, atOnce int, read func(context.Context, Record) Reading) []Reading {
	readings := make([]Reading, len(records))
	each(len(records), atOnce, func(i int) { readings[i] = read(ctx, records[i]) })
	return readings
}

// each does something for 0 to n-1, at most atOnce of them at once, and waits for all.
func each(n, atOnce int, do func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			do(i)
		}
	}
	var workers sync.WaitGroup
	for range min(atOnce, n) - 1 {
		workers.Go(work)
	}
	work() // the caller's goroutine is a worker too
	workers.Wait()
}
