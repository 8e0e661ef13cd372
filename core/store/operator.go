package store

import "time"

// Fuse is how a target's fuse stands.
type Fuse struct {
	// Blown is since when it is; zero when it is whole.
	Blown time.Time
	// Released is when an operator last made it whole; zero if never.
	Released time.Time
}

// DeadFilter chooses dead letters; zero fields choose all. After is the last ID of the page before.
type DeadFilter struct {
	// StoppedBefore chooses those whose last attempt was before, and leaves withdrawals alone: age ends none.
	StoppedBefore time.Time
	ID            int64
	Target        string
	Rule          string
	Reason        string
	CitizenID     string
	After         int64
	Limit         int
}

// ResyncFilter chooses deliveries: those of a target, or of a citizen, or of both. After is the Last of the call
// before.
type ResyncFilter struct {
	Target            string
	Source, CitizenID string
	After             int64
	Limit             int
}

// Resynced says what Resync did: how many deliveries became pending, the id of the last of them, and the largest id
// that there is, which says how far it is.
type Resynced struct {
	N         int
	Last, End int64
}

// Pause is a target that an operator holds back.
type Pause struct {
	Since time.Time `json:"since"`
	// Until is when it goes on by itself; zero: never.
	Until time.Time `json:"until,omitzero"`
}

// Over is whether its time has passed.
func (p Pause) Over(now time.Time) bool { return !p.Until.IsZero() && !now.Before(p.Until) }
