package sqlite

import (
	"context"
	"database/sql"

	"github.com/consentd/consentd/core/store"
)

// ledger counts, for each target, updates since ever and deliveries now. It is kept in the same commits as
// what it counts, so reading it costs nothing and it is right after a crash.
type ledger map[ledgerKey]int64

type ledgerKey struct{ target, entry string }

const (
	entryAccepted    = "accepted"
	entryDelivered   = "delivered"
	entrySuperseded  = "superseded"
	entryErased      = "erased"
	entryWithdrawals = "withdrawals"
)

func (l ledger) add(other ledger) {
	for k, n := range other {
		l[k] += n
	}
}

// standing is what the ledger counts of a delivery.
type standing struct {
	status     store.Status
	withdrawal bool
}

// count enters a delivery, or with n = -1 takes it out.
func (l ledger) count(target string, s standing, n int64) {
	if s.status != store.Settled {
		l[ledgerKey{target, s.status.String()}] += n
	}
	if s.withdrawal {
		l[ledgerKey{target, entryWithdrawals}] += n
	}
}

func readLedger(ctx context.Context, db *sql.DB) (ledger, error) {
	rows, err := db.QueryContext(ctx, "SELECT target, entry, n FROM ledger")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	l := ledger{}
	for rows.Next() {
		var k ledgerKey
		var n int64
		if err := rows.Scan(&k.target, &k.entry, &n); err != nil {
			return nil, err
		}
		l[k] = n
	}
	return l, rows.Err()
}

// Counts is how the deliveries of each target stand.
func (s *Store) Counts(ctx context.Context) (map[string]store.Counts, error) {
	s.mu.Lock()
	counts := map[string]store.Counts{}
	for k, n := range s.ledger {
		c := counts[k.target]
		switch k.entry {
		case entryAccepted:
			c.Accepted = n
		case entryDelivered:
			c.Delivered = n
		case entrySuperseded:
			c.Superseded = n
		case entryErased:
			c.Erased = n
		case entryWithdrawals:
			c.Withdrawals = n
		case store.Pending.String():
			c.Pending = n
		case store.Dead.String():
			c.Dead = n
		case store.Discarded.String():
			c.Discarded = n
		}
		counts[k.target] = c
	}
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
