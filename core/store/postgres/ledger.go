package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
)

// Counts is how the deliveries of each target stand: what was, and what was changed since.
func (s *Store) Counts(ctx context.Context) (map[string]store.Counts, error) {
	all := ledger.Ledger{}
	_, err := collect(ctx, s.pool, func(r pgx.CollectableRow) (struct{}, error) {
		var k ledger.Key
		var n int64
		err := r.Scan(&k.Target, &k.Entry, &n)
		all[k] = n
		return struct{}{}, err
	}, `SELECT target, entry, sum(n)::bigint FROM (SELECT target, entry, n FROM ledger UNION ALL SELECT target, entry, n FROM ledger_change) l GROUP BY target, entry`)
	if err != nil {
		return nil, clean(err)
	}
	counts := all.Counts()
	for target, c := range counts {
		if c.Withdrawals == 0 {
			continue
		}
		var since *int64
		if _, err := one(ctx, s.pool, []any{&since}, `SELECT min(since) FROM delivery WHERE target = $1 AND withdrawal`, target); err != nil {
			return nil, clean(err)
		}
		c.OldestWithdrawal = orZero(since)
		counts[target] = c
	}
	return counts, nil
}

// foldAt is how many changes are folded into the ledger at a time.
const foldAt = 10000

// fold adds changes to the ledger, unless another replica is at it.
func (s *Store) fold(ctx context.Context) error {
	return s.commit(ctx, nil, func(t *tx) error {
		var mine bool
		if _, err := t.row([]any{&mine}, `SELECT pg_try_advisory_xact_lock(`+lockKey+`, $1)`, lockFold); err != nil || !mine {
			return err
		}
		t.write.Queue(`WITH gone AS (
				DELETE FROM ledger_change WHERE id IN (SELECT id FROM ledger_change ORDER BY id LIMIT $1) RETURNING target, entry, n
			) INSERT INTO ledger AS l (target, entry, n) SELECT target, entry, sum(n) FROM gone GROUP BY target, entry
			ON CONFLICT (target, entry) DO UPDATE SET n = l.n + excluded.n`, foldAt)
		return nil
	})
}

// Audit counts every delivery and compares that with the ledger, in one snapshot.
func (s *Store) Audit(ctx context.Context) (map[string]int64, error) {
	off := map[string]int64{}
	_, err := collect(ctx, s.pool, func(r pgx.CollectableRow) (struct{}, error) {
		var target string
		var n int64
		err := r.Scan(&target, &n)
		off[target] = n
		return struct{}{}, err
	}, `SELECT target, sum(n)::bigint FROM (
			SELECT target, CASE entry WHEN 'accepted' THEN n WHEN 'delivered' THEN -n WHEN 'superseded' THEN -n WHEN 'erased' THEN -n ELSE 0 END AS n
			FROM (SELECT target, entry, n FROM ledger UNION ALL SELECT target, entry, n FROM ledger_change) l
			UNION ALL
			SELECT target, -count(*) AS n FROM delivery WHERE status <> 1 GROUP BY target
		) a GROUP BY target`)
	return off, clean(err)
}

// Waiting counts the pending deliveries of each target that wait for something else than it, by reason.
func (s *Store) Waiting(ctx context.Context) (map[string]map[string]int64, error) {
	return s.byReason(ctx, `SELECT target, reason, count(*) FROM delivery WHERE status = 0 AND reason <> '' GROUP BY target, reason`)
}

// byReason reads counts by target and reason.
func (s *Store) byReason(ctx context.Context, query string) (map[string]map[string]int64, error) {
	all := map[string]map[string]int64{}
	err := s.each(ctx, func(r pgx.CollectableRow) error {
		var target, reason string
		var n int64
		err := r.Scan(&target, &reason, &n)
		if all[target] == nil {
			all[target] = map[string]int64{}
		}
		all[target][reason] = n
		return err
	}, query)
	return all, err
}
