package sqlite

import (
	"context"
	"time"

	"github.com/consentd/consentd/core/store"
)

// fuseChunk is how many deliveries one commit lets go, so that updates get their turn.
const fuseChunk = 1000

// Fuses says of each target whose fuse ever blew how it stands.
func (s *Store) Fuses(ctx context.Context) (map[string]store.Fuse, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT target, blown, released FROM fuse`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]store.Fuse{}
	for rows.Next() {
		var target string
		var blown, released int64
		if err := rows.Scan(&target, &blown, &released); err != nil {
			return nil, err
		}
		all[target] = store.Fuse{Blown: instant(blown), Released: instant(released)}
	}
	return all, rows.Err()
}

// Granted says when each delivery of a target was last settled as granted.
func (s *Store) Granted(ctx context.Context, target string, since time.Time) (map[int64]time.Time, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, granted FROM delivery INDEXED BY delivery_granted
		WHERE target = ? AND granted > 0 AND granted >= ?`, target, micros(since))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[int64]time.Time{}
	for rows.Next() {
		var id, at int64
		if err := rows.Scan(&id, &at); err != nil {
			return nil, err
		}
		all[id] = instant(at)
	}
	return all, rows.Err()
}

// RetryFuse makes what a target's fuse holds due now. It is not due, or this would not end.
func (s *Store) RetryFuse(ctx context.Context, target string, now time.Time) (int, error) {
	return s.letGo(ctx, target, `next_attempt IS NULL`, store.ReasonFuse, now, nil)
}

// ReleaseFuse makes a target's fuse whole, and what it holds due now. The fuse is whole with the commit that finds
// the last of it: what is held from then on has blown it anew.
func (s *Store) ReleaseFuse(ctx context.Context, target string, now time.Time) (int, error) {
	return s.letGo(ctx, target, `TRUE`, store.ReasonReleased, now, func(w *writer) error {
		_, err := w.change(`UPDATE fuse SET blown = 0, released = ? WHERE target = ?`, micros(now), target)
		return err
	})
}

// letGo makes what a target's fuse holds, of that what a condition chooses, due now for a reason. last is in the
// commit after which there is none left.
func (s *Store) letGo(ctx context.Context, target, where, reason string, now time.Time, last func(*writer) error) (all int, err error) {
	for {
		n := 0
		err := s.do(ctx, func(w *writer) (err error) {
			n, err = w.change(`UPDATE delivery SET next_attempt = ?, reason = ? WHERE id IN (
				SELECT id FROM delivery INDEXED BY delivery_waiting
				WHERE target = ? AND status = 0 AND reason <> '' AND reason = 'fuse' AND `+where+` LIMIT ?)`,
				micros(now), reason, target, fuseChunk)
			if n > 0 {
				w.changed[target] = true
			}
			if err == nil && n < fuseChunk && last != nil {
				err = last(w)
			}
			return err
		})
		all += n
		if err != nil || n < fuseChunk {
			return all, err
		}
	}
}
