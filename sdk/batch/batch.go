// Package batch is for vendors that take many records in one call: it sorts records into calls, gives each
// record its own outcome, and finds the one for which a whole call is refused. It is apart from package
// sdk because targets that take one record a call have no use for it; those use sdk.Each.
package batch

import (
	"context"
	"errors"

	"github.com/consentd/consentd/sdk"
)

// Call is how one kind of call is made. T is a record in the plugin's own type.
type Call[T any] struct {
	// Max is how many items the vendor takes at once.
	Max int
	// Parse checks a record. The error, made with Outcome.Err, is its outcome; it is not sent.
	Parse func(sdk.Record) (T, error)
	// Group tells which items can share a call: those of one value. Nil: all can.
	Group func(T) string
	// Key tells whom an item is about, as the vendor compares it. Nobody stands twice in one call, and
	// one person's items go in their order. Nil: nobody comes twice.
	Key func(T) string
	// Send makes one call and returns one outcome an item, in the items' order, whatever order the vendor
	// answers in. An error, fit for sdk.FromError, is the outcome of all. When that outcome is Rejected, or
	// the error was made by Divisible, one item is to blame and the halves are sent on their own.
	Send func(ctx context.Context, items []T) ([]sdk.Outcome, error)
}

// Deliver delivers the records, and returns one outcome a record in their order. The calls are made one
// after another: the host has others under way.
func (c Call[T]) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	outcomes := make([]sdk.Outcome, len(records))
	for _, chunk := range c.plan(records, outcomes) {
		c.send(ctx, chunk, outcomes)
	}
	for i := range outcomes {
		outcomes[i].Individual = true // what was refused whole was halved
	}
	return outcomes
}

// chunk is what one call takes.
type chunk[T any] struct {
	items []T
	index []int // of the records
}

// plan sorts the records into chunks, in their order, and answers those that cannot be sent. The second
// and later items about one person go into later chunks.
func (c Call[T]) plan(records []sdk.Record, outcomes []sdk.Outcome) []*chunk[T] {
	type group struct {
		name string
		turn int // how often the person came before
	}
	type person struct{ group, key string }
	var chunks []*chunk[T]
	open := map[group]*chunk[T]{}
	turns := map[person]int{}
	for i, r := range records {
		item, err := c.Parse(r)
		if err != nil {
			outcomes[i] = sdk.FromError(err)
			continue
		}
		var g group
		if c.Group != nil {
			g.name = c.Group(item)
		}
		if c.Key != nil {
			p := person{g.name, c.Key(item)}
			g.turn = turns[p]
			turns[p]++
		}
		into := open[g]
		if into == nil || len(into.items) == c.Max {
			into = &chunk[T]{}
			open[g] = into
			chunks = append(chunks, into)
		}
		into.items = append(into.items, item)
		into.index = append(into.index, i)
	}
	return chunks
}

func (c Call[T]) send(ctx context.Context, ch *chunk[T], outcomes []sdk.Outcome) {
	each, err := c.Send(ctx, ch.items)
	if half := len(ch.items) / 2; half > 0 && divisible(err) {
		c.send(ctx, &chunk[T]{ch.items[:half], ch.index[:half]}, outcomes)
		c.send(ctx, &chunk[T]{ch.items[half:], ch.index[half:]}, outcomes)
		return
	}
	if err == nil && len(each) != len(ch.items) {
		err = sdk.Retry("ROW_COUNT_MISMATCH", "the vendor answered for %d records of %d", len(each), len(ch.items)).Err()
	}
	for i, at := range ch.index {
		if err != nil {
			outcomes[at] = sdk.FromError(err)
		} else {
			outcomes[at] = each[i]
		}
	}
}

// Divisible marks a failure of a whole call as one item's, where its outcome is not Rejected.
func Divisible(err error) error {
	if err == nil {
		return nil
	}
	return &oneToBlame{err}
}

type oneToBlame struct{ error }

func (e *oneToBlame) Unwrap() error { return e.error }

func divisible(err error) bool {
	var marked *oneToBlame
	return err != nil && (errors.As(err, &marked) || sdk.FromError(err).Kind == sdk.KindRejected)
}
