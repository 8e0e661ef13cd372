package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/consentd/consentd/core/store/internal/seal"
)

// reseal is how far the pass has come that brings everything under the first key.
type reseal struct {
	citizen, quarantined int64
	ended                bool
	// damaged is whether some value could not be opened: then its key stays in use.
	damaged bool
}

// Reseal brings up to limit citizens, and as many quarantined bodies, under the key that seals now.
func (s *Store) Reseal(ctx context.Context, limit int) (more bool, err error) {
	s.resealMu.Lock()
	defer s.resealMu.Unlock()
	var at reseal
	err = s.do(ctx, func(w *writer) error {
		at = s.resealed
		if at.ended {
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
		at.ended = true
		if at.damaged {
			return nil
		}
		return w.exec(w.stmts.endKeys, len(seal.KeyRows), seal.KeyRows, w.seal.First().Name())
	})
	if err != nil {
		return false, err
	}
	s.resealed = at
	if at.ended && at.damaged {
		return false, errors.New("values that cannot be opened were left as they are; consentd store verify counts them")
	}
	return !at.ended, nil
}

func (w *writer) resealCitizens(at *reseal, limit int) (found int, err error) {
	type row struct {
		id int64
		seal.Who
		values [4][]byte
	}
	all, err := gather(w, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.id, &r.Source, &r.CitizenID, &r.values[0], &r.values[1], &r.values[2], &r.values[3])
		return r, err
	}, `SELECT id, source, citizen_id, digest, grants, held, body FROM citizen WHERE id > ? ORDER BY id LIMIT ?`, at.citizen, limit)
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		at.citizen = r.id
		if !slices.ContainsFunc(r.values[:], w.seal.Stale) {
			continue
		}
		args := []any{}
		for i, column := range []string{seal.Digest, seal.Grants, seal.Held, seal.Body} {
			moved, err := w.seal.Move(r.Who.In(column), r.values[i])
			if err != nil {
				at.damaged, moved = true, r.values[i]
			}
			args = append(args, orNull(moved))
		}
		if err := w.exec(w.stmts.resealCitizen, append(args, r.id)...); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

func (w *writer) resealQuarantine(at *reseal, limit int) (found int, err error) {
	type row struct {
		id           int64
		source       string
		digest, body []byte
	}
	all, err := gather(w, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.id, &r.source, &r.digest, &r.body)
		return r, err
	}, `SELECT id, source, digest, body FROM quarantine WHERE id > ? ORDER BY id LIMIT ?`, at.quarantined, limit)
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		at.quarantined = r.id
		if !w.seal.Stale(r.body) {
			continue
		}
		moved, err := w.seal.Move(seal.Quarantined(r.source, r.digest), r.body)
		if err != nil {
			at.damaged = true
			continue
		}
		if err := w.exec(w.stmts.resealQuarantine, moved, r.id); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// resealErasures brings all open requests under the key at once: they are few.
func (w *writer) resealErasures(at *reseal) error {
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
			at.damaged = true
			continue
		}
		if err := w.exec(w.stmts.resealErasure, moved, r.id); err != nil {
			return err
		}
	}
	return nil
}
