package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
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
	done, err := w.settleAs(st, ledger.Standing{Status: c.Status, Withdrawal: c.Withdrawal})
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
func (w *writer) settleAs(st store.Settlement, was ledger.Standing) (done bool, err error) {
	c := st.Claim
	is := was.Settled(st)
	res, err := w.stmts.settle.Exec(is.Status, is.Withdrawal, delivered(st), st.Digest, st.Attempts, st.Crashes,
		nullable(st.NextAttempt), micros(st.FailingSince), micros(st.At), st.Outcome, st.Reason, st.Error, st.Given,
		granted(st), c.ID, c.Desired, was.Status, was.Withdrawal)
	if err != nil {
		return false, dbError{err}
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	w.ledger.Settle(c.Target, was, is)
	return true, nil
}

// settleChanged settles a delivery that is not any more as it was claimed. When a newer update made it
// pending, this attempt only says what the target holds; when an operator moved it, it is settled from
// there. It is not done when the delivery is gone.
func (w *writer) settleChanged(st store.Settlement) (done bool, err error) {
	var was ledger.Standing
	var desired int64
	err = w.stmts.selectSettle.QueryRow(st.Claim.ID).Scan(&was.Status, &was.Withdrawal, &desired)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, dbError{err}
	case desired == st.Claim.Desired && was.Status == store.Discarded && st.Status != store.Settled:
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
