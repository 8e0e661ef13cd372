package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/consentd/consentd/core/store"
)

// What is kept for a while only, and how the file follows.

// PruneReceipts removes the oldest receipts. The id and the hash of the newest one that was removed are committed with
// that, and the chain begins there.
func (s *Store) PruneReceipts(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	err = s.do(ctx, func(w *writer) error {
		type row struct {
			head
			confirmed int64
		}
		oldest, err := gather(w, func(rows *sql.Rows) (r row, err error) {
			err = rows.Scan(&r.receipts, &r.hash, &r.confirmed)
			return r, err
		}, `SELECT id, hash, confirmed FROM receipt ORDER BY id LIMIT ?`, limit)
		if err != nil {
			return err
		}
		removed = 0
		for _, r := range oldest {
			if r.confirmed >= micros(before) {
				break
			}
			removed++
		}
		if removed == 0 {
			return nil
		}
		last := oldest[removed-1]
		if _, err := w.change(`DELETE FROM receipt WHERE id <= ?`, last.receipts); err != nil {
			return err
		}
		return w.exec(w.stmts.putMeta, metaPruned, last.value())
	})
	return removed, err
}

// PruneQuarantine removes the oldest entries.
func (s *Store) PruneQuarantine(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	err = s.do(ctx, func(w *writer) (err error) {
		removed, err = w.change(
			`DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE received < ? ORDER BY received LIMIT ?)`, micros(before), limit)
		return err
	})
	return removed, err
}

const (
	// A file shrinks while a quarter of it and at least shrinkFrom pages, 8 MB, are free: pages that are free now
	// are mostly used again soon.
	shrinkFrom = 1000
	shrinkPart = 4
	// shrinkBy is how many pages one commit gives back.
	shrinkBy = 256
)

// Shrink gives some of the free pages back, if there are many.
func (s *Store) Shrink(ctx context.Context) (more bool, err error) {
	err = s.do(ctx, func(w *writer) error {
		pages, free, _, err := pageCounts(ctx, w.conn)
		if err != nil {
			return dbError{err}
		}
		more = free >= shrinkFrom && free*shrinkPart >= pages
		if !more {
			return nil
		}
		_, err = w.change(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", shrinkBy))
		return err
	})
	return more, err
}

func pageCounts(ctx context.Context, db querier) (pages, free, size int64, err error) {
	err = db.QueryRowContext(ctx, `SELECT page_count, freelist_count, page_size
		FROM pragma_page_count, pragma_freelist_count, pragma_page_size`).Scan(&pages, &free, &size)
	return pages, free, size, err
}

// Size is what the file and its log take on disk.
func (s *Store) Size(ctx context.Context) (store.Size, error) {
	var size store.Size
	_, free, page, err := pageCounts(ctx, s.db)
	if err != nil {
		return size, err
	}
	size.Free = free * page
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(s.path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return size, err
		}
		size.Bytes += info.Size()
	}
	return size, nil
}
