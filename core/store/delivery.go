package store

import (
	"time"

	"github.com/consentd/consentd/core/consent"
)

// Lanes are which of a target's deliveries a claim may hand out.
type Lanes int

const (
	AllLanes Lanes = iota
	Withdrawals
	// Others are those that are no withdrawals.
	Others
)

// Route is one rule and the target it feeds.
type Route struct {
	Rule, Target string
}

// Rerouted says what Reroute did.
type Rerouted struct {
	// Filled is how many deliveries became pending for rules that are new or feed another target.
	Filled int
	// Removed is how many were removed with their rules, and Withdrawals how many of them carried a
	// withdrawal that their target has not confirmed.
	Removed     int
	Withdrawals int
}

// Status is where a delivery stands.
type Status int

const (
	// Pending: the target may not hold what it should. An accepted update puts a delivery here; Settle
	// takes it out, or leaves it here with a later next attempt.
	Pending Status = iota
	// Settled: the target holds the desired version, or the rule had nothing for it. Only an accepted
	// update takes it out.
	Settled
	// Dead: it stopped, with a reason. Its own retry, a replay, a newer update and discard take it out.
	Dead
	// Discarded: an operator gave it up. A newer update takes it out.
	Discarded
)

var statusNames = [...]string{"pending", "settled", "dead", "discarded"}

func (s Status) String() string { return statusNames[s] }

// Delivery is the standing of (rule, citizen).
type Delivery struct {
	ID        int64
	Rule      string
	Target    string
	Source    string
	CitizenID string
	Status    Status
	// Withdrawal is whether a withdrawal of this citizen is not confirmed by the target yet.
	Withdrawal bool
	// Desired and Delivered are versions of the citizen, by arrival. They are equal when all is done.
	Desired   int64
	Delivered int64
	// Given is whether the target was ever given a record.
	Given bool
	// Digest is of the records the target is known to hold; nil when that is not known.
	Digest []byte
	// Attempts counts the failed ones since the last success, newer update or replay.
	Attempts int
	// Crashes counts how often the plugin broke with this delivery in flight.
	Crashes int
	// NextAttempt is zero when nothing is to be tried.
	NextAttempt time.Time
	// Since is when the oldest update came in that the target does not hold.
	Since time.Time
	// FailingSince is when the first of Attempts was; zero if none.
	FailingSince time.Time
	// Settled is when the last attempt ended.
	SettledAt time.Time
	// Outcome is the last attempt's, in the word of package sdk, or OutcomeResync when there was none since a resync.
	Outcome string
	// Reason says why a dead letter stopped: rule, rejected, crash or exhausted. Of a pending one it says what it
	// waits for, if that is not the target: identity, lookup or fuse; or that it waited for the last: released.
	Reason string
	// Error is for a person and holds nothing of the citizen.
	Error string
}

// OutcomeResync is the outcome of a delivery that Resync made pending, until it is attempted.
const OutcomeResync = "resync"

// Reasons of dead letters.
const (
	ReasonRule      = "rule"
	ReasonRejected  = "rejected"
	ReasonCrash     = "crash"
	ReasonExhausted = "exhausted"
)

// DeadReasons are all reasons of dead letters.
var DeadReasons = []string{ReasonRule, ReasonRejected, ReasonCrash, ReasonExhausted}

// Reasons of pending deliveries.
const (
	// ReasonIdentity: no lookup knows enough of the citizen yet.
	ReasonIdentity = "identity"
	// ReasonLookup: a lookup does not answer.
	ReasonLookup = "lookup"
	// ReasonFuse: it would grant, and its target's fuse has blown.
	ReasonFuse = "fuse"
	// ReasonReleased: the fuse held it, and an operator let it through. It waits for nothing.
	ReasonReleased = "released"
)

// Claimed is a delivery that was handed out, with its citizen's newest state.
type Claimed struct {
	Delivery
	// Citizen is the store's own number for the citizen.
	Citizen int64
	// Epoch tells the claim from all others, where claims can be lost.
	Epoch int64
	// SentAt and Received are of the newest state.
	SentAt   time.Time
	Received time.Time
	// State is the citizen's newest one when the store has it at hand decoded, else nil, and then Body is
	// what consent.Decode reads. It is shared and must not be changed.
	State *consent.State
	Body  []byte
}

// Settlement is what became of a claimed delivery.
type Settlement struct {
	Claim Claimed
	At    time.Time
	// Status is where the delivery goes, unless a newer update came meanwhile: then it stays pending.
	Status Status
	// NextAttempt is for Pending and Dead; zero with Dead means: only on demand.
	NextAttempt time.Time
	// Attempts, Crashes and FailingSince are what the delivery has from now on.
	Attempts     int
	Crashes      int
	FailingSince time.Time
	Outcome      string
	Reason       string
	Error        string
	// Digest is of the records the target holds now; nil when that is not known.
	Digest []byte
	// Given is whether records were sent, whatever came of it.
	Given bool
	// Granted is whether what was sent, whatever came of it, counts for the target's fuse.
	Granted bool
	// Receipt is written when it is not nil.
	Receipt *Receipt
}
