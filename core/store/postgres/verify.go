package postgres

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// Verify reads a whole store and looks for anything that is not as it should be. It changes nothing, and replicas may be
// at work. The error is only for a server that cannot be asked. That pages are whole PostgreSQL's own
// tools tell.
func Verify(ctx context.Context, o Options) ([]store.Check, error) {
	o.MaxConnections = cmp.Or(o.MaxConnections, DefaultConnections)
	pool, err := connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("verify store: %w", clean(err))
	}
	defer pool.Close()
	s := &Store{Options: o, pool: pool}
	var all []store.Check
	add := func(name, found string, err error) {
		c := store.Check{Name: name, Found: found}
		if err != nil {
			c.Problem = clean(err).Error()
		}
		all = append(all, c)
	}
	found, err := s.verifySchema(ctx)
	add("schema", found, err)
	if err != nil {
		return all, ctx.Err()
	}
	if s.sealer, err = seal.New(o.Keys); err == nil {
		found, err = s.verifyKeys(ctx)
	}
	add("keys", found, err)
	found, err = store.CheckReceipts(ctx, s)
	add("receipts", found, err)
	found, err = store.CheckLedger(ctx, s)
	add("ledger", found, err)
	found, err = s.verifyValues(ctx)
	add("values", found, err)
	return all, ctx.Err()
}

func (s *Store) verifySchema(ctx context.Context) (string, error) {
	db := stdlib.OpenDBFromPool(s.pool)
	defer db.Close()
	provider, err := schema(ctx, db, s.pool)
	if err != nil {
		return "", err
	}
	current, err := schemaVersion(ctx, s.pool)
	if err != nil {
		return "", err
	}
	found := fmt.Sprintf("version %d", current)
	switch newest := newestVersion(provider); {
	case current == 0:
		return "", fmt.Errorf("there is no store in this database; `consentd run` makes one")
	case current > newest:
		return found, compatible(ctx, s.pool, current, newest)
	case current < newest:
		return found + fmt.Sprintf(", which the next start brings to %d", newest), nil
	}
	return found, nil
}

func (s *Store) verifyKeys(ctx context.Context) (string, error) {
	rows, err := keyRows(ctx, s.pool)
	if err != nil {
		return "", err
	}
	found, err := s.sealer.InUse(rows)
	if err != nil {
		return "", err
	}
	var stored []byte
	if _, err := one(ctx, s.pool, []any{&stored}, `SELECT value FROM meta WHERE name = 'hash_key'`); err != nil {
		return "", err
	}
	s.key, err = s.sealer.Open(seal.HashKeyPlace, stored)
	return found, err
}

// verifyValues opens and decodes every value that may be sealed.
func (s *Store) verifyValues(ctx context.Context) (string, error) {
	var v store.CheckedValues
	for last := int64(0); ; {
		page, err := collect(ctx, s.pool, func(row pgx.CollectableRow) (int64, error) {
			var body []byte
			r, err := scanCitizen(row, &body)
			if err != nil {
				return 0, err
			}
			c, err := openWhole(s.sealer, r, body)
			if err == nil {
				err = store.CheckCitizen(c)
			}
			v.Add(err)
			return r.id, nil
		}, `SELECT `+citizenColumns+`, c.body FROM citizen c WHERE c.id > $1 ORDER BY c.id LIMIT $2`, last, verifyAt)
		if err != nil {
			return "", err
		}
		if v.Citizens += len(page); len(page) < verifyAt {
			break
		}
		last = page[len(page)-1]
	}
	for last := int64(0); ; {
		page, err := collect(ctx, s.pool, func(row pgx.CollectableRow) (id int64, err error) {
			var source string
			var digest, stored []byte
			var size int
			if err := row.Scan(&id, &source, &digest, &size, &stored); err != nil {
				return 0, err
			}
			body, err := s.sealer.Open(seal.Quarantined(source, digest), stored)
			if err == nil && len(body) != size {
				err = fmt.Errorf("a stored %s has another length", seal.Quarantine)
			}
			v.Add(err)
			return id, nil
		}, `SELECT id, source, digest, size, body FROM quarantine WHERE id > $1 ORDER BY id LIMIT $2`, last, verifyAt)
		if err != nil {
			return "", err
		}
		if v.Quarantined += len(page); len(page) < verifyAt {
			break
		}
		last = page[len(page)-1]
	}
	_, err := collect(ctx, s.pool, func(row pgx.CollectableRow) (struct{}, error) {
		var subject, stored []byte
		err := row.Scan(&subject, &stored)
		if err == nil {
			_, wrong := s.sealer.Open(seal.Erased(subject), stored)
			v.Add(wrong)
		}
		return struct{}{}, err
	}, `SELECT subject, records FROM erasure`)
	if err != nil {
		return "", err
	}
	return v.Found()
}
