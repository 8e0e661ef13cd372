package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// Resync makes deliveries pending again. Which ones is looked up beside the writer, since a target of few citizens
// may have to be looked for among those of many.
func (s *Store) Resync(ctx context.Context, f store.ResyncFilter, now time.Time) (store.Resynced, error) {
	var done store.Resynced
	if err := s.db.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM delivery`).Scan(&done.End); err != nil {
		return done, err
	}
	ids, err := s.toResync(ctx, f)
	if err != nil || len(ids) == 0 {
		return done, err
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return done, err
	}
	done.N, done.Last = len(ids), ids[len(ids)-1]
	return done, s.do(ctx, func(w *writer) error { return w.resync(string(list), now) })
}

func (s *Store) toResync(ctx context.Context, f store.ResyncFilter) (ids []int64, err error) {
	query, args := `SELECT id FROM delivery WHERE id > ?1 AND target = ?2 ORDER BY id LIMIT ?3`, []any{f.After, f.Target, pageLimit(f.Limit)}
	if f.CitizenID != "" {
		query = `SELECT d.id FROM delivery d JOIN citizen c ON c.id = d.citizen
			WHERE d.id > ?1 AND (?2 = '' OR d.target = ?2) AND c.source = ?4 AND c.citizen_id = ?5 ORDER BY d.id LIMIT ?3`
		args = append(args, f.Source, f.CitizenID)
	}
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// resync gives each delivery of a list a version of its own, so that whatever is in flight is of an older one.
func (w *writer) resync(ids string, now time.Time) error {
	type row struct {
		citizenRow
		delivery int64
		target   string
		was      ledger.Standing
	}
	all, err := gather(w, func(rows *sql.Rows) (r row, err error) {
		var of seal.Who
		r.citizenRow, err = scanCitizen(rows, &of.Source, &of.CitizenID, &r.delivery, &r.target, &r.was.Status, &r.was.Withdrawal)
		r.Who = of
		return r, err
	}, `SELECT c.id, c.sent_at, c.proven, c.evidence, c.received, c.next, c.digest, c.grants, c.held, c.source, c.citizen_id,
			d.id, d.target, d.status, d.withdrawal
		FROM json_each(?) chosen JOIN delivery d ON d.id = chosen.value JOIN citizen c ON c.id = d.citizen ORDER BY d.id`, ids)
	if err != nil {
		return err
	}
	for _, r := range all {
		due := now
		// Of a citizen that does not open nobody knows what they allow.
		if c, err := openCitizen(w.seal, r.citizenRow); err == nil && c.Refuses() && c.Received.Before(now) {
			due = c.Received
		}
		w.version++
		if _, err := w.change(`UPDATE citizen SET version = ? WHERE id = ?`, w.version, r.id); err != nil {
			return err
		}
		if _, err := w.change(`UPDATE delivery SET status = 0, desired = ?1, digest = NULL, next_attempt = ?2,
				since = CASE WHEN status IN (0, 2) THEN since ELSE ?3 END,
				attempts = 0, crashes = 0, failing_since = 0, outcome = ?5, reason = '', error = '' WHERE id = ?4`,
			w.version, micros(due), micros(now), r.delivery, store.OutcomeResync); err != nil {
			return err
		}
		w.ledger.Leave(r.target, r.was)
		w.enter(r.target, r.was.Withdrawal)
	}
	return nil
}

// metaPauses is the row in which pauses are kept.
const metaPauses = "pauses"

// SetPause notes a pause, or that there is none.
func (s *Store) SetPause(ctx context.Context, target string, p *store.Pause) error {
	return s.do(ctx, func(w *writer) error {
		all, err := readPauses(ctx, w.conn)
		if err != nil {
			return dbError{err}
		}
		delete(all, target)
		if p != nil {
			all[target] = *p
		}
		value, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return w.exec(w.stmts.putMeta, metaPauses, value)
	})
}

// Pauses are those that were set.
func (s *Store) Pauses(ctx context.Context) (map[string]store.Pause, error) {
	return readPauses(ctx, s.db)
}

func readPauses(ctx context.Context, from querier) (map[string]store.Pause, error) {
	all := map[string]store.Pause{}
	var value []byte
	err := from.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, metaPauses).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(value, &all)
}
