package postgres

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
)

// metaPruned says where the chain of receipts begins, once receipts were pruned.
const metaPruned = "pruned"

func readEnd(value []byte) end {
	if len(value) < 8 {
		return end{}
	}
	return end{int64(binary.BigEndian.Uint64(value)), value[8:]}
}

func (e end) value() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(e.receipts)), e.hash...)
}

// PruneReceipts removes the oldest receipts. The id and the hash of the newest one that was removed are committed with
// that, and the chain begins there.
func (s *Store) PruneReceipts(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	err = s.commit(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT pg_advisory_xact_lock(`+lockKey+`, $1)`, lockReceipts)
	}, func(t *tx) error {
		removed = 0
		var last end
		var over bool
		_, err := gather(t, func(r pgx.CollectableRow) (struct{}, error) {
			var e end
			var confirmed int64
			if err := r.Scan(&e.receipts, &e.hash, &confirmed); err != nil {
				return struct{}{}, err
			}
			if over = over || confirmed >= micros(before); !over {
				last = e
				removed++
			}
			return struct{}{}, nil
		}, `SELECT id, hash, confirmed FROM receipt ORDER BY id LIMIT $1`, limit)
		if err != nil || removed == 0 {
			return err
		}
		t.write.Queue(`DELETE FROM receipt WHERE id <= $1`, last.receipts)
		t.write.Queue(`INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, metaPruned, last.value())
		return nil
	})
	return removed, err
}

// PruneQuarantine removes the oldest entries.
func (s *Store) PruneQuarantine(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	err = s.commit(ctx, nil, func(t *tx) (err error) {
		removed, err = t.change(`DELETE FROM quarantine WHERE id IN (
			SELECT id FROM quarantine WHERE received < $1 ORDER BY received LIMIT $2 FOR UPDATE SKIP LOCKED)`, micros(before), limit)
		return err
	})
	return removed, err
}

// Shrink does nothing: PostgreSQL's own autovacuum keeps free space for what comes.
func (s *Store) Shrink(context.Context) (more bool, err error) { return false, nil }

// Size is what the tables and their indexes take. How much of that is free PostgreSQL does not tell cheaply.
func (s *Store) Size(ctx context.Context) (size store.Size, err error) {
	_, err = one(ctx, s.pool, []any{&size.Bytes}, `SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
		WHERE c.relkind = 'r' AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())`)
	return size, clean(err)
}

const (
	foldEvery  = 2 * time.Second
	scrubEvery = time.Minute
	// scrubTime is how long one VACUUM may take.
	scrubTime = time.Hour
)

// tidy does what is done by the clock: it tells the other replicas what changed, keeps the ledger short, and removes what the
// erased left in the tables.
func (s *Store) tidy() {
	fold, scrub := time.NewTicker(foldEvery), time.NewTicker(scrubEvery)
	defer fold.Stop()
	defer scrub.Stop()
	for {
		select {
		case <-s.hints.told:
			select {
			case <-time.After(tellEvery):
			case <-s.stop.Done():
			}
			s.tellOthers(s.stop)
		case <-fold.C:
			if err := s.fold(s.stop); err != nil && s.stop.Err() == nil {
				s.log.Debug("the ledger is not folded now", "error", err)
			}
		case <-scrub.C:
			s.vacuum(s.stop)
		case <-s.stop.Done():
			return
		}
	}
}

// vacuum frees what removed rows took, if somebody was erased since the last time.
func (s *Store) vacuum(ctx context.Context) {
	select {
	case <-s.scrub:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, scrubTime)
	defer cancel()
	if _, err := s.pool.Exec(ctx, `VACUUM citizen, delivery, quarantine, erasure, receipt`); err != nil && s.stop.Err() == nil {
		s.log.Warn("rows of erased citizens are gone, and their space could not be freed now; autovacuum will", "error", clean(err))
		hint(s.scrub)
	}
}
