// Package ledger keeps law 12: what every store has to count when a delivery moves. It knows no database; stores keep
// it in the same commits as what it counts.
package ledger

import (
	"github.com/consentd/consentd/core/store"
)

// Ledger counts, for each target, updates since ever and deliveries now; or by how much a commit changes that.
type Ledger map[Key]int64

// Key is one count of a target.
type Key struct{ Target, Entry string }

// The entries, beside those named like statuses.
const (
	Accepted    = "accepted"
	Delivered   = "delivered"
	Superseded  = "superseded"
	Erased      = "erased"
	Withdrawals = "withdrawals"
)

// Add adds what a commit changed.
func (l Ledger) Add(other Ledger) {
	for k, n := range other {
		l[k] += n
	}
}

// Standing is what is counted of a delivery.
type Standing struct {
	Status     store.Status
	Withdrawal bool
}

// Settled is how a delivery stands once it is settled as st says.
func (s Standing) Settled(st store.Settlement) Standing {
	return Standing{st.Status, s.Withdrawal && (st.Status == store.Pending || st.Status == store.Dead)}
}

// Ended is how a dead letter stands that goes on to a status: only what is tried again still owes a withdrawal.
func (s Standing) Ended(to store.Status) Standing {
	return Standing{to, s.Withdrawal && to == store.Pending}
}

func (l Ledger) count(target string, s Standing, n int64) {
	if s.Status != store.Settled {
		l[Key{target, s.Status.String()}] += n
	}
	if s.Withdrawal {
		l[Key{target, Withdrawals}] += n
	}
}

// Move moves a delivery of a target from one standing to another.
func (l Ledger) Move(target string, was, is Standing) {
	l.count(target, was, -1)
	l.count(target, is, 1)
}

// Settle moves a delivery that an attempt ended for, which may have delivered it.
func (l Ledger) Settle(target string, was, is Standing) {
	l.Move(target, was, is)
	if is.Status == store.Settled && was.Status != store.Settled {
		l[Key{target, Delivered}]++
	}
}

// Enter puts in a delivery that became pending.
func (l Ledger) Enter(target string, withdrawal bool) {
	l[Key{target, Accepted}]++
	l.count(target, Standing{store.Pending, withdrawal}, 1)
}

// Leave takes out a delivery; what it still owed is superseded.
func (l Ledger) Leave(target string, was Standing) { l.leave(target, was, Superseded) }

// Erase takes out a delivery of an erased citizen; what it still owed is erased.
func (l Ledger) Erase(target string, was Standing) { l.leave(target, was, Erased) }

func (l Ledger) leave(target string, was Standing, as string) {
	l.count(target, was, -1)
	if was.Status != store.Settled {
		l[Key{target, as}]++
	}
}

// Supersede enters an update that changes nothing.
func (l Ledger) Supersede(routes []store.Route) {
	for _, r := range routes {
		l[Key{r.Target, Accepted}]++
		l[Key{r.Target, Superseded}]++
	}
}

// Counts is the ledger of each target, without what it cannot tell: the age of the oldest withdrawal.
func (l Ledger) Counts() map[string]store.Counts {
	counts := map[string]store.Counts{}
	for k, n := range l {
		c := counts[k.Target]
		switch k.Entry {
		case Accepted:
			c.Accepted = n
		case Delivered:
			c.Delivered = n
		case Superseded:
			c.Superseded = n
		case Erased:
			c.Erased = n
		case Withdrawals:
			c.Withdrawals = n
		case store.Pending.String():
			c.Pending = n
		case store.Dead.String():
			c.Dead = n
		case store.Discarded.String():
			c.Discarded = n
		}
		counts[k.Target] = c
	}
	return counts
}
