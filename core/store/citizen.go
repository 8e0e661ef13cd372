package store

import "time"

// HeldCitizen is one who has grants that are held, and when the update came that brought them.
type HeldCitizen struct {
	Number            int64
	Source, CitizenID string
	Received          time.Time
}

// Known is one citizen with the newest state.
type Known struct {
	// Number is the store's own.
	Number            int64
	Source, CitizenID string
	Version           int64
	// Body is what consent.Decode reads; nil when it cannot be opened.
	Body []byte
}

// Extent is how many citizens are known, and the newest version ever given to one.
type Extent struct {
	Citizens, Newest int64
}
