package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
)

// deadWhere chooses by a store.DeadFilter: every condition is off for its zero value.
const deadWhere = `d.status = 2 AND (?1 = 0 OR d.id = ?1) AND (?2 = '' OR d.target = ?2) AND (?3 = '' OR d.reason = ?3)
	AND (?4 = '' OR c.citizen_id = ?4) AND d.id > ?5 AND (?6 = 0 OR d.settled_at < ?6 AND d.withdrawal = 0)
	AND (?7 = '' OR d.rule = ?7)`

func deadArgs(f store.DeadFilter) []any {
	return []any{f.ID, f.Target, f.Reason, f.CitizenID, f.After, micros(f.StoppedBefore), f.Rule}
}

// pageLimit reads 0 as no limit, which SQLite writes as -1.
func pageLimit(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// ListDead lists dead letters in the order of their ids.
func (s *Store) ListDead(ctx context.Context, f store.DeadFilter) ([]store.Delivery, error) {
	return s.deliveries(ctx, `WHERE `+deadWhere+` ORDER BY d.id LIMIT ?8`, append(deadArgs(f), pageLimit(f.Limit))...)
}

// ReplayDead makes the dead letters that match due now.
func (s *Store) ReplayDead(ctx context.Context, f store.DeadFilter, now time.Time) (int, error) {
	return s.endDead(ctx, f, store.Pending, nullable(now))
}

// DiscardDead ends the dead letters that match until a newer update comes.
func (s *Store) DiscardDead(ctx context.Context, f store.DeadFilter) (int, error) {
	return s.endDead(ctx, f, store.Discarded, nil)
}

// endDead moves the dead letters that match, in one commit. What is in flight keeps its claim.
func (s *Store) endDead(ctx context.Context, f store.DeadFilter, to store.Status, next any) (int, error) {
	moved := 0
	err := s.do(ctx, func(w *writer) error {
		type row struct {
			id     int64
			target string
			was    ledger.Standing
		}
		found, err := gather(w, func(rows *sql.Rows) (row, error) {
			r := row{was: ledger.Standing{Status: store.Dead}}
			err := rows.Scan(&r.id, &r.target, &r.was.Withdrawal)
			return r, err
		}, `SELECT d.id, d.target, d.withdrawal FROM delivery d JOIN citizen c ON c.id = d.citizen WHERE `+deadWhere+` ORDER BY d.id LIMIT ?8`,
			append(deadArgs(f), pageLimit(f.Limit))...)
		if err != nil {
			return err
		}
		for _, r := range found {
			is := r.was.Ended(to)
			if _, err := w.change(`UPDATE delivery SET status = ?, withdrawal = ?,
				next_attempt = ?, attempts = 0, crashes = 0, failing_since = 0 WHERE id = ?`,
				is.Status, is.Withdrawal, next, r.id); err != nil {
				return err
			}
			w.ledger.Move(r.target, r.was, is)
			w.changed[r.target] = true
		}
		moved = len(found)
		return nil
	})
	return moved, err
}
