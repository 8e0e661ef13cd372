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
	var citizen, desired int64
	var target string
	var was standing
	id := st.Claim.ID
	err := w.stmts.selectSettle.QueryRow(id).Scan(&citizen, &target, &was.status, &was.withdrawal, &desired)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return dbError{err}
	}
	delivered := st.Claim.Delivered
	if st.Status == store.Settled {
		delivered = st.Claim.Desired
	}
	if desired > st.Claim.Desired {
		// A newer update came meanwhile and made it pending; this attempt only says what the target holds.
		if _, err := w.stmts.settleOlder.Exec(delivered, st.Digest, micros(st.At), st.Outcome, id); err != nil {
			return dbError{err}
		}
	} else {
		is := standing{st.Status, was.withdrawal && (st.Status == store.Pending || st.Status == store.Dead)}
		if _, err := w.stmts.settle.Exec(is.status, is.withdrawal, delivered, st.Digest, st.Attempts, st.Crashes,
			nullable(st.NextAttempt), micros(st.FailingSince), micros(st.At), st.Outcome, st.Reason, st.Error, id); err != nil {
			return dbError{err}
		}
		w.ledger.count(target, was, -1)
		w.ledger.count(target, is, 1)
		if is.status == store.Settled && was.status != store.Settled {
			w.ledger[ledgerKey{target, entryDelivered}]++
		}
	}
	w.changed[target] = true
	if r := st.Receipt; r != nil {
		if _, err := w.stmts.insertReceipt.Exec(citizen, r.Rule, r.Target, r.Version, micros(r.SentAt), micros(r.Received),
			micros(r.Confirmed), r.Withdrawal, r.Outcome, r.Digest, r.Plugin, r.Reference, r.Config); err != nil {
			return dbError{err}
		}
	}
	return nil
}
