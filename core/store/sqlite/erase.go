package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
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

// ask writes a request to a target, and holds the citizen's deliveries there back until it is settled.
func (s *Store) ask(w *writer, citizen int64, subject []byte, r store.ErasureRequest, at time.Time) error {
	records, err := json.Marshal(r.Records)
	if err != nil {
		return fmt.Errorf("encode records: %w", err)
	}
	if _, err := w.change(`INSERT INTO erasure (target, citizen, subject, rule, records, requested, next_attempt)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, r.Target, citizen, subject, r.Rule, w.seal.Seal(seal.Erased(subject), records), micros(at), micros(at)); err != nil {
		return err
	}
	s.claimMu.Lock()
	s.erasing.add(r.Target, citizen, 1)
	s.claimMu.Unlock()
	return nil
}

// erasing counts open requests by target and citizen. One too many only until the store is opened anew, if
// its commit failed.
type erasing map[string]map[int64]int

func (e erasing) add(target string, citizen int64, n int) {
	of := e[target]
	if of == nil {
		of = map[int64]int{}
		e[target] = of
	}
	if of[citizen] += n; of[citizen] <= 0 {
		delete(of, citizen)
	}
}

func readErasing(ctx context.Context, db *sql.DB) (erasing, error) {
	rows, err := db.QueryContext(ctx, `SELECT target, citizen FROM erasure`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	e := erasing{}
	for rows.Next() {
		var target string
		var citizen int64
		if err := rows.Scan(&target, &citizen); err != nil {
			return nil, err
		}
		e.add(target, citizen, 1)
	}
	return e, rows.Err()
}

// ClaimErasure hands out a request that is due.
func (s *Store) ClaimErasure(ctx context.Context, target string, now time.Time) (store.Erasure, error) {
	e := store.Erasure{ErasureRequest: store.ErasureRequest{Target: target}}
	s.claimMu.Lock()
	defer s.claimMu.Unlock()
	if len(s.erasing[target]) == 0 {
		return e, store.ErrNotFound
	}
	rows, err := s.db.QueryContext(ctx, `SELECT id, citizen, subject, rule, records, requested, attempts FROM erasure
		WHERE target = ? AND next_attempt <= ? ORDER BY next_attempt`, target, micros(now))
	if err != nil {
		return e, err
	}
	defer rows.Close()
	for rows.Next() {
		var records []byte
		var requested int64
		if err := rows.Scan(&e.ID, &e.Citizen, &e.Subject, &e.Rule, &records, &requested, &e.Attempts); err != nil {
			return e, err
		}
		if s.claims[target][e.Citizen] {
			continue // a delivery is in flight; it would undo the erasure
		}
		e.Requested = instant(requested)
		if records, err = s.seal.Open(seal.Erased(e.Subject), records); err != nil {
			return e, err
		}
		return e, json.Unmarshal(records, &e.Records)
	}
	if err := rows.Err(); err != nil {
		return e, err
	}
	return e, store.ErrNotFound
}

// SettleErasure commits what became of a request.
func (s *Store) SettleErasure(ctx context.Context, st store.ErasureSettlement) error {
	e := st.Erasure
	err := s.do(context.WithoutCancel(ctx), func(w *writer) error {
		if st.Receipt == nil {
			_, err := w.change(`UPDATE erasure SET attempts = ?, next_attempt = ?, error = ? WHERE id = ?`,
				st.Attempts, micros(st.NextAttempt), st.Error, e.ID)
			return err
		}
		if _, err := w.change(`DELETE FROM erasure WHERE id = ?`, e.ID); err != nil {
			return err
		}
		w.changed[e.Target] = true
		r := *st.Receipt
		r.Subject = e.Subject
		return w.receipt(r)
	})
	if err != nil || st.Receipt == nil {
		return err
	}
	s.claimMu.Lock()
	s.erasing.add(e.Target, e.Citizen, -1)
	s.claimMu.Unlock()
	s.hint(e.Target)
	return s.scrub(ctx)
}

// DropErasures gives up the requests of targets that are not among those given.
func (s *Store) DropErasures(ctx context.Context, targets []string) (dropped int, err error) {
	open, err := s.Erasures(ctx)
	if err != nil {
		return 0, err
	}
	for target := range open {
		if slices.Contains(targets, target) {
			continue
		}
		err := s.do(ctx, func(w *writer) error {
			_, err := w.change(`DELETE FROM erasure WHERE target = ?`, target)
			w.changed[target] = true
			return err
		})
		if err != nil {
			return dropped, err
		}
		dropped += int(open[target].N)
		s.claimMu.Lock()
		delete(s.erasing, target)
		s.claimMu.Unlock()
	}
	if dropped > 0 {
		err = s.scrub(ctx)
	}
	return dropped, err
}

// Erasures counts the open requests by target.
func (s *Store) Erasures(ctx context.Context) (map[string]store.OpenErasures, error) {
	// Of the other columns SQLite takes those of the row with the minimum (sqlite.org/lang_select.html, 2.5).
	rows, err := s.db.QueryContext(ctx, `SELECT target, count(*), min(requested), error FROM erasure GROUP BY target`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]store.OpenErasures{}
	for rows.Next() {
		var target string
		var oldest int64
		var o store.OpenErasures
		if err := rows.Scan(&target, &o.N, &oldest, &o.Error); err != nil {
			return nil, err
		}
		o.Oldest = instant(oldest)
		all[target] = o
	}
	return all, rows.Err()
}

// scrubFor is how long scrub waits for readers, looking every scrubEvery.
const (
	scrubFor   = 10 * time.Second
	scrubEvery = 20 * time.Millisecond
)

// scrub brings the log into the file and empties it. What was removed is overwritten in the file
// (secure_delete); the log would hold it until it is written over. The writer does it between two commits, and
// does not wait for readers: beside the writer it would make commits fail, and waiting would hold them up.
func (s *Store) scrub(ctx context.Context) error {
	err := errReading
	for until := time.Now().Add(scrubFor); errors.Is(err, errReading) && time.Now().Before(until); {
		if err = s.between(ctx, s.empty); errors.Is(err, errReading) {
			select {
			case <-time.After(scrubEvery):
			case <-ctx.Done():
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%w: erased, but the store's log still holds it: %w; do it again", store.ErrUnavailable, err)
	}
	return nil
}

var errReading = errors.New("it is being read")

// empty brings the whole log into the file and truncates it, unless it is being read.
func (s *Store) empty(w *writer) error {
	var busy, pages, done int
	err := w.waitForLocks(0)
	if err == nil {
		err = w.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &done)
	}
	if err == nil && busy != 0 {
		err = errReading
	}
	if err != nil && !errors.Is(err, errReading) && !passes(err) {
		s.poison.set(fmt.Errorf("bring the log into the file: %w", err))
	}
	return errors.Join(err, w.waitForLocks(busyTimeout))
}

// waitForLocks sets the busy timeout. SQLite does so when the statement is prepared, so each time anew.
func (w *writer) waitForLocks(ms int) error {
	_, err := w.change(fmt.Sprintf("PRAGMA busy_timeout(%d)", ms))
	return err
}
