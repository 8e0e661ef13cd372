package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/consentd/consentd/core/store"
)

// Settle commits what became of claimed deliveries and ends their claims, also on error.
func (s *Store) Settle(ctx context.Context, settlements []store.Settlement) error {
	defer func() {
		for _, st := range settlements {
			s.unclaim(st.Claim.Target, st.Claim.Citizen)
		}
	}()
	// A settlement is not given up because its caller is: what happened at the target has happened.
	err := s.do(context.WithoutCancel(ctx), func(w *writer) error {
		for _, st := range settlements {
			if err := w.settle(st); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (w *writer) settle(st store.Settlement) error {
	c := st.Claim
	if st.Reason == store.ReasonFuse {
		if err := w.exec(w.stmts.blowFuse, c.Target, micros(st.At)); err != nil {
			return err
		}
	}
	done, err := w.settleAs(st, standing{c.Status, c.Withdrawal})
	if err == nil && !done {
		done, err = w.settleChanged(st)
	}
	if err != nil || !done {
		return err
	}
	w.changed[c.Target] = true
	if st.Receipt == nil {
		return nil
	}
	return w.receipt(*st.Receipt)
}

// settleAs settles the delivery if its desired version is the one claimed and it stands as given.
func (w *writer) settleAs(st store.Settlement, was standing) (done bool, err error) {
	c := st.Claim
	is := standing{st.Status, was.withdrawal && (st.Status == store.Pending || st.Status == store.Dead)}
	res, err := w.stmts.settle.Exec(is.status, is.withdrawal, delivered(st), st.Digest, st.Attempts, st.Crashes,
		nullable(st.NextAttempt), micros(st.FailingSince), micros(st.At), st.Outcome, st.Reason, st.Error, st.Given,
		granted(st), c.ID, c.Desired, was.status, was.withdrawal)
	if err != nil {
		return false, dbError{err}
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	w.ledger.count(c.Target, was, -1)
	w.ledger.count(c.Target, is, 1)
	if is.status == store.Settled && was.status != store.Settled {
		w.ledger[ledgerKey{c.Target, entryDelivered}]++
	}
	return true, nil
}

// settleChanged settles a delivery that is not any more as it was claimed. When a newer update made it
// pending, this attempt only says what the target holds; when an operator moved it, it is settled from
// there. It is not done when the delivery is gone.
func (w *writer) settleChanged(st store.Settlement) (done bool, err error) {
	var was standing
	var desired int64
	err = w.stmts.selectSettle.QueryRow(st.Claim.ID).Scan(&was.status, &was.withdrawal, &desired)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, dbError{err}
	case desired == st.Claim.Desired && was.status == store.Discarded && st.Status != store.Settled:
		return true, nil // an operator gave it up while it was in flight, in vain
	case desired == st.Claim.Desired:
		return w.settleAs(st, was)
	}
	return true, w.exec(w.stmts.settleOlder, delivered(st), st.Digest, micros(st.At), st.Outcome, st.Given, st.Status == store.Settled,
		granted(st), st.Claim.ID)
}

// delivered is the version that the target is known to hold from now on.
func delivered(st store.Settlement) int64 {
	if st.Status == store.Settled {
		return st.Claim.Desired
	}
	return st.Claim.Delivered
}

// granted is when a grant was sent; NULL leaves the column as it is.
func granted(st store.Settlement) any {
	if !st.Granted {
		return nil
	}
	return micros(st.At)
}
