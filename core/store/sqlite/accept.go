package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/seal"
	"github.com/consentd/consentd/core/store/internal/states"
)

// Accept applies the update to its citizen and makes one delivery for each route of its source pending.
func (s *Store) Accept(ctx context.Context, u consent.Update) (consent.Verdict, error) {
	var verdict consent.Verdict
	err := s.do(ctx, func(w *writer) error {
		routes, err := s.routesOf(u.Source)
		if err == nil {
			verdict, err = w.accept(u, routes)
		}
		return err
	})
	return verdict, err
}

func (w *writer) accept(u consent.Update, routes []store.Route) (consent.Verdict, error) {
	var known *consent.Citizen
	of := seal.Who{Source: u.Source, CitizenID: string(u.State.CitizenID)}
	row, err := scanCitizen(w.stmts.selectCitizen.QueryRow(of.Source, of.CitizenID))
	id := row.id
	row.Who = of
	switch {
	case err == nil:
		c, err := openCitizen(w.seal, row)
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
			w.ledger.Supersede(routes)
			return consent.Superseded, nil
		}
	}
	applied, err := consent.Apply(known, u)
	if err != nil {
		return 0, fmt.Errorf("apply update: %w", err)
	}
	if applied.Verdict != consent.Accepted {
		w.ledger.Supersede(routes)
		return applied.Verdict, nil
	}
	if known == nil {
		res, err := w.stmts.insertCitizen.Exec(append([]any{number, of.Source, of.CitizenID}, w.values(of, applied.Citizen)...)...)
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

// update writes a citizen's new version. Columns that are in indexes are left alone where they do not change,
// since SQLite would write the indexes anew all the same.
func (w *writer) update(id int64, of seal.Who, known, c consent.Citizen) error {
	if known.Next.Equal(c.Next) && known.Held == nil && c.Held == nil {
		w.version++
		return w.exec(w.stmts.updateState, w.version, micros(c.SentAt), micros(c.Proven), micros(c.Evidence), micros(c.Received),
			w.seal.Seal(of.In(seal.Digest), c.Digest[:]), w.seal.Seal(of.In(seal.Grants), []byte(c.Grants)),
			w.seal.Seal(of.In(seal.Body), c.Body), id)
	}
	return w.exec(w.stmts.updateCitizen, append(w.values(of, c), id)...)
}

// values are a citizen's columns in a new version, in the order of the statements.
func (w *writer) values(of seal.Who, c consent.Citizen) []any {
	w.version++
	return []any{w.version, micros(c.SentAt), micros(c.Proven), micros(c.Evidence), micros(c.Received), nullable(c.Next),
		w.seal.Seal(of.In(seal.Digest), c.Digest[:]), w.seal.Seal(of.In(seal.Grants), []byte(c.Grants)),
		orNull(w.seal.Seal(of.In(seal.Held), c.Held)), w.seal.Seal(of.In(seal.Body), c.Body)}
}

// citizenRow is a citizen as stored, without the body; digest, grants and held may be sealed. Who it is of is for the
// caller to fill in.
type citizenRow struct {
	id int64
	seal.Who
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
func openCitizen(s seal.Sealer, r citizenRow) (consent.Citizen, error) {
	c := r.c
	digest, err := s.Open(r.Who.In(seal.Digest), r.digest)
	if err != nil {
		return c, err
	}
	grants, err := s.Open(r.Who.In(seal.Grants), r.grants)
	if err != nil {
		return c, err
	}
	copy(c.Digest[:], digest)
	c.Grants = string(grants)
	c.Held, err = s.Open(r.Who.In(seal.Held), r.held)
	return c, err
}

// body reads the newest state of a citizen.
func (w *writer) body(id int64, of seal.Who) ([]byte, error) {
	var stored []byte
	if err := w.stmts.selectBody.QueryRow(id).Scan(&stored); err != nil {
		return nil, dbError{err}
	}
	return w.seal.Open(of.In(seal.Body), stored)
}

// wanted makes the deliveries of a citizen's newest version pending, also those that are left of rules that are not in
// force. What was pending is replaced: it may have been attempted, so what the target holds is not known any more, and
// a withdrawal that it carried stays one until the target confirms something newer.
func (w *writer) wanted(id int64, first bool, a consent.Applied, routes []store.Route) error {
	w.states[id] = states.State{Version: w.version, State: a.State}
	var before []placed
	if !first {
		var err error
		if before, err = w.placed(id); err != nil {
			return err
		}
	}
	routes = slices.Clip(routes) // they are everybody's
	for _, p := range before {
		if !slices.ContainsFunc(routes, func(r store.Route) bool { return r.Rule == p.Rule }) {
			routes = append(routes, p.Route)
		}
	}
	received := micros(a.Citizen.Received)
	for _, r := range routes {
		if err := w.pending(id, r, placedBy(before, r.Rule), a.Withdrawal, w.version, received, received); err != nil {
			return err
		}
	}
	return nil
}

// placed is where a delivery of a citizen stands.
type placed struct {
	store.Route
	ledger.Standing
}

// placed are all of a citizen.
func (w *writer) placed(citizen int64) ([]placed, error) {
	rows, err := w.stmts.selectPlaced.Query(citizen)
	return collect(rows, err, func(rows *sql.Rows) (p placed, err error) {
		err = rows.Scan(&p.Rule, &p.Target, &p.Status, &p.Withdrawal)
		return p, err
	})
}

// placedBy is the one by a rule; nil if there is none.
func placedBy(all []placed, rule string) *placed {
	if i := slices.IndexFunc(all, func(p placed) bool { return p.Rule == rule }); i >= 0 {
		return &all[i]
	}
	return nil
}

// pending makes the delivery of (rule, citizen) pending for a version, in place of what was there before.
func (w *writer) pending(citizen int64, r store.Route, before *placed, withdrawal bool, version, due, since int64) (err error) {
	if before == nil {
		err = w.exec(w.stmts.insertDelivery, citizen, r.Rule, r.Target, withdrawal, version, due, since)
	} else {
		withdrawal = withdrawal || before.Withdrawal
		err = w.exec(w.stmts.replaceDelivery, r.Target, withdrawal, version, due, since, citizen, r.Rule)
		w.ledger.Leave(before.Target, before.Standing)
	}
	w.enter(r.Target, withdrawal)
	return err
}
