package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
)

// ListHeld lists citizens who have grants that are held.
func (s *Store) ListHeld(ctx context.Context, after int64, limit int) ([]store.HeldCitizen, error) {
	all, err := collect(ctx, s.pool, func(r pgx.CollectableRow) (h store.HeldCitizen, err error) {
		var id []byte
		var received int64
		err = r.Scan(&h.Number, &h.Source, &id, &received)
		h.CitizenID, h.Received = string(id), instant(received)
		return h, err
	}, `SELECT id, source, citizen_id, received FROM citizen WHERE held IS NOT NULL AND id > $1 ORDER BY id LIMIT $2`, after, limit)
	return all, clean(err)
}

// Resend makes the deliveries of a citizen to a target pending under a version of their own, so that whatever is in
// flight is of an older one.
func (s *Store) Resend(ctx context.Context, target, source, citizenID string, withdrawal bool, now time.Time) (n int, err error) {
	err = s.commit(ctx, nil, func(t *tx) error {
		n, err = t.resend(target, source, citizenID, withdrawal, now)
		return err
	})
	return n, err
}

func (t *tx) resend(target, source, citizenID string, withdrawal bool, now time.Time) (int, error) {
	// Citizens are locked before deliveries, as everywhere.
	citizens, err := gather(t, pgx.RowTo[int64], `SELECT id FROM citizen WHERE source = $1 AND citizen_id = $2 FOR UPDATE`, source, []byte(citizenID))
	if err != nil || len(citizens) == 0 {
		return 0, err
	}
	type row struct {
		delivery int64
		was      placed
	}
	all, err := gather(t, func(r pgx.CollectableRow) (d row, err error) {
		err = r.Scan(&d.delivery, &d.was.target, &d.was.Status, &d.was.Withdrawal)
		return d, err
	}, `SELECT id, target, status, withdrawal FROM delivery WHERE citizen = $1 AND target = $2 ORDER BY id FOR UPDATE`, citizens[0], target)
	if err != nil {
		return 0, err
	}
	versions, err := gather(t, pgx.RowTo[int64], `SELECT nextval('version') FROM generate_series(1, $1::int)`, len(all))
	if err != nil {
		return 0, err
	}
	for i, r := range all {
		is := withdrawal || r.was.Withdrawal
		t.write.Queue(`UPDATE citizen SET version = $2 WHERE id = $1`, citizens[0], versions[i])
		t.write.Queue(`UPDATE delivery SET status = 0, withdrawal = $2, desired = $3, digest = NULL, next_attempt = $4,
				since = CASE WHEN status IN (0, 2) THEN since ELSE $4 END,
				attempts = 0, crashes = 0, failing_since = 0, reason = '', error = '' WHERE id = $1`,
			r.delivery, is, versions[i], micros(now))
		t.ledger.Leave(r.was.target, r.was.Standing)
		t.enter(r.was.target, is)
	}
	return len(all), nil
}

// markPrefix begins the names of the rows of meta in which marks are kept.
const markPrefix = "mark "

// SetMark keeps a value of the daemon's own.
func (s *Store) SetMark(ctx context.Context, name string, value []byte) error {
	return s.commit(ctx, nil, func(t *tx) error {
		if value == nil {
			t.write.Queue(`DELETE FROM meta WHERE name = $1`, markPrefix+name)
			return nil
		}
		t.write.Queue(`INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, markPrefix+name, value)
		return nil
	})
}

// Mark is a value that was kept.
func (s *Store) Mark(ctx context.Context, name string) (value []byte, err error) {
	_, err = one(ctx, s.pool, []any{&value}, `SELECT value FROM meta WHERE name = $1`, markPrefix+name)
	return value, clean(err)
}
