package postgres

import (
	"context"
	"time"
)

// maxGroup is the most requests that one commit serves. It bounds how long the first of them waits.
const maxGroup = 256

// batcher gathers what is asked for while a commit is under way, so that many requests share the next one. Several
// commits at once would be smaller ones, of which each costs the server about as much as a large one.
type batcher[T any] struct {
	requests chan *request[T]
	stopping chan struct{}
	gone     chan struct{} // closed when all is answered
}

type request[T any] struct {
	ask  T
	done chan error
}

func newBatcher[T any](s *Store, serve func([]*request[T]) error) *batcher[T] {
	b := &batcher[T]{requests: make(chan *request[T], 4*maxGroup), stopping: make(chan struct{}), gone: make(chan struct{})}
	go b.work(s, serve)
	return b
}

func (b *batcher[T]) work(s *Store, serve func([]*request[T]) error) {
	defer close(b.gone)
	group := make([]*request[T], 0, maxGroup)
	for {
		group = group[:0]
		select {
		case r := <-b.requests:
			group = append(group, r)
		case <-b.stopping:
			select {
			case r := <-b.requests:
				group = append(group, r)
			default:
				return
			}
		}
	more:
		for len(group) < maxGroup {
			select {
			case r := <-b.requests:
				group = append(group, r)
			default:
				break more
			}
		}
		began, n := time.Now(), len(group)
		err := serve(group)
		s.metrics.Done(began, n, err)
	}
}

// do asks and waits for the answer.
func (b *batcher[T]) do(ctx context.Context, ask T) error {
	r := &request[T]{ask: ask, done: make(chan error, 1)}
	select {
	case <-b.stopping:
		return errClosed
	default:
	}
	select {
	case b.requests <- r:
	case <-b.stopping:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	// From here the request may be committed whatever becomes of ctx, so its fate is waited for.
	select {
	case err := <-r.done:
		return err
	case <-b.gone:
		select {
		case err := <-r.done:
			return err
		default:
			return errClosed
		}
	}
}

// close answers what was asked for before.
func (b *batcher[T]) close() {
	close(b.stopping)
	<-b.gone
}
