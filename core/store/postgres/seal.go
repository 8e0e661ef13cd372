package postgres

import (
	"bytes"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store/internal/seal"
)

// keyRows are the rows of meta that say which keys are in use, by what follows seal.KeyRows in their names.
func keyRows(ctx context.Context, db querier) (map[string][]byte, error) {
	all := map[string][]byte{}
	_, err := collect(ctx, db, func(r pgx.CollectableRow) (struct{}, error) {
		var name string
		var canary []byte
		err := r.Scan(&name, &canary)
		all[name] = canary
		return struct{}{}, err
	}, `SELECT substr(name, $1), value FROM meta WHERE starts_with(name, $2)`, len(seal.KeyRows)+1, seal.KeyRows)
	return all, err
}

// useKeys notes the key that seals from now on, and brings HashKey under it. It says how many keys are in use.
func (s *Store) useKeys(ctx context.Context) (inUse int, err error) {
	err = s.commit(ctx, nil, func(t *tx) error {
		// Of two replicas that make the store the second waits here for the first.
		if _, err := t.change(`INSERT INTO meta (name, value) VALUES ('hash_key', '') ON CONFLICT (name) DO UPDATE SET value = meta.value`); err != nil {
			return err
		}
		rows, err := keyRows(t.ctx, t.conn)
		if err != nil {
			return err
		}
		if _, err := s.sealer.Check(rows); err != nil {
			return err
		}
		var stored []byte
		if _, err := t.row([]any{&stored}, `SELECT value FROM meta WHERE name = 'hash_key'`); err != nil {
			return err
		}
		if len(stored) == 0 {
			stored = nil
		}
		key, anew, err := s.sealer.HashKey(stored)
		if err != nil {
			return err
		}
		if anew != nil {
			t.write.Queue(`UPDATE meta SET value = $1 WHERE name = 'hash_key'`, anew)
		}
		name := s.sealer.First().Name()
		if _, known := rows[name[len(seal.KeyRows):]]; !known {
			rows[name[len(seal.KeyRows):]] = nil
		}
		t.write.Queue(`INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, s.sealer.Canary())
		s.key, inUse = key, len(rows)
		return nil
	})
	return inUse, err
}

// Reseal brings up to limit citizens, and as many quarantined bodies, under the key that seals now. A key that another
// replica still seals with stays in use.
func (s *Store) Reseal(ctx context.Context, limit int) (more bool, err error) {
	s.resealMu.Lock()
	defer s.resealMu.Unlock()
	if s.resealed.Ended {
		return false, nil
	}
	at := s.resealed
	err = s.commit(ctx, nil, func(t *tx) error {
		at = s.resealed
		citizens, err := t.resealCitizens(&at, limit)
		if err != nil {
			return err
		}
		quarantined, err := t.resealBodies(&at.Damaged, &at.Quarantined, limit, `quarantine`, `body`, `source, digest`, func(source string, digest []byte) seal.Place {
			return seal.Quarantined(source, digest)
		})
		if err != nil || citizens == limit || quarantined == limit {
			return err
		}
		// All open requests at once: they are few.
		var last int64
		if _, err := t.resealBodies(&at.Damaged, &last, 1<<30, `erasure`, `records`, `''::text, subject`, func(_ string, subject []byte) seal.Place {
			return seal.Erased(subject)
		}); err != nil {
			return err
		}
		if at.Ended = true; !at.Damaged {
			t.write.Queue(`DELETE FROM meta WHERE starts_with(name, $1) AND name <> $2 AND substr(name, $3) NOT IN (SELECT seals FROM replica)`,
				seal.KeyRows, t.sealer.First().Name(), len(seal.KeyRows)+1)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	s.resealed = at
	return at.More()
}

func (t *tx) resealCitizens(at *seal.Pass, limit int) (found int, err error) {
	type row struct {
		id int64
		seal.Who
		values [4][]byte
	}
	all, err := gather(t, func(r pgx.CollectableRow) (c row, err error) {
		var citizenID []byte
		err = r.Scan(&c.id, &c.Source, &citizenID, &c.values[0], &c.values[1], &c.values[2], &c.values[3])
		c.CitizenID = string(citizenID)
		return c, err
	}, `SELECT id, source, citizen_id, digest, grants, held, body FROM citizen WHERE id > $1 AND version > 0 ORDER BY id LIMIT $2 FOR UPDATE`, at.Citizen, limit)
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		at.Citizen = r.id
		if !slices.ContainsFunc(r.values[:], t.sealer.Stale) {
			continue
		}
		for i, column := range []string{seal.Digest, seal.Grants, seal.Held, seal.Body} {
			moved, err := t.sealer.Move(r.In(column), r.values[i])
			if err != nil {
				at.Damaged = true
				continue
			}
			r.values[i] = moved
		}
		t.write.Queue(`UPDATE citizen SET digest = $2, grants = $3, held = $4, body = $5 WHERE id = $1`, r.id, r.values[0], r.values[1], r.values[2], r.values[3])
	}
	return len(all), nil
}

// resealBodies brings a column of a table under the key; its place is made of two others.
func (t *tx) resealBodies(damaged *bool, last *int64, limit int, table, column, of string, place func(string, []byte) seal.Place) (found int, err error) {
	type row struct {
		id         int64
		source     string
		key, value []byte
	}
	all, err := gather(t, func(r pgx.CollectableRow) (b row, err error) {
		err = r.Scan(&b.id, &b.source, &b.key, &b.value)
		return b, err
	}, `SELECT id, `+of+`, `+column+` FROM `+table+` WHERE id > $1 ORDER BY id LIMIT $2 FOR UPDATE`, *last, limit)
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		*last = r.id
		if !t.sealer.Stale(r.value) {
			continue
		}
		moved, err := t.sealer.Move(place(r.source, r.key), r.value)
		if err != nil {
			*damaged = true
			continue
		}
		t.write.Queue(`UPDATE `+table+` SET `+column+` = $2 WHERE id = $1`, r.id, bytes.Clone(moved))
	}
	return len(all), nil
}
