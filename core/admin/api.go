package admin

import "time"

// Status is the answer to GET /v1/status.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Config is the hash of the configuration in force.
	Config string `json:"config"`
	// Loaded is since when it is, and ReloadFailed when a later one was last refused, for ReloadError.
	Loaded       *time.Time `json:"loaded,omitempty"`
	ReloadFailed *time.Time `json:"reload_failed,omitempty"`
	ReloadError  string     `json:"reload_error,omitempty"`
	Sources      []Source   `json:"sources"`
	Targets      []Target   `json:"targets"`
	Lookups      []Lookup   `json:"lookups,omitempty"`
	Rules        []Rule     `json:"rules"`
	Options      []Option   `json:"options"`
	// WithdrawalSLO is how long a withdrawal may go unconfirmed, in seconds.
	WithdrawalSLO float64 `json:"withdrawal_slo_seconds"`
	// Quarantined is how many bodies are in quarantine, counted up to 1000.
	Quarantined int `json:"quarantined"`
	// Held is how many citizens have grants that are held.
	Held int `json:"held"`
}

// reloadRequest is the body of POST /v1/reload; it may be left out.
type reloadRequest struct {
	// Plan is the ID of the one that the reload is held to; empty: of none.
	Plan string `json:"plan,omitempty"`
}

// Reloaded is the answer to POST /v1/reload.
type Reloaded struct {
	// Config is the hash of the configuration in force.
	Config string `json:"config"`
	// Changed is whether it is another than before.
	Changed bool `json:"changed"`
}

// Source is one source of a Status.
type Source struct {
	Name       string `json:"name"`
	Path       string `json:"path"`
	UpdateType string `json:"update_type"`
	// ApplicationID is empty when updates of any are taken.
	ApplicationID string `json:"application_id,omitempty"`
	Auth          string `json:"auth"`
	// API is how it stands with asking its sender; nil when that is not configured.
	API *SourceAPI `json:"api,omitempty"`
}

// Rule is one rule of a Status.
type Rule struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Target string `json:"target"`
}

// Option is the name that the configuration gives an option or group id of the sender.
type Option struct {
	Name          string `json:"name"`
	ID            string `json:"id"`
	Type          string `json:"type"`
	Justification string `json:"justification,omitempty"`
}

// Lookup is one lookup of a Status.
type Lookup struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Failing is why it does not answer, and Since since when; empty when it does.
	Failing string     `json:"failing,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
}

// Target is one target of a Status. The counts are those of store.Counts.
type Target struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	State string `json:"state"`
	// PausedUntil is when a target that is not running is tried again.
	PausedUntil *time.Time `json:"paused_until,omitempty"`
	// Pause is an operator's, when State is paused.
	Pause            *Pause     `json:"pause,omitempty"`
	InFlight         int        `json:"in_flight"`
	Accepted         int64      `json:"accepted"`
	Delivered        int64      `json:"delivered"`
	Superseded       int64      `json:"superseded"`
	Erased           int64      `json:"erased"`
	Pending          int64      `json:"pending"`
	Dead             int64      `json:"dead"`
	Discarded        int64      `json:"discarded"`
	Withdrawals      int64      `json:"withdrawals"`
	OldestWithdrawal *time.Time `json:"oldest_withdrawal,omitempty"`
	// Waiting is how many of Pending wait for something else than the target, by reason: identity or lookup, if for what
	// their rule looks up, fuse, if they are grants that the fuse holds, released, if it held them until now.
	Waiting map[string]int64 `json:"waiting,omitempty"`
	// MaxGrants is how many grants may go within an hour, 0 any number, and FuseBlown since when grants are held as more
	// were to.
	MaxGrants int        `json:"max_grants,omitempty"`
	FuseBlown *time.Time `json:"fuse_blown,omitempty"`
	// Erasures are requests to erase a citizen that the target has not confirmed.
	Erasures      int64      `json:"erasures"`
	OldestErasure *time.Time `json:"oldest_erasure,omitempty"`
	ErasureError  string     `json:"erasure_error,omitempty"`
	LastError     string     `json:"last_error,omitempty"`
	LastErrorAt   *time.Time `json:"last_error_at,omitempty"`
	Plugin        Plugin     `json:"plugin"`
}

// Pause is a target that an operator holds back.
type Pause struct {
	Since time.Time `json:"since"`
	// Until is when it goes on by itself; absent: when it is resumed.
	Until *time.Time `json:"until,omitempty"`
}

// Pausing is the body of POST /v1/targets/{target}/pause. For is a duration, such as "2h"; empty: until resumed.
type Pausing struct {
	For string `json:"for,omitempty"`
}

// Paused is the answer to POST /v1/targets/{target}/pause and to resume. Pending and Withdrawals are what waits, or
// waited, for the target.
type Paused struct {
	Target string     `json:"target"`
	Until  *time.Time `json:"until,omitempty"`
	// Was is whether there was a pause to end.
	Was bool `json:"was_paused,omitempty"`
	// InFlight is how many calls had not ended when a pause was answered.
	InFlight    int   `json:"in_flight"`
	Pending     int64 `json:"pending"`
	Withdrawals int64 `json:"withdrawals"`
}

// Resynced is the answer to POST /v1/targets/{target}/resync?after=N and to that of a citizen. Changed deliveries
// are pending again. Next, when not zero, is the after with which to go on, and End the largest there is.
type Resynced struct {
	Changed int   `json:"changed"`
	Next    int64 `json:"next,omitempty"`
	End     int64 `json:"end"`
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
	Rule    string `json:"rule,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Citizen string `json:"citizen,omitempty"`
	All     bool   `json:"all,omitempty"`
}

