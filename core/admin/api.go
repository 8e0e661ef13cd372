package admin

import "time"

// Status is the answer to GET /v1/status.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Config is the hash of the configuration in force.
	Config  string   `json:"config"`
	Sources []Source `json:"sources"`
	Targets []Target `json:"targets"`
	// Quarantined is how many bodies are in quarantine, counted up to 1000.
	Quarantined int `json:"quarantined"`
}

// Source is one source of a Status.
type Source struct {
	Name       string `json:"name"`
	Path       string `json:"path"`
	UpdateType string `json:"update_type"`
	Auth       string `json:"auth"`
}

// Target is one target of a Status. The counts are those of store.Counts.
type Target struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	State string `json:"state"`
	// PausedUntil is when a target that is not running is tried again.
	PausedUntil      *time.Time `json:"paused_until,omitempty"`
	InFlight         int        `json:"in_flight"`
	Accepted         int64      `json:"accepted"`
	Delivered        int64      `json:"delivered"`
	Superseded       int64      `json:"superseded"`
	Pending          int64      `json:"pending"`
	Dead             int64      `json:"dead"`
	Discarded        int64      `json:"discarded"`
	Withdrawals      int64      `json:"withdrawals"`
	OldestWithdrawal *time.Time `json:"oldest_withdrawal,omitempty"`
	LastError        string     `json:"last_error,omitempty"`
	LastErrorAt      *time.Time `json:"last_error_at,omitempty"`
	Plugin           Plugin     `json:"plugin"`
}

// Plugin is the process of a target.
type Plugin struct {
	Version  string `json:"version"`
	State    string `json:"state"`
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`
	LastExit string `json:"last_exit,omitempty"`
}

// DeadLetter is one delivery that stopped.
type DeadLetter struct {
	ID         int64      `json:"id"`
	Target     string     `json:"target"`
	Rule       string     `json:"rule"`
	Source     string     `json:"source"`
	CitizenID  string     `json:"citizen_id"`
	Withdrawal bool       `json:"withdrawal"`
	Reason     string     `json:"reason"`
	Error      string     `json:"error"`
	Attempts   int        `json:"attempts"`
	Since      time.Time  `json:"since"`
	StoppedAt  time.Time  `json:"last_attempt"`
	NextRetry  *time.Time `json:"next_retry,omitempty"`
}

// DeadPage is the answer to GET /v1/dead, in the order of ids. Next, when not zero, is the after of the page
// that follows.
type DeadPage struct {
	Dead []DeadLetter `json:"dead"`
	Next int64        `json:"next,omitempty"`
}

// DeadSelection chooses dead letters for POST /v1/dead/replay and /v1/dead/discard, and as query parameters
// for GET /v1/dead. Nothing chosen is a mistake unless All is set.
type DeadSelection struct {
	ID      int64  `json:"id,omitempty"`
	Target  string `json:"target,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Citizen string `json:"citizen,omitempty"`
	All     bool   `json:"all,omitempty"`
}

// Changed is the answer to what changes dead letters.
type Changed struct {
	Changed int `json:"changed"`
}

// Quarantined is one body that could not be understood.
type Quarantined struct {
	ID       int64     `json:"id"`
	Source   string    `json:"source"`
	Received time.Time `json:"received"`
	Reason   string    `json:"reason"`
	Size     int       `json:"size"`
	// Body is given for one entry alone, base64 in JSON. It holds personal data.
	Body []byte `json:"body,omitempty"`
}

// QuarantinePage is the answer to GET /v1/quarantine.
type QuarantinePage struct {
	Quarantined []Quarantined `json:"quarantined"`
	Next        int64         `json:"next,omitempty"`
}

// Replayed is the answer to POST /v1/quarantine/{id}/replay: what became of the body as an update.
type Replayed struct {
	Status string `json:"status"`
}

// Problem is the body of every answer that is not 2xx.
type Problem struct {
	Error string `json:"error"`
}
