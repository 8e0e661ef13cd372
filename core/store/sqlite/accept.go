package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// Accept applies the update to its citizen and makes one delivery for each route pending.
func (s *Store) Accept(ctx context.Context, u consent.Update, routes []store.Route) (consent.Verdict, error) {
	var verdict consent.Verdict
	err := s.do(ctx, func(w *writer) (err error) {
		verdict, err = w.accept(u, routes)
		return err
	})
	return verdict, err
}

func (w *writer) accept(u consent.Update, routes []store.Route) (consent.Verdict, error) {
	id, known, err := w.citizen(u)
	if err != nil {
		return 0, err
	}
	applied, err := consent.Apply(known, u)
	if err != nil {
		return 0, fmt.Errorf("apply update: %w", err)
	}
	if applied.Verdict != consent.Accepted {
		for _, r := range routes {
			w.ledger[ledgerKey{r.Target, entryAccepted}]++
			w.ledger[ledgerKey{r.Target, entrySuperseded}]++
		}
		return applied.Verdict, nil
	}
	w.version++
	c := applied.Citizen
	if known == nil {
		res, err := w.stmts.insertCitizen.Exec(u.Source, string(u.State.CitizenID), w.version,
			micros(c.SentAt), micros(c.Evidence), micros(c.Received), c.Digest[:], c.Grants, c.Body)
		if err != nil {
			return 0, dbError{err}
		}
		if id, err = res.LastInsertId(); err != nil {
			return 0, dbError{err}
		}
	} else if err := w.exec(w.stmts.updateCitizen, w.version,
		micros(c.SentAt), micros(c.Evidence), micros(c.Received), c.Digest[:], c.Grants, c.Body, id); err != nil {
		return 0, err
	}
	w.states[id] = cachedState{w.version, applied.State}
	for _, r := range routes {
		if err := w.want(id, known == nil, r, c, applied.Withdrawal); err != nil {
			return 0, err
		}
	}
	return consent.Accepted, nil
}

// citizen reads what is known of the update's citizen; nil if nothing.
func (w *writer) citizen(u consent.Update) (id int64, _ *consent.Citizen, _ error) {
	var c consent.Citizen
	var sentAt, evidence, received int64
	var digest []byte
	err := w.stmts.selectCitizen.QueryRow(u.Source, string(u.State.CitizenID)).
		Scan(&id, &sentAt, &evidence, &received, &digest, &c.Grants)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, dbError{err}
	}
	c.SentAt, c.Evidence, c.Received = instant(sentAt), instant(evidence), instant(received)
	copy(c.Digest[:], digest)
	if u.Type == consent.ConsentReceipts {
		if err := w.stmts.selectBody.QueryRow(id).Scan(&c.Body); err != nil {
			return 0, nil, dbError{err}
		}
	}
	return id, &c, nil
}

// want makes the delivery of (rule, citizen) pending for the newest version. What was pending is replaced:
// it may have been attempted, so what the target holds is not known any more, and a withdrawal that it
// carried stays one until the target confirms something newer.
func (w *writer) want(citizen int64, first bool, r store.Route, c consent.Citizen, withdrawal bool) error {
	before, target, err := w.standing(citizen, first, r)
	if err != nil {
		return err
	}
	received := micros(c.Received)
	if before == nil {
		err = w.exec(w.stmts.insertDelivery, citizen, r.Rule, r.Target, withdrawal, w.version, received, received)
	} else {
		withdrawal = withdrawal || before.withdrawal
		err = w.exec(w.stmts.replaceDelivery, r.Target, withdrawal, w.version, received, received, citizen, r.Rule)
		w.ledger.count(target, *before, -1)
		if before.status != store.Settled {
			w.ledger[ledgerKey{target, entrySuperseded}]++
		}
	}
	w.ledger[ledgerKey{r.Target, entryAccepted}]++
	w.ledger.count(r.Target, standing{store.Pending, withdrawal}, 1)
	w.changed[r.Target] = true
	return err
}

// standing is that of (rule, citizen) before, and its target then; nil if there is none.
func (w *writer) standing(citizen int64, first bool, r store.Route) (*standing, string, error) {
	if first {
		return nil, "", nil
	}
	var before standing
	var target string
	err := w.stmts.selectStanding.QueryRow(citizen, r.Rule).Scan(&before.status, &before.withdrawal, &target)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, "", nil
	case err != nil:
		return nil, "", dbError{err}
	}
	return &before, target, nil
}