// Changed is the answer to what changes dead letters. With a limit in the query there may be more: Next, when not zero,
// is the after with which to go on.
type Changed struct {
	Changed int   `json:"changed"`
	Next    int64 `json:"next,omitempty"`
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

// Citizen is the answer to GET /v1/citizens/{source}/{id}. It is personal data.
type Citizen struct {
	Source      string       `json:"source"`
	CitizenID   string       `json:"citizen_id"`
	ExternalRef string       `json:"external_ref,omitempty"`
	SentAt      time.Time    `json:"sent_at"`
	Evidence    *time.Time   `json:"evidence,omitempty"`
	Received    time.Time    `json:"received"`
	NextChange  *time.Time   `json:"next_change,omitempty"`
	Permissions []Permission `json:"permissions"`
	// Held are the grants that are held back.
	Held        []Permission `json:"held"`
	Preferences []Preference `json:"preferences"`
	Deliveries  []Delivery   `json:"deliveries"`
}

// Permission is one permission of a Citizen; Allowed is as of now.
type Permission struct {
	OptionType    string     `json:"option_type"`
	OptionID      string     `json:"option_id"`
	Justification string     `json:"justification,omitempty"`
	State         string     `json:"state"`
	Allowed       bool       `json:"allowed"`
	RecordedAt    *time.Time `json:"recorded_at,omitempty"`
	ValidFrom     *time.Time `json:"valid_from,omitempty"`
	ValidUntil    *time.Time `json:"valid_until,omitempty"`
}

// Preference is one preference of a Citizen, with the references of the choices.
type Preference struct {
	Preference string   `json:"preference"`
	Choices    []string `json:"choices"`
}

// Delivery is the standing of one rule for a Citizen.
type Delivery struct {
	ID          int64      `json:"id"`
	Rule        string     `json:"rule"`
	Target      string     `json:"target"`
	Status      string     `json:"status"`
	Withdrawal  bool       `json:"withdrawal"`
	Desired     int64      `json:"desired"`
	Delivered   int64      `json:"delivered"`
	Attempts    int        `json:"attempts"`
	Outcome     string     `json:"outcome,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Error       string     `json:"error,omitempty"`
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	SettledAt   *time.Time `json:"settled_at,omitempty"`
}

// Erased is the answer to DELETE /v1/citizens/{source}/{id}.
type Erased struct {
	// Known is whether anything was known of the citizen.
	Known bool `json:"known"`
	// Quarantined is how many quarantined bodies named them, and went too.
	Quarantined int `json:"quarantined"`
	// Asked are the targets that were asked to erase the citizen and go on being asked until they have.
	Asked []string `json:"asked"`
	// NotAsked are the targets that the source's rules feed and that were not asked.
	NotAsked []string `json:"not_asked"`
}

// Receipts is the answer to GET /v1/citizens/{source}/{id}/receipts and to GET /v1/receipts, oldest first.
// Next, when not zero, is the after of the page that follows.
type Receipts struct {
	Receipts []Receipt `json:"receipts"`
	Next     int64     `json:"next,omitempty"`
}

// Chain is the answer to GET /v1/receipts/verify. Broken is the first receipt that is not what was written.
type Chain struct {
	Receipts int64  `json:"receipts"`
	Head     string `json:"head"`
	Broken   int64  `json:"broken,omitempty"`
	Problem  string `json:"problem,omitempty"`
	// Pruned is how many of the receipts, the oldest, were removed because their time was over.
	Pruned int64 `json:"pruned,omitempty"`
}

// Receipt is the proof of one confirmed delivery. Digest is the SHA-256, in hex, of what was delivered;
// Subject the keyed hash of who it is of; Hash chains it to the one before.
type Receipt struct {
	ID         int64     `json:"id"`
	Rule       string    `json:"rule"`
	Target     string    `json:"target"`
	Version    int64     `json:"version"`
	Withdrawal bool      `json:"withdrawal"`
	Outcome    string    `json:"outcome"`
	SentAt     time.Time `json:"sent_at"`
	Received   time.Time `json:"received"`
	Confirmed  time.Time `json:"confirmed"`
	Digest     string    `json:"digest"`
	Plugin     string    `json:"plugin"`
	Reference  string    `json:"reference,omitempty"`
	// Transactions are the ids under which the sender recorded what the rule read.
	Transactions []string `json:"transaction_ids,omitempty"`
	Config       string   `json:"config"`
	Subject      string   `json:"subject"`
	Hash         string   `json:"hash"`
}

// WhoAsks is the answer to GET /v1/caller: who the daemon takes the caller for.
type WhoAsks struct {
	Actor string `json:"actor"`
	Role  string `json:"role"`
}

// Problem is the body of every answer that is not 2xx.
type Problem struct {
	Error string `json:"error"`
}
