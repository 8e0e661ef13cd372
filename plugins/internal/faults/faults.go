// Package faults keeps what is to go wrong at a simulator. What a fault is, and which requests it hits, is each
// vendor's own; that the first one that fits comes, as often as it is to, is the same for all.
package faults

import "sync"

// Queue holds faults in their order. The zero queue is empty. It is safe for concurrent use.
type Queue[F any] struct {
	mu  sync.Mutex
	all []*entry[F]
}

type entry[F any] struct {
	fault F
	left  int // negative: no end
}

// Add puts a fault behind those that are there, to come so many times; negative is always.
func (q *Queue[F]) Add(fault F, times int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, &entry[F]{fault, times})
}

// Clear takes all faults away.
func (q *Queue[F]) Clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = nil
}

// Next is the first fault that fits and is not used up, and uses it once; nil if there is none.
func (q *Queue[F]) Next(fits func(*F) bool) *F {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.all {
		if e.left == 0 || !fits(&e.fault) {
			continue
		}
		if e.left > 0 {
			e.left--
		}
		return &e.fault
	}
	return nil
}
