package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// Citizen is what is known of one.
func (s *Store) Citizen(ctx context.Context, source, citizenID string) (consent.Citizen, error) {
	of := seal.Who{Source: source, CitizenID: citizenID}
	var body []byte
	r, err := scanCitizen(s.db.QueryRowContext(ctx, `SELECT id, `+citizenColumns+`, body FROM citizen
		WHERE source = ? AND citizen_id = ?`, source, citizenID), &body)
	if errors.Is(err, sql.ErrNoRows) {
		return consent.Citizen{}, store.ErrNotFound
	}
	if err != nil {
		return consent.Citizen{}, err
	}
	r.Who = of
	c, err := openCitizen(s.seal, r)
	if err != nil {
		return c, err
	}
	c.Body, err = s.seal.Open(of.In(seal.Body), body)
	return c, err
}

// Citizens lists citizens in the order of their numbers.
func (s *Store) Citizens(ctx context.Context, after int64, limit int) ([]store.Known, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, source, citizen_id, version, body FROM citizen WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []store.Known
	for rows.Next() {
		var k store.Known
		var body []byte
		if err := rows.Scan(&k.Number, &k.Source, &k.CitizenID, &k.Version, &body); err != nil {
			return nil, err
		}
		k.Body, _ = s.seal.Open(seal.Who{Source: k.Source, CitizenID: k.CitizenID}.In(seal.Body), body)
		all = append(all, k)
	}
	return all, rows.Err()
}

// Extent is how many citizens are known, and the newest version ever given to one. Neither reads the citizens' pages.
func (s *Store) Extent(ctx context.Context) (e store.Extent, err error) {
	var newest []byte
	err = s.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM citizen), value FROM meta WHERE name = 'version'`).Scan(&e.Citizens, &newest)
	if errors.Is(err, sql.ErrNoRows) {
		return e, nil // no update was ever taken in
	}
	if err == nil {
		e.Newest = int64(binary.BigEndian.Uint64(newest))
	}
	return e, err
}

// Held is how many citizens have grants that are held.
func (s *Store) Held(ctx context.Context) (n int, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT count(*) FROM citizen WHERE held IS NOT NULL`).Scan(&n)
	return n, err
}

// ReleaseHeld lets the held grants of a citizen through.
func (s *Store) ReleaseHeld(ctx context.Context, source, citizenID string, now time.Time) error {
	return s.do(ctx, func(w *writer) error {
		r, err := scanCitizen(w.stmts.selectCitizen.QueryRow(source, citizenID))
		if errors.Is(err, sql.ErrNoRows) || err == nil && r.held == nil {
			return store.ErrNotFound
		}
		if err != nil {
			return dbError{err}
		}
		r.Who = seal.Who{Source: source, CitizenID: citizenID}
		routes, err := s.routesOf(source)
		if err != nil {
			return err
		}
		return w.again(r, routes, func(c consent.Citizen) (consent.Applied, error) { return consent.Release(c, now) })
	})
}

// NextTick is when Tick finds something.
func (s *Store) NextTick(ctx context.Context) (time.Time, error) {
	var next sql.NullInt64
	err := s.db.QueryRowContext(ctx, `SELECT min(next) FROM citizen WHERE next IS NOT NULL`).Scan(&next)
	return instant(next.Int64), err
}

// Tick looks again at citizens of whom a validity window has begun or ended.
func (s *Store) Tick(ctx context.Context, now time.Time, limit int) (found int, err error) {
	var unreadable error
	err = s.do(ctx, func(w *writer) error {
		due, err := gather(w, func(rows *sql.Rows) (citizenRow, error) {
			var of seal.Who
			r, err := scanCitizen(rows, &of.Source, &of.CitizenID)
			r.Who = of
			return r, err
		}, `SELECT id, `+citizenColumns+`, source, citizen_id FROM citizen WHERE next IS NOT NULL AND next <= ? ORDER BY next LIMIT ?`, micros(now), limit)
		if err != nil {
			return err
		}
		found = len(due)
		for _, r := range due {
			routes, err := s.routesOf(r.Source)
			if err != nil {
				return err
			}
			err = w.again(r, routes, func(c consent.Citizen) (consent.Applied, error) { return consent.Tick(c, now) })
			if db := (dbError{}); errors.As(err, &db) {
				return err
			}
			if err != nil {
				// One that cannot be read must not hold up the others; it is not looked at again.
				unreadable = errors.Join(unreadable, err)
				if _, err := w.change(`UPDATE citizen SET next = NULL WHERE id = ?`, r.id); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return found, errors.Join(err, unreadable)
}

// again makes a new version of a citizen without a new update.
func (w *writer) again(r citizenRow, routes []store.Route, make func(consent.Citizen) (consent.Applied, error)) error {
	c, err := openCitizen(w.seal, r)
	if err != nil {
		return err
	}
	if c.Body, err = w.body(r.id, r.Who); err != nil {
		return err
	}
	a, err := make(c)
	if err != nil {
		return fmt.Errorf("look again at a citizen: %w", err)
	}
	if err := w.update(r.id, r.Who, c, a.Citizen); err != nil {
		return err
	}
	return w.wanted(r.id, false, a, routes)
}

// Deliveries are all deliveries of one citizen, by rule.
func (s *Store) Deliveries(ctx context.Context, source, citizenID string) ([]store.Delivery, error) {
	return s.deliveries(ctx, `WHERE c.source = ? AND c.citizen_id = ? ORDER BY d.rule`, source, citizenID)
}

// deliveries lists those that a condition on delivery d and citizen c chooses.
func (s *Store) deliveries(ctx context.Context, where string, args ...any) ([]store.Delivery, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+deliveryColumns+` FROM delivery d JOIN citizen c ON c.id = d.citizen `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []store.Delivery
	for rows.Next() {
		d, err := scanDelivery(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, rows.Err()
}
