package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
)

// deadWhere chooses by a store.DeadFilter: every condition is off for its zero value.
const deadWhere = `d.status = 2 AND ($1 = 0::bigint OR d.id = $1) AND ($2 = ''::text OR d.target = $2) AND ($3 = ''::text OR d.reason = $3)
	AND ($4::bytea = '' OR c.citizen_id = $4) AND d.id > $5 AND ($6 = 0::bigint OR d.settled_at < $6 AND NOT d.withdrawal)
	AND ($8 = ''::text OR d.rule = $8)`

func deadArgs(f store.DeadFilter) []any {
	return []any{f.ID, f.Target, f.Reason, []byte(f.CitizenID), f.After, micros(f.StoppedBefore), pageLimit(f.Limit), f.Rule}
}

// pageLimit reads 0 as no limit, which PostgreSQL writes as NULL.
func pageLimit(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

// ListDead lists dead letters in the order of their ids.
func (s *Store) ListDead(ctx context.Context, f store.DeadFilter) ([]store.Delivery, error) {
	return s.deliveries(ctx, `WHERE `+deadWhere+` ORDER BY d.id LIMIT $7`, deadArgs(f)...)
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
func (s *Store) endDead(ctx context.Context, f store.DeadFilter, to store.Status, next *int64) (moved int, err error) {
	err = s.commit(ctx, nil, func(t *tx) error {
		var ids []int64
		found, err := gather(t, func(r pgx.CollectableRow) (placed, error) {
			p := placed{Standing: ledger.Standing{Status: store.Dead}}
			var id int64
			err := r.Scan(&id, &p.target, &p.Withdrawal)
			ids = append(ids, id)
			return p, err
		}, `SELECT d.id, d.target, d.withdrawal FROM delivery d JOIN citizen c ON c.id = d.citizen WHERE `+deadWhere+`
			ORDER BY d.id LIMIT $7 FOR UPDATE OF d`, deadArgs(f)...)
		if err != nil {
			return err
		}
		for _, p := range found {
			t.ledger.Move(p.target, p.Standing, p.Ended(to))
			t.changed[p.target] = true
		}
		if moved = len(found); moved > 0 {
			t.write.Queue(`UPDATE delivery SET status = $2, withdrawal = withdrawal AND $3, next_attempt = $4, attempts = 0, crashes = 0, failing_since = 0
				WHERE id = ANY($1)`, ids, int16(to), to == store.Pending, next)
		}
		return nil
	})
	return moved, err
}
