// Package store says what a durable store does for the daemon: it takes updates in, hands due
// deliveries out, and takes outcomes back. The stores themselves are in the folders below, and the
// suite that holds them to this page is storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/consentd/consentd/core/consent"
)

// ErrUnavailable is wrapped by every error after which the caller may try again: nothing was committed, or, over a
// network, it is not known whether it was.
var ErrUnavailable = errors.New("store cannot commit")

// ErrNoRoutes is for what makes deliveries before routes are in force.
var ErrNoRoutes = fmt.Errorf("%w: no routes are in force yet", ErrUnavailable)

// LeastHold is for how long a claim is held at least that ends by itself.
const LeastHold = time.Second

// ErrPoisoned is wrapped by every error of a store whose last commit failed in a way that leaves unknown
// what is on disk. It commits nothing any more; the process has to end and open it again.
var ErrPoisoned = errors.New("store is poisoned")

// ErrNotFound is for an id that is not there.
var ErrNotFound = errors.New("not found")

// Store is durable: what a method returned without error is on disk. Methods are safe for concurrent use.
type Store interface {
	// Route puts the routes of a configuration in force, by source: from then on what makes deliveries makes them by
	// these. Before the first call nothing is taken in.
	Route(ctx context.Context, routes map[string][]Route) error
	// Reroute brings the deliveries in line with the routes in force: a rule that is new gets a pending delivery for
	// every citizen of its source, one that feeds another target starts anew there, and those of rules that are
	// gone are removed. It works in many small commits and may be interrupted: called again it goes on, also for
	// routes that were put in force meanwhile.
	Reroute(ctx context.Context, now time.Time) (Rerouted, error)

	// Accept applies the update to its citizen with consent.Apply and, when it is accepted, makes one
	// delivery for each route of its source pending, in one commit. Deliveries that were pending are replaced; so are those
	// of rules that are not in force, as long as there are any: a rule may come back, and has missed nothing then.
	Accept(ctx context.Context, u consent.Update) (consent.Verdict, error)

	// Tick looks again at up to limit citizens of whom a validity window has begun or ended by now, as
	// consent.Tick does, and makes their deliveries pending. It says how many it found.
	Tick(ctx context.Context, now time.Time, limit int) (int, error)
	// NextTick is when Tick finds something; zero if never.
	NextTick(ctx context.Context) (time.Time, error)
	// ReleaseHeld lets the held grants of a citizen through. ErrNotFound says that there are none.
	ReleaseHeld(ctx context.Context, source, citizenID string, now time.Time) error
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
	// Until is until when a claim is certainly held, LeastHold at least when it is handed out; zero if it does not end by itself. Nothing may be sent for it
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
