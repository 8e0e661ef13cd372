// Package store says what a durable store does for the daemon: it takes updates in, hands due
// deliveries out, and takes outcomes back. The stores themselves are in the folders below, and the
// suite that holds them to this page is storetest.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/consentd/consentd/core/consent"
)

// ErrUnavailable is wrapped by every error after which the caller may try again: nothing was committed, or, over a
// network, it is not known whether it was.
var ErrUnavailable = errors.New("store cannot commit")

// ErrPoisoned is wrapped by every error of a store whose last commit failed in a way that leaves unknown
// what is on disk. It commits nothing any more; the process has to end and open it again.
var ErrPoisoned = errors.New("store is poisoned")

// ErrNotFound is for an id that is not there.
var ErrNotFound = errors.New("not found")

// Store is durable: what a method returned without error is on disk. Methods are safe for concurrent use.
type Store interface {
	// Accept applies the update to its citizen with consent.Apply and, when it is accepted, makes one
	// delivery for each route pending, in one commit. Deliveries that were pending are replaced.
	Accept(ctx context.Context, u consent.Update, routes []Route) (consent.Verdict, error)

	// Tick looks again at up to limit citizens of whom a validity window has begun or ended by now, as
	// consent.Tick does, and makes their deliveries pending. It says how many it found.
	Tick(ctx context.Context, now time.Time, limit int, routes map[string][]Route) (int, error)
	// NextTick is when Tick finds something; zero if never.
	NextTick(ctx context.Context) (time.Time, error)
	// ReleaseHeld lets the held grants of a citizen through. ErrNotFound says that there are none.
	ReleaseHeld(ctx context.Context, source, citizenID string, now time.Time, routes []Route) error
	// Held is how many citizens have grants that are held.
	Held(ctx context.Context) (int, error)
	// Citizen is what is known of one.
	Citizen(ctx context.Context, source, citizenID string) (consent.Citizen, error)
	// Citizens lists up to limit citizens of all sources in the order of the store's own numbers, after the one
	// given. No snapshot is held between two calls: who changes meanwhile is listed as of one or the other.
	Citizens(ctx context.Context, after int64, limit int) ([]Known, error)
	// Extent is how much is known. As long as it is the same, so is every citizen's state.
	Extent(ctx context.Context) (Extent, error)

	// ListHeld lists up to limit citizens who have grants that are held, in the order of Citizens.
	ListHeld(ctx context.Context, after int64, limit int) ([]HeldCitizen, error)
	// Resend makes the deliveries of a citizen to a target pending and due now, because the target does not hold what
	// it was given: they get a new version, and nothing that it is known to hold is trusted. With withdrawal they
	// are withdrawals. It says how many there are.
	Resend(ctx context.Context, target, source, citizenID string, withdrawal bool, now time.Time) (int, error)
	// SetMark keeps a small value of the daemon's own under a name, or with nil drops it. Mark gives it back; nil
	// when there is none.
	SetMark(ctx context.Context, name string, value []byte) error
	Mark(ctx context.Context, name string) ([]byte, error)

	// Reroute brings the deliveries in line with the routes of a new configuration, by source: a rule that is
	// new gets a pending delivery for every citizen of its source, one that feeds another target starts
	// anew there, and those of rules that are gone are removed. It works in many small commits and may be
	// interrupted: called again it goes on.
	Reroute(ctx context.Context, routes map[string][]Route, now time.Time) (Rerouted, error)

	// Claim hands out up to limit due deliveries of a target: withdrawals first, then those among the dead
	// letters whose retry is due, then the others, then other dead letters, each in the order of their next
	// attempt. A claimed delivery, and
	// every other delivery of the same target and citizen, is not handed out again until it is settled
	// or released.
	Claim(ctx context.Context, target string, now time.Time, limit int, lanes Lanes) ([]Claimed, error)
	// Settle commits what became of claimed deliveries and ends their claims, also on error.
	Settle(ctx context.Context, settlements []Settlement) error
	// Release ends claims and changes nothing.
	Release(claims []Claimed)
	// Until is until when a claim is certainly held; zero if it does not end by itself. Nothing may be sent for it
	// later, and what is sent has to have ended by then.
	Until(c Claimed) time.Time
	// Share is which part of a target's limits is this process's.
	Share() Share
	// NextDue is the earliest next attempt of a target, claimed or not; zero if there is none.
	NextDue(ctx context.Context, target string) (time.Time, error)
	// Forward moves next attempts that are later than latest to now, and says how many. None can be that late,
	// unless the clock was wrong when it was set.
	Forward(ctx context.Context, latest, now time.Time) (int, error)
	// Changed receives when something of the target may have become due by a commit. Many commits may be
	// one receive.
	Changed(target string) <-chan struct{}

	// Resync makes up to f.Limit deliveries pending again and due now, whatever their status, in the order of their
	// ids: nothing that the target is known to hold is trusted any more, and each gets a new version, so that its
	// record is sent again under a new id, also when an attempt in flight ends well. A withdrawal that is not confirmed
	// stays one; of the others, those of citizens who refuse anything are due before those who do not. It is one
	// commit, and the caller goes on after Last as long as N is the limit.
	Resync(ctx context.Context, f ResyncFilter, now time.Time) (Resynced, error)

	// SetPause notes that an operator holds a target's deliveries and erasures back, or with nil that they go on. It
	// survives reopening. The store hands out what it is asked for all the same: to hold back is the caller's.
	SetPause(ctx context.Context, target string, p *Pause) error
	// Pauses are those that were set, by target, also those that are over.
	Pauses(ctx context.Context) (map[string]Pause, error)

	// Erase removes all that is known of a citizen, known or not: state, deliveries, quarantined bodies that
	// name them, and what receipts tell beyond the keyed hash. A tombstone stays, and no update is taken in
	// whose evidence is not newer. Targets that are to erase the person as well are asked with what ask
	// renders of the newest state, in the same commit; an error of ask leaves everything as it was. When Erase
	// returns nil, nothing of the person is in the store but what those requests hold, nor in its files where they are its own.
	Erase(ctx context.Context, source, citizenID string, at time.Time, ask func(consent.State) ([]ErasureRequest, error)) (Erased, error)
	// ClaimErasure hands out a request of a target that is due, at most one at a time, and not while a delivery
	// of that citizen is in flight. ErrNotFound says that there is none. While a request is open, no
	// delivery of its citizen is handed out to its target.
	ClaimErasure(ctx context.Context, target string, now time.Time) (Erasure, error)
	// SettleErasure commits what became of it.
	SettleErasure(ctx context.Context, s ErasureSettlement) error
	// Erasures counts the open requests by target.
	Erasures(ctx context.Context) (map[string]OpenErasures, error)
	// DropErasures gives up the open requests of every target that is not among those given, and says how many.
	DropErasures(ctx context.Context, targets []string) (int, error)

	// Quarantine keeps a body that was authenticated and not understood. The same body of the same source
	// is kept once.
	Quarantine(ctx context.Context, q Quarantined) error
	ListQuarantine(ctx context.Context, f QuarantineFilter) ([]Quarantined, error)
	// ShowQuarantine is one entry with its body.
	ShowQuarantine(ctx context.Context, id int64) (Quarantined, error)
	DiscardQuarantine(ctx context.Context, id int64) error

	// Dead letters are deliveries with status Dead.
	ListDead(ctx context.Context, f DeadFilter) ([]Delivery, error)
	// ReplayDead makes the dead letters that match due now, in the order of their ids up to the limit, and says how many.
	ReplayDead(ctx context.Context, f DeadFilter, now time.Time) (int, error)
	// DiscardDead ends the dead letters that match until a newer update comes, and says how many.
	DiscardDead(ctx context.Context, f DeadFilter) (int, error)

	// Counts is how the deliveries of each target stand. It is cheap.
	Counts(ctx context.Context) (map[string]Counts, error)
	// Fuses says of each target whose fuse ever blew how it stands. One blows with the settlement of a delivery with
	// ReasonFuse, also if newer news has replaced that. What stays pending so is not due without a next attempt.
	Fuses(ctx context.Context) (map[string]Fuse, error)
	// Granted says when each delivery of a target was last settled as granted, of those settled since, by the
	// delivery's ID.
	Granted(ctx context.Context, target string, since time.Time) (map[int64]time.Time, error)
	// RetryFuse makes what a target's fuse holds due now, to be held or let through anew.
	RetryFuse(ctx context.Context, target string, now time.Time) (int, error)
	// ReleaseFuse makes a target's fuse whole, and what it holds due now with ReasonReleased; it says how many that
	// are. It works in many small commits and may be interrupted: called again it goes on.
	ReleaseFuse(ctx context.Context, target string, now time.Time) (int, error)
	// Waiting counts the pending deliveries of each target that wait for something else than it, by reason.
	Waiting(ctx context.Context) (map[string]map[string]int64, error)
	// Survey counts what a person has to see to. It reads every delivery that is pending or dead, which takes long
	// when there are many.
	Survey(ctx context.Context) (Survey, error)
	// Audit counts every delivery and says by how much each target is off law 12; nothing is all zeros. It
	// reads everything.
	Audit(ctx context.Context) (map[string]int64, error)
	// Deliveries are all deliveries of one citizen.
	Deliveries(ctx context.Context, source, citizenID string) ([]Delivery, error)
	// Receipts are the proofs of confirmed deliveries of one citizen, oldest first.
	Receipts(ctx context.Context, source, citizenID string) ([]Receipt, error)

	// ListReceipts lists all receipts in the order of their ids, after the one given, without who they are
	// of: Source and CitizenID are empty, Subject is set.
	ListReceipts(ctx context.Context, after int64, limit int) ([]Receipt, error)
	// VerifyReceipts reads every receipt and says whether each still follows from the one before.
	VerifyReceipts(ctx context.Context) (Chain, error)

	// PruneReceipts removes up to limit of the oldest receipts, as long as they were confirmed before, and says how
	// many. What is left still verifies.
	PruneReceipts(ctx context.Context, before time.Time, limit int) (int, error)
	// PruneQuarantine removes up to limit entries that were received before, and says how many.
	PruneQuarantine(ctx context.Context, before time.Time, limit int) (int, error)
	// Reseal brings up to limit citizens under the key that seals now, and says whether there may be more. When
	// there are none, the store can be opened without the other keys.
	Reseal(ctx context.Context, limit int) (more bool, err error)
	// Shrink gives some free space back to the file system, and says whether there may be more.
	Shrink(ctx context.Context) (more bool, err error)
	// Size is what the store takes on disk.
	Size(ctx context.Context) (Size, error)

	// HashKey is the secret, made with the store, under which ids are hashed for logs.
	HashKey() []byte
	// Ready commits nothing-changing work and says whether that was possible.
	Ready(ctx context.Context) error
	// Failed is closed when the store is poisoned.
	Failed() <-chan struct{}
	Close() error
}

