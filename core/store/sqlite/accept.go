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
	var known *consent.Citizen
	of := who{u.Source, string(u.State.CitizenID)}
	row, err := scanCitizen(w.stmts.selectCitizen.QueryRow(of.source, of.citizenID))
	id := row.id
	row.who = of
	switch {
	case err == nil:
		c, err := w.seal.openCitizen(row)
		if err == nil && u.ReadsBody(c) {
			c.Body, err = w.body(id, of)
		}
		if err != nil {
			return 0, err
		}
		known = &c
	case !errors.Is(err, sql.ErrNoRows):
		return 0, dbError{err}
	}
	var number any // NULL: the next one
	if known == nil {
		var stopped bool
		if number, stopped, err = w.tombstone(u); err != nil {
			return 0, err
		}
		if stopped {
			w.supersede(routes)
			return consent.Superseded, nil
		}
	}
	applied, err := consent.Apply(known, u)
	if err != nil {
		return 0, fmt.Errorf("apply update: %w", err)
	}
	if applied.Verdict != consent.Accepted {
		w.supersede(routes)
		return applied.Verdict, nil
	}
	if known == nil {
		res, err := w.stmts.insertCitizen.Exec(append([]any{number, of.source, of.citizenID}, w.values(of, applied.Citizen)...)...)
		if err != nil {
			return 0, dbError{err}
		}
		if id, err = res.LastInsertId(); err != nil {
			return 0, dbError{err}
		}
	} else if err := w.update(id, of, *known, applied.Citizen); err != nil {
		return 0, err
	}
	return consent.Accepted, w.wanted(id, known == nil, applied, routes)
}

// supersede enters an update that changes nothing into the ledger.
func (w *writer) supersede(routes []store.Route) {
	for _, r := range routes {
		w.ledger[ledgerKey{r.Target, entryAccepted}]++
		w.ledger[ledgerKey{r.Target, entrySuperseded}]++
	}
}

// update writes a citizen's new version. Columns that are in indexes are left alone where they do not change,
// since SQLite would write the indexes anew all the same.
func (w *writer) update(id int64, of who, known, c consent.Citizen) error {
	if known.Next.Equal(c.Next) && known.Held == nil && c.Held == nil {
		w.version++
		return w.exec(w.stmts.updateState, w.version, micros(c.SentAt), micros(c.Proven), micros(c.Evidence), micros(c.Received),
			w.seal.seal(place{columnDigest, of}, c.Digest[:]), w.seal.seal(place{columnGrants, of}, []byte(c.Grants)),
			w.seal.seal(place{columnBody, of}, c.Body), id)
	}
	return w.exec(w.stmts.updateCitizen, append(w.values(of, c), id)...)
}

// values are a citizen's columns in a new version, in the order of the statements.
func (w *writer) values(of who, c consent.Citizen) []any {
	w.version++
	return []any{w.version, micros(c.SentAt), micros(c.Proven), micros(c.Evidence), micros(c.Received), nullable(c.Next),
		w.seal.seal(place{columnDigest, of}, c.Digest[:]), w.seal.seal(place{columnGrants, of}, []byte(c.Grants)),
		orNull(w.seal.seal(place{columnHeld, of}, c.Held)), w.seal.seal(place{columnBody, of}, c.Body)}
}

// citizenRow is a citizen as stored, without the body; digest, grants and held may be sealed. Who it is of is for the
// caller to fill in.
type citizenRow struct {
	id int64
	who
	c                    consent.Citizen
	digest, grants, held []byte
}

// scanCitizen reads an id and citizenColumns, and then what else the query has.
func scanCitizen(row interface{ Scan(...any) error }, more ...any) (r citizenRow, err error) {
	var sentAt, proven, evidence, received int64
	var next sql.NullInt64
	err = row.Scan(append([]any{&r.id, &sentAt, &proven, &evidence, &received, &next, &r.digest, &r.grants, &r.held}, more...)...)
	r.c.SentAt, r.c.Proven, r.c.Evidence = instant(sentAt), instant(proven), instant(evidence)
	r.c.Received, r.c.Next = instant(received), instant(next.Int64)
	return r, err
}

// openCitizen opens what is sealed of a citizen.
func (s sealer) openCitizen(r citizenRow) (consent.Citizen, error) {
	c := r.c
	digest, err := s.open(place{columnDigest, r.who}, r.digest)
	if err != nil {
		return c, err
	}
	grants, err := s.open(place{columnGrants, r.who}, r.grants)
	if err != nil {
		return c, err
	}
	copy(c.Digest[:], digest)
	c.Grants = string(grants)
	c.Held, err = s.open(place{columnHeld, r.who}, r.held)
	return c, err
}

// body reads the newest state of a citizen.
func (w *writer) body(id int64, of who) ([]byte, error) {
	var stored []byte
	if err := w.stmts.selectBody.QueryRow(id).Scan(&stored); err != nil {
		return nil, dbError{err}
	}
	return w.seal.open(place{columnBody, of}, stored)
}

// wanted makes the deliveries of a citizen's newest version pending.
func (w *writer) wanted(id int64, first bool, a consent.Applied, routes []store.Route) error {
	w.states[id] = cachedState{w.version, a.State}
	for _, r := range routes {
		if err := w.want(id, first, r, a.Citizen, a.Withdrawal); err != nil {
			return err
		}
	}
	return nil
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
		w.leave(target, *before)
	}
	w.enter(r.Target, withdrawal)
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
