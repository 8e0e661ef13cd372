package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
)

// ListHeld lists citizens who have grants that are held.
func (s *Store) ListHeld(ctx context.Context, after int64, limit int) ([]store.HeldCitizen, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, source, citizen_id, received FROM citizen
		WHERE held IS NOT NULL AND id > ? ORDER BY id LIMIT ?`, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []store.HeldCitizen
	for rows.Next() {
		var h store.HeldCitizen
		var received int64
		if err := rows.Scan(&h.Number, &h.Source, &h.CitizenID, &received); err != nil {
			return nil, err
		}
		h.Received = instant(received)
		all = append(all, h)
	}
	return all, rows.Err()
}

// Resend makes the deliveries of a citizen to a target pending under a version of their own, so that whatever is in
// flight is of an older one.
func (s *Store) Resend(ctx context.Context, target, source, citizenID string, withdrawal bool, now time.Time) (n int, err error) {
	err = s.do(ctx, func(w *writer) error {
		type row struct {
			citizen, delivery int64
			was               ledger.Standing
		}
		all, err := gather(w, func(rows *sql.Rows) (r row, err error) {
			err = rows.Scan(&r.citizen, &r.delivery, &r.was.Status, &r.was.Withdrawal)
			return r, err
		}, `SELECT c.id, d.id, d.status, d.withdrawal FROM citizen c JOIN delivery d ON d.citizen = c.id
			WHERE c.source = ? AND c.citizen_id = ? AND d.target = ?`, source, citizenID, target)
		if err != nil {
			return err
		}
		n = len(all)
		for _, r := range all {
			w.version++
			if _, err := w.change(`UPDATE citizen SET version = ? WHERE id = ?`, w.version, r.citizen); err != nil {
				return err
			}
			is := withdrawal || r.was.Withdrawal
			if _, err := w.change(`UPDATE delivery SET status = 0, withdrawal = ?1, desired = ?2, digest = NULL, next_attempt = ?3,
					since = CASE WHEN status IN (0, 2) THEN since ELSE ?3 END,
					attempts = 0, crashes = 0, failing_since = 0, reason = '', error = '' WHERE id = ?4`,
				is, w.version, micros(now), r.delivery); err != nil {
				return err
			}
			w.ledger.Leave(target, r.was)
			w.enter(target, is)
		}
		return nil
	})
	return n, err
}

// markName is how meta calls a mark.
func markName(name string) string { return "mark " + name }

// SetMark keeps a value of the daemon's own.
func (s *Store) SetMark(ctx context.Context, name string, value []byte) error {
	return s.do(ctx, func(w *writer) error {
		if value != nil {
			return w.exec(w.stmts.putMeta, markName(name), value)
		}
		_, err := w.change(`DELETE FROM meta WHERE name = ?`, markName(name))
		return err
	})
}

// Mark is a value that was kept.
func (s *Store) Mark(ctx context.Context, name string) (value []byte, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, markName(name)).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, err
}