// Lanes are which of a target's deliveries a claim may hand out.
type Lanes int

const (
	AllLanes Lanes = iota
	Withdrawals
	// Others are those that are no withdrawals.
	Others
)

// Size is in bytes. Free is the part of it that holds nothing and is used again.
type Size struct{ Bytes, Free int64 }

// HeldCitizen is one who has grants that are held, and when the update came that brought them.
type HeldCitizen struct {
	Number            int64
	Source, CitizenID string
	Received          time.Time
}

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

// Fuse is how a target's fuse stands.
type Fuse struct {
	// Blown is since when it is; zero when it is whole.
	Blown time.Time
	// Released is when an operator last made it whole; zero if never.
	Released time.Time
}

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

// Receipt is the lasting proof of one confirmed delivery.
type Receipt struct {
	ID        int64
	Source    string
	CitizenID string
	Rule      string
	Target    string
	Version   int64
	SentAt    time.Time
	Received  time.Time
	Confirmed time.Time
	// Withdrawal is whether it confirmed one.
	Withdrawal bool
	Outcome    string
	// Digest is the SHA-256 of what was delivered, Reference the vendor's own name for it, and Transactions the
	// ids under which the sender recorded what the rule read. They are empty once the citizen is erased;
	// Sealed, their keyed hash, stays.
	Digest       []byte
	Reference    string
	Transactions []string
	Sealed       []byte
	// Plugin is its type and version.
	Plugin string
	// Config is the hash of the configuration in force.
	Config string
	// Subject is the keyed hash of Source and CitizenID. It stays when the citizen is erased.
	Subject []byte
	// Hash chains the receipt to the one before.
	Hash []byte
}

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
