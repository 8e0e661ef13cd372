package postgres

import (
	"context"
	"sync"
	"time"
)

// maxGroup is the most requests that one commit serves. It bounds how long the first of them waits.
const maxGroup = 256

// How many groups are under way at once: while one is being committed the next is read and decided.
const (
	acceptWorkers = 3
	settleWorkers = 1
)

// batcher gathers what is asked for at the same time, so that many requests share a commit.
type batcher[T any] struct {
	requests chan *request[T]
	stopping chan struct{}
	gone     chan struct{} // closed when every worker has ended
	workers  sync.WaitGroup
}

type request[T any] struct {
	ask  T
	done chan error
}

func newBatcher[T any](s *Store, workers int, serve func([]*request[T]) error) *batcher[T] {
	b := &batcher[T]{requests: make(chan *request[T], 4*maxGroup), stopping: make(chan struct{}), gone: make(chan struct{})}
	for range workers {
		b.workers.Go(func() { b.work(s, serve) })
	}
	return b
}

func (b *batcher[T]) work(s *Store, serve func([]*request[T]) error) {
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
	b.workers.Wait()
	close(b.gone)
}
