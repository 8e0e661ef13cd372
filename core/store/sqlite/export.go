package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/consentd/consentd/core/store/internal/seal"
)

// Export reads a store as it is in its file, what is sealed as it is sealed, for another kind of store to take over.
// As long as it is open no daemon can have the store.
type Export struct {
	db   *sql.DB
	lock *os.File
}

// OpenExport opens the store at path and changes nothing in it.
func OpenExport(ctx context.Context, path string) (_ *Export, err error) {
	s, err := openReader(path, nil)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			s.db.Close()
		}
	}()
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := upToDate(ctx, s.db); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return &Export{s.db, lock}, nil
}

func upToDate(ctx context.Context, db *sql.DB) error {
	provider, err := schema(db)
	if err != nil {
		return err
	}
	current, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	switch newest := newestVersion(provider); {
	case current > newest:
		return tooNew(current, newest)
	case current < newest:
		return fmt.Errorf("its schema is version %d, and this consentd has %d; start this consentd with it once, which brings it there", current, newest)
	}
	return nil
}

// Close gives the store free.
func (e *Export) Close() error { return errors.Join(e.db.Close(), e.lock.Close()) }

// Meta is the row of meta by that name; nil when there is none.
func (e *Export) Meta(ctx context.Context, name string) (value []byte, err error) {
	err = e.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, err
}

// Keys are the rows of meta that say which keys are in use, by their whole names.
func (e *Export) Keys(ctx context.Context) (map[string][]byte, error) {
	found, err := keyRows(ctx, e.db)
	all := map[string][]byte{}
	for id, canary := range found {
		all[seal.KeyRows+id] = canary
	}
	return all, err
}

// Numbers is the largest number of a table's rows that was ever given out.
func (e *Export) Numbers(ctx context.Context, table string) (n int64, err error) {
	err = e.db.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?`, table).Scan(&n)
	return n, err
}

// Count is how many rows a table has.
func (e *Export) Count(ctx context.Context, table string) (n int64, err error) {
	err = e.db.QueryRowContext(ctx, `SELECT count(*) FROM `+table).Scan(&n)
	return n, err
}

// Page reads some columns of up to limit rows of a table, in the order of one of them, after a value of it; nil begins.
func (e *Export) Page(ctx context.Context, table string, columns []string, order string, after any, limit int) ([][]any, error) {
	where, args := "", []any{limit}
	if after != nil {
		where, args = " WHERE "+order+" > ?2", append(args, after)
	}
	rows, err := e.db.QueryContext(ctx, `SELECT `+strings.Join(columns, ", ")+` FROM `+table+where+` ORDER BY `+order+` LIMIT ?1`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var page [][]any
	for rows.Next() {
		row, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		page = append(page, row)
	}
	return page, rows.Err()
}
