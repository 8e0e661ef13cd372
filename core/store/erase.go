package store

import (
	"encoding/json"
	"time"
)

// ErasureRequest asks a target to erase a person, whom the records that a rule rendered name.
type ErasureRequest struct {
	Rule, Target string
	Records      []json.RawMessage
}

// Erased says what Erase did.
type Erased struct {
	// Known is whether anything was known of the citizen.
	Known bool
	// Quarantined is how many quarantined bodies named them.
	Quarantined int
	// Asked are the targets that were asked.
	Asked []string
}

// Erasure is an open request.
type Erasure struct {
	ErasureRequest
	ID        int64
	Citizen   int64  // the store's own number
	Subject   []byte // as in Receipt
	Requested time.Time
	Attempts  int
	Epoch     int64 // as in Claimed
}

// ErasureSettlement is what became of a request that was handed out. With a receipt it is confirmed and
// ends; else it comes again.
type ErasureSettlement struct {
	Erasure     Erasure
	Receipt     *Receipt
	Attempts    int
	NextAttempt time.Time
	Error       string
}

// OpenErasures are the open requests of one target.
type OpenErasures struct {
	N      int64
	Oldest time.Time
	// Error is of the last attempt that failed at the oldest one.
	Error string
}
