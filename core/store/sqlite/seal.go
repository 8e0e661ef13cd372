package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/consentd/consentd/core/store/internal/seal"
)

// keyRows are the rows of meta that say which keys are in use, by what follows seal.KeyRows in their names.
func keyRows(ctx context.Context, db querier) (map[string][]byte, error) {
	rows, err := db.QueryContext(ctx, `SELECT substr(name, ?), value FROM meta WHERE substr(name, 1, ?) = ?`,
		len(seal.KeyRows)+1, len(seal.KeyRows), seal.KeyRows)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string][]byte{}
	for rows.Next() {
		var name string
		var canary []byte
		if err := rows.Scan(&name, &canary); err != nil {
			return nil, err
		}
		all[name] = canary
	}
	return all, rows.Err()
}

// useKeys notes the key that seals from now on, and brings HashKey under it. It says how many keys are in use.
func useKeys(ctx context.Context, s seal.Sealer, db *sql.DB) (hashKey []byte, inUse int, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	defer tx.Rollback()
	rows, err := keyRows(ctx, tx)
	if err == nil {
		_, err = s.Check(rows)
	}
	if err != nil {
		return nil, 0, err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`, s.First().Name(), s.Canary()); err != nil {
		return nil, 0, err
	}
	if rows, err = keyRows(ctx, tx); err != nil {
		return nil, 0, err
	}
	var stored []byte
	if err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'hash_key'`).Scan(&stored); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, 0, err
	}
	hashKey, anew, err := s.HashKey(stored)
	if err != nil {
		return nil, 0, err
	}
	if anew != nil {
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('hash_key', ?) ON CONFLICT DO UPDATE SET value = excluded.value`, anew); err != nil {
			return nil, 0, err
		}
	}
	return hashKey, len(rows), tx.Commit()
}

// orNull is NULL for nil, which the driver takes for an empty blob.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
