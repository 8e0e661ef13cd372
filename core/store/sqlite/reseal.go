package sqlite

import (
	"context"
	"database/sql"
	"slices"

	"github.com/consentd/consentd/core/store/internal/seal"
)

// Reseal brings up to limit citizens, and as many quarantined bodies, under the key that seals now.
func (s *Store) Reseal(ctx context.Context, limit int) (more bool, err error) {
	s.resealMu.Lock()
	defer s.resealMu.Unlock()
	var at seal.Pass
	err = s.do(ctx, func(w *writer) error {
		at = s.resealed
		if at.Ended {
			return nil
		}
		citizens, err := w.resealCitizens(&at, limit)
		if err != nil {
			return err
		}
		quarantined, err := w.resealQuarantine(&at, limit)
		if err != nil {
			return err
		}
		if citizens == limit || quarantined == limit {
			return nil
		}
		if err := w.resealErasures(&at); err != nil {
			return err
		}
		at.Ended = true
		if at.Damaged {
			return nil
		}
		return w.exec(w.stmts.endKeys, len(seal.KeyRows), seal.KeyRows, w.seal.First().Name())
	})
	if err != nil {
		return false, err
	}
	s.resealed = at
	return at.More()
}

func (w *writer) resealCitizens(at *seal.Pass, limit int) (found int, err error) {
	type row struct {
		id int64
		seal.Who
		values [4][]byte
	}
	all, err := gather(w, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.id, &r.Source, &r.CitizenID, &r.values[0], &r.values[1], &r.values[2], &r.values[3])
		return r, err
	}, `SELECT id, source, citizen_id, digest, grants, held, body FROM citizen WHERE id > ? ORDER BY id LIMIT ?`, at.Citizen, limit)
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		at.Citizen = r.id
		if !slices.ContainsFunc(r.values[:], w.seal.Stale) {
			continue
		}
		args := []any{}
		for i, column := range []string{seal.Digest, seal.Grants, seal.Held, seal.Body} {
			moved, err := w.seal.Move(r.Who.In(column), r.values[i])
			if err != nil {
				at.Damaged, moved = true, r.values[i]
			}
			args = append(args, orNull(moved))
		}
		if err := w.exec(w.stmts.resealCitizen, append(args, r.id)...); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

func (w *writer) resealQuarantine(at *seal.Pass, limit int) (found int, err error) {
	type row struct {
		id           int64
		source       string
		digest, body []byte
	}
	all, err := gather(w, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.id, &r.source, &r.digest, &r.body)
		return r, err
	}, `SELECT id, source, digest, body FROM quarantine WHERE id > ? ORDER BY id LIMIT ?`, at.Quarantined, limit)
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		at.Quarantined = r.id
		if !w.seal.Stale(r.body) {
			continue
		}
		moved, err := w.seal.Move(seal.Quarantined(r.source, r.digest), r.body)
		if err != nil {
			at.Damaged = true
			continue
		}
		if err := w.exec(w.stmts.resealQuarantine, moved, r.id); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// resealErasures brings all open requests under the key at once: they are few.
func (w *writer) resealErasures(at *seal.Pass) error {
	type row struct {
		id               int64
		subject, records []byte
	}
	all, err := gather(w, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.id, &r.subject, &r.records)
		return r, err
	}, `SELECT id, subject, records FROM erasure`)
	if err != nil {
		return err
	}
	for _, r := range all {
		if !w.seal.Stale(r.records) {
			continue
		}
		moved, err := w.seal.Move(seal.Erased(r.subject), r.records)
		if err != nil {
			at.Damaged = true
			continue
		}
		if err := w.exec(w.stmts.resealErasure, moved, r.id); err != nil {
			return err
		}
	}
	return nil
}
