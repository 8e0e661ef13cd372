package store

import "time"

// Quarantined is a body that could not be understood.
type Quarantined struct {
	ID       int64
	Source   string
	Received time.Time
	// Reason is for a person and quotes nothing of the body.
	Reason string
	Size   int
	Body   []byte
}

// QuarantineFilter chooses entries; zero fields choose all. After is the last ID of the page before.
type QuarantineFilter struct {
	Source string
	After  int64
	Limit  int
}
