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
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(records) {
				return
			}
			if err := ctx.Err(); err != nil {
				outcomes[i] = FromError(err)
				continue
			}
			outcomes[i] = deliver(ctx, records[i])
			outcomes[i].Individual = true
		}
	}
	var workers sync.WaitGroup
	for range min(atOnce, len(records)) - 1 {
		workers.Go(work)
	}
	work() // the caller's goroutine is a worker too
	workers.Wait()
	return outcomes
}
