package sqlite

import (
	"context"
	"database/sql"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
)

// readLedger reads what is kept in the same commits as what it counts, so that it is right after a crash.
func readLedger(ctx context.Context, db *sql.DB) (ledger.Ledger, error) {
	rows, err := db.QueryContext(ctx, "SELECT target, entry, n FROM ledger")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	l := ledger.Ledger{}
	for rows.Next() {
		var k ledger.Key
		var n int64
		if err := rows.Scan(&k.Target, &k.Entry, &n); err != nil {
			return nil, err
		}
		l[k] = n
	}
	return l, rows.Err()
}

// Counts is how the deliveries of each target stand.
func (s *Store) Counts(ctx context.Context) (map[string]store.Counts, error) {
	s.mu.Lock()
	counts := s.ledger.Counts()
	s.mu.Unlock()
	for target, c := range counts {
		if c.Withdrawals == 0 {
			continue
		}
		var since sql.NullInt64
		if err := s.stmts.oldestWithdrawal.QueryRowContext(ctx, target).Scan(&since); err != nil {
			return nil, err
		}
		c.OldestWithdrawal = instant(since.Int64)
		counts[target] = c
	}
	return counts, nil
}

// Audit counts every delivery and compares that with the ledger, in one snapshot.
func (s *Store) Audit(ctx context.Context) (map[string]int64, error) {
	rows, err := s.db.QueryContext(ctx, `
		SELECT target, sum(n) FROM (
			SELECT target, CASE entry WHEN 'accepted' THEN n WHEN 'delivered' THEN -n WHEN 'superseded' THEN -n WHEN 'erased' THEN -n ELSE 0 END AS n FROM ledger
			UNION ALL
			SELECT target, -count(*) AS n FROM delivery WHERE status <> 1 GROUP BY target
		) GROUP BY target`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	off := map[string]int64{}
	for rows.Next() {
		var target string
		var n int64
		if err := rows.Scan(&target, &n); err != nil {
			return nil, err
		}
		off[target] = n
	}
	return off, rows.Err()
}
