package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/consentd/consentd/core/store"
)

// Survey counts what a person has to see to. The index keeps it from reading what is settled, which is nearly everything.
func (s *Store) Survey(ctx context.Context) (store.Survey, error) {
	out := store.Survey{OldestPending: map[string]time.Time{}, Dead: map[string]map[string]int64{}, Quarantined: map[string]int64{}}
	err := s.each(ctx, func(rows *sql.Rows) error {
		var target string
		var since int64
		err := rows.Scan(&target, &since)
		out.OldestPending[target] = instant(since)
		return err
	}, `SELECT target, min(since) FROM delivery INDEXED BY delivery_due WHERE next_attempt IS NOT NULL AND status = 0 GROUP BY target`)
	if err != nil {
		return out, err
	}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var target, reason string
		var n int64
		err := rows.Scan(&target, &reason, &n)
		if out.Dead[target] == nil {
			out.Dead[target] = map[string]int64{}
		}
		out.Dead[target][reason] = n
		return err
	}, `SELECT target, reason, count(*) FROM delivery INDEXED BY delivery_dead WHERE status = 2 GROUP BY target, reason`)
	if err != nil {
		return out, err
	}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var source string
		var n int64
		err := rows.Scan(&source, &n)
		out.Quarantined[source] = n
		return err
	}, `SELECT source, count(*) FROM quarantine GROUP BY source`)
	return out, err
}

func (s *Store) each(ctx context.Context, row func(*sql.Rows) error, query string) error {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
