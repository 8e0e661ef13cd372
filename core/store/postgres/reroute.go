package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
)

// rerouteChunk is how many deliveries one commit of Reroute touches, so that updates get their turn.
const rerouteChunk = 1000

// fill makes a delivery for every citizen of the source who has none for the rule. It carries a withdrawal
// where another of the citizen's deliveries does: a rule that was renamed takes over what the old one owes.
func (s *Store) fill(ctx context.Context, source string, r store.Route, now time.Time, did *store.Rerouted) error {
	var last int64
	for {
		var found, made, withdrawals int
		var end int64
		err := s.commit(ctx, nil, func(t *tx) error {
			_, err := t.row([]any{&found, &end, &made, &withdrawals}, `WITH page AS (
					SELECT id, version, received FROM citizen WHERE id > $1 AND source = $2 AND version > 0 ORDER BY id LIMIT $3 FOR KEY SHARE
				), made AS (
					INSERT INTO delivery (citizen, rule, target, status, withdrawal, desired, next_attempt, since)
					SELECT p.id, $4, $5, 0, EXISTS (SELECT 1 FROM delivery o WHERE o.citizen = p.id AND o.withdrawal), p.version, $6, p.received FROM page p
					ON CONFLICT DO NOTHING RETURNING withdrawal
				) SELECT (SELECT count(*) FROM page)::int, (SELECT coalesce(max(id), 0) FROM page), count(*)::int, (count(*) FILTER (WHERE withdrawal))::int FROM made`,
				last, source, rerouteChunk, r.Rule, r.Target, micros(now))
			for n := range made {
				t.enter(r.Target, n < withdrawals)
			}
			return err
		})
		did.Filled += made
		if last = end; err != nil || found < rerouteChunk {
			return err
		}
	}
}

// retarget starts the rule's deliveries anew at another target.
func (s *Store) retarget(ctx context.Context, r store.Route, now time.Time, did *store.Rerouted) error {
	return s.eachOf(ctx, `rule = $2 AND target <> $3`, []any{r.Rule, r.Target}, func(t *tx, ids []int64, was []placed) {
		for _, p := range was {
			t.ledger.Leave(p.target, p.Standing)
			t.enter(r.Target, p.Withdrawal)
		}
		t.write.Queue(`UPDATE delivery SET target = $2, status = 0, next_attempt = $3, given = false, digest = NULL, delivered = 0,
			attempts = 0, crashes = 0, failing_since = 0, reason = '', error = '' WHERE id = ANY($1)`, ids, r.Target, micros(now))
	}, func(was []placed) { did.Filled += len(was) })
}

// remove ends the deliveries of a rule that is gone.
func (s *Store) remove(ctx context.Context, rule string, did *store.Rerouted) error {
	return s.eachOf(ctx, `rule = $2`, []any{rule}, func(t *tx, ids []int64, was []placed) {
		for _, p := range was {
			t.ledger.Leave(p.target, p.Standing)
		}
		t.write.Queue(`DELETE FROM delivery WHERE id = ANY($1)`, ids)
	}, func(was []placed) {
		did.Removed += len(was)
		for _, p := range was {
			if p.Withdrawal {
				did.Withdrawals++
			}
		}
	})
}

// eachOf changes the deliveries that a condition chooses, in the order of their ids, and counts what was committed.
func (s *Store) eachOf(ctx context.Context, where string, args []any, change func(t *tx, ids []int64, was []placed), count func([]placed)) error {
	last := int64(0)
	for {
		var ids []int64
		var was []placed
		err := s.commit(ctx, func(b *pgx.Batch) {
			ids, was = nil, nil
			b.Queue(`SELECT id, target, status, withdrawal FROM delivery WHERE id > $1 AND `+where+` ORDER BY id LIMIT `+strconv.Itoa(rerouteChunk)+` FOR UPDATE`,
				append([]any{last}, args...)...).Query(rows(func(r pgx.Rows) error {
				var id int64
				var p placed
				err := r.Scan(&id, &p.target, &p.Status, &p.Withdrawal)
				ids, was = append(ids, id), append(was, p)
				return err
			}))
		}, func(t *tx) error {
			if len(ids) > 0 {
				change(t, ids, was)
			}
			return nil
		})
		if err != nil {
			return err
		}
		count(was)
		if len(ids) < rerouteChunk {
			return nil
		}
		last = ids[len(ids)-1]
	}
}
