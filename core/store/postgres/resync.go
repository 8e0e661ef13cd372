package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
)

// Resync makes deliveries pending again, each with a version of its own, so that whatever is in flight is of an older
// one.
func (s *Store) Resync(ctx context.Context, f store.ResyncFilter, now time.Time) (store.Resynced, error) {
	var done store.Resynced
	if _, err := one(ctx, s.pool, []any{&done.End}, `SELECT coalesce(max(id), 0) FROM delivery`); err != nil {
		return done, clean(err)
	}
	query, args := `SELECT id FROM delivery WHERE id > $1 AND target = $2 ORDER BY id LIMIT $3`, []any{f.After, f.Target, pageLimit(f.Limit)}
	if f.CitizenID != "" {
		query = `SELECT d.id FROM delivery d JOIN citizen c ON c.id = d.citizen
			WHERE d.id > $1 AND ($2 = ''::text OR d.target = $2) AND c.source = $4 AND c.citizen_id = $5 ORDER BY d.id LIMIT $3`
		args = append(args, f.Source, []byte(f.CitizenID))
	}
	ids, err := collect(ctx, s.pool, pgx.RowTo[int64], query, args...)
	if err != nil || len(ids) == 0 {
		return done, clean(err)
	}
	done.N, done.Last = len(ids), ids[len(ids)-1]
	return done, s.commit(ctx, nil, func(t *tx) error { return t.resync(ids, now) })
}

func (t *tx) resync(ids []int64, now time.Time) error {
	type row struct {
		citizenRow
		delivery int64
		was      placed
	}
	// Citizens are locked before deliveries, as everywhere.
	if _, err := t.change(`SELECT 1 FROM citizen c WHERE id IN (SELECT citizen FROM delivery WHERE id = ANY($1)) ORDER BY c.source, c.citizen_id FOR UPDATE`, ids); err != nil {
		return err
	}
	all, err := gather(t, func(r pgx.CollectableRow) (c row, err error) {
		c.citizenRow, err = scanCitizen(r, &c.delivery, &c.was.target, &c.was.Status, &c.was.Withdrawal)
		return c, err
	}, `SELECT `+citizenColumns+`, d.id, d.target, d.status, d.withdrawal FROM delivery d JOIN citizen c ON c.id = d.citizen
		WHERE d.id = ANY($1) ORDER BY d.id FOR UPDATE OF d`, ids)
	if err != nil {
		return err
	}
	versions, err := gather(t, pgx.RowTo[int64], `SELECT nextval('version') FROM generate_series(1, $1::int)`, len(all))
	if err != nil {
		return err
	}
	for i, r := range all {
		due := now
		// Of a citizen that does not open nobody knows what they allow.
		if c, err := openCitizen(t.sealer, r.citizenRow); err == nil && c.Refuses() && c.Received.Before(now) {
			due = c.Received
		}
		t.write.Queue(`UPDATE citizen SET version = $2 WHERE id = $1`, r.id, versions[i])
		t.write.Queue(`UPDATE delivery SET status = 0, desired = $2, digest = NULL, next_attempt = $3,
				since = CASE WHEN status IN (0, 2) THEN since ELSE $4 END,
				attempts = 0, crashes = 0, failing_since = 0, outcome = $5, reason = '', error = '' WHERE id = $1`,
			r.delivery, versions[i], micros(due), micros(now), store.OutcomeResync)
		t.ledger.Leave(r.was.target, r.was.Standing)
		t.enter(r.was.target, r.was.Withdrawal)
	}
	return nil
}

// pausePrefix begins the names of the rows of meta in which pauses are kept, a target each.
const pausePrefix = "pause "

// SetPause notes a pause, or that there is none.
func (s *Store) SetPause(ctx context.Context, target string, p *store.Pause) error {
	return s.commit(ctx, nil, func(t *tx) error {
		if p == nil {
			t.write.Queue(`DELETE FROM meta WHERE name = $1`, pausePrefix+target)
			return nil
		}
		value, err := json.Marshal(p)
		t.write.Queue(`INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, pausePrefix+target, value)
		return err
	})
}

// Pauses are those that were set.
func (s *Store) Pauses(ctx context.Context) (map[string]store.Pause, error) {
	all := map[string]store.Pause{}
	err := s.each(ctx, func(r pgx.CollectableRow) error {
		var target string
		var value []byte
		if err := r.Scan(&target, &value); err != nil {
			return err
		}
		var p store.Pause
		err := json.Unmarshal(value, &p)
		all[target] = p
		return err
	}, `SELECT substr(name, $2), value FROM meta WHERE starts_with(name, $1)`, pausePrefix, len(pausePrefix)+1)
	return all, err
}

// Survey counts what a person has to see to.
func (s *Store) Survey(ctx context.Context) (store.Survey, error) {
	out := store.Survey{OldestPending: map[string]time.Time{}, Dead: map[string]map[string]int64{}, Quarantined: map[string]int64{}}
	err := s.each(ctx, func(r pgx.CollectableRow) error {
		var target string
		var since int64
		err := r.Scan(&target, &since)
		out.OldestPending[target] = instant(since)
		return err
	}, `SELECT target, min(since) FROM delivery WHERE next_attempt IS NOT NULL AND status = 0 GROUP BY target`)
	if err != nil {
		return out, err
	}
	if out.Dead, err = s.byReason(ctx, `SELECT target, reason, count(*) FROM delivery WHERE status = 2 GROUP BY target, reason`); err != nil {
		return out, err
	}
	err = s.each(ctx, func(r pgx.CollectableRow) error {
		var source string
		var n int64
		err := r.Scan(&source, &n)
		out.Quarantined[source] = n
		return err
	}, `SELECT source, count(*) FROM quarantine GROUP BY source`)
	return out, err
}

// each visits what a query finds.
func (s *Store) each(ctx context.Context, visit func(pgx.CollectableRow) error, query string, args ...any) error {
	_, err := collect(ctx, s.pool, func(r pgx.CollectableRow) (struct{}, error) { return struct{}{}, visit(r) }, query, args...)
	return clean(err)
}
