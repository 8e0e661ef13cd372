package store

import "time"

// Size is in bytes. Free is the part of it that holds nothing and is used again.
type Size struct{ Bytes, Free int64 }

// Survey is what a person has to see to.
type Survey struct {
	// OldestPending is, of each target, since when the oldest of its pending deliveries is owed; absent if none is.
	OldestPending map[string]time.Time
	// Dead are the dead letters of each target by reason.
	Dead map[string]map[string]int64
	// Quarantined are the bodies of each source.
	Quarantined map[string]int64
}

// Counts is how the deliveries of one target stand. Accepted, Delivered, Superseded and Erased count updates,
// one for each delivery they asked for, since the store was made; the others count deliveries now. Law 12:
// Accepted = Delivered + Superseded + Erased + Pending + Dead + Discarded.
type Counts struct {
	Accepted    int64
	Delivered   int64
	Superseded  int64
	Erased      int64
	Pending     int64
	Dead        int64
	Discarded   int64
	Withdrawals int64 // not confirmed yet; of Pending and Dead
	// OldestWithdrawal is when the oldest of them came in; zero if there is none.
	OldestWithdrawal time.Time
}
