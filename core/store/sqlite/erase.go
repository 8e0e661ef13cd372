package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/mentions"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// Erase removes all that is known of a citizen.
func (s *Store) Erase(ctx context.Context, source, citizenID string, at time.Time, ask func(consent.State) ([]store.ErasureRequest, error)) (store.Erased, error) {
	var done store.Erased
	err := s.do(ctx, func(w *writer) (err error) {
		done, err = s.erase(w, source, citizenID, at, ask)
		return err
	})
	if err == nil {
		err = s.scrub(ctx)
	}
	return done, err
}

func (s *Store) erase(w *writer, source, citizenID string, at time.Time, ask func(consent.State) ([]store.ErasureRequest, error)) (store.Erased, error) {
	var done store.Erased
	subject := store.Subject(w.key, source, citizenID)
	names := []string{citizenID}
	row, err := scanCitizen(w.stmts.selectCitizen.QueryRow(source, citizenID))
	id := row.id
	switch {
	case err == nil:
		done.Known = true
		body, err := w.body(id, seal.Who{Source: source, CitizenID: citizenID})
		if err != nil {
			return done, err
		}
		state, err := consent.Decode(body)
		if err != nil {
			return done, fmt.Errorf("read stored state: %w", err)
		}
		requests, err := ask(state)
		if err != nil {
			return done, err
		}
		if state.ExternalRef != "" {
			names = append(names, string(state.ExternalRef))
		}
		if err := w.forget(id); err != nil {
			return done, err
		}
		s.states.Drop(id)
		for _, r := range requests {
			if err := s.ask(w, id, subject, r, at); err != nil {
				return done, err
			}
			if !slices.Contains(done.Asked, r.Target) {
				done.Asked = append(done.Asked, r.Target)
			}
		}
	case !errors.Is(err, sql.ErrNoRows):
		return done, dbError{err}
	default:
		// A person may be erased before anything of them came in, or once more.
		if id, err = w.numberOf(subject); err != nil {
			return done, err
		}
	}
	if done.Quarantined, err = w.forgetQuarantined(source, names); err != nil {
		return done, err
	}
	for _, change := range []struct {
		query string
		args  []any
	}{
		{`UPDATE receipt SET digest = NULL, reference = NULL, transactions = NULL WHERE subject = ?`, []any{subject}},
		{`INSERT INTO tombstone (subject, citizen, erased) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET erased = max(erased, excluded.erased)`, []any{subject, id, micros(at)}},
	} {
		if _, err := w.change(change.query, change.args...); err != nil {
			return done, err
		}
	}
	return done, nil
}

// forget removes a citizen's rows; what their deliveries still owed is erased.
func (w *writer) forget(id int64) error {
	type row struct {
		target string
		was    ledger.Standing
	}
	all, err := gather(w, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.target, &r.was.Status, &r.was.Withdrawal)
		return r, err
	}, `SELECT target, status, withdrawal FROM delivery WHERE citizen = ?`, id)
	if err != nil {
		return err
	}
	for _, r := range all {
		w.ledger.Erase(r.target, r.was)
		w.changed[r.target] = true
	}
	for _, query := range []string{`DELETE FROM delivery WHERE citizen = ?`, `DELETE FROM citizen WHERE id = ?`} {
		if _, err := w.change(query, id); err != nil {
			return err
		}
	}
	delete(w.states, id)
	return nil
}

// numberOf is the number of somebody of whom there is no row: the one they had, or one that nobody gets.
func (w *writer) numberOf(subject []byte) (id int64, err error) {
	var erased int64
	err = w.stmts.selectTombstone.QueryRow(subject).Scan(&id, &erased)
	if err == nil {
		return id, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return 0, dbError{err}
	}
	// Numbers are AUTOINCREMENT's, which keeps the largest one given out here.
	err = w.conn.QueryRowContext(context.Background(), `SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'citizen'), 0) + 1`).Scan(&id)
	if err != nil {
		return 0, dbError{err}
	}
	query := `UPDATE sqlite_sequence SET seq = ? WHERE name = 'citizen'`
	if id == 1 {
		query = `INSERT INTO sqlite_sequence (seq, name) VALUES (?, 'citizen')`
	}
	if _, err := w.change(query, id); err != nil {
		return 0, err
	}
	return id, nil
}

// tombstone looks whether an update is of somebody who was erased: then number is the one they had, and
// stopped whether the update tells nothing newer than that.
func (w *writer) tombstone(u consent.Update) (number any, stopped bool, err error) {
	var id, erased int64
	err = w.stmts.selectTombstone.QueryRow(store.Subject(w.key, u.Source, string(u.State.CitizenID))).Scan(&id, &erased)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, false, nil
	case err != nil:
		return nil, false, dbError{err}
	}
	return id, !u.Outlives(instant(erased)), nil
}

// forgetQuarantined removes the bodies of a source that name somebody.
func (w *writer) forgetQuarantined(source string, names []string) (removed int, err error) {
	var last int64
	for {
		type row struct {
			id    int64
			names bool
		}
		page, err := gather(w, func(rows *sql.Rows) (r row, err error) {
			var digest, stored []byte
			if err := rows.Scan(&r.id, &digest, &stored); err != nil {
				return r, err
			}
			// One that does not open tells nobody's name either.
			if body, err := w.seal.Open(seal.Quarantined(source, digest), stored); err == nil {
				r.names = mentions.Any(body, names)
			}
			return r, nil
		}, `SELECT id, digest, body FROM quarantine WHERE source = ? AND id > ? ORDER BY id LIMIT 100`, source, last)
		if err != nil {
			return removed, err
		}
		for _, r := range page {
			last = r.id
			if !r.names {
				continue
			}
			if _, err := w.change(`DELETE FROM quarantine WHERE id = ?`, r.id); err != nil {
				return removed, err
			}
			removed++
		}
		if len(page) < 100 {
			return removed, nil
		}
	}
}
