package sdk

import (
	"context"
	"sync"
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
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(max(atOnce, 1), len(records)) {
		workers.Go(func() {
			for i := range next {
				outcomes[i] = deliver(ctx, records[i])
			}
		})
	}
	for i := range records {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		for ; i < len(records); i++ {
			outcomes[i] = FromError(ctx.Err())
		}
		break
	}
	close(next)
	workers.Wait()
	return outcomes
}
