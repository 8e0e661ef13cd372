package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/states"
)

const (
	// answerTime is how long the server may take to answer a transaction whole.
	answerTime = 15 * time.Second
	// tries is how often a transaction is begun anew that lost against another.
	tries = 8
)

// tx is a transaction under way: it has begun and read, and gathers what it is to write.
type tx struct {
	*Store
	ctx   context.Context
	conn  *pgx.Conn
	write *pgx.Batch
	// What it changes, beside what is queued already.
	ledger   ledger.Ledger
	changed  map[string]bool
	states   map[int64]states.State
	citizens []citizenWrite
	wants    []want
}

// commit runs one transaction in two messages to the server: the first begins and reads what is queued, and after decide
// the second writes and commits. An error of decide undoes all. Every other one wraps store.ErrUnavailable: nothing was
// committed, or, when the connection broke, it is not known whether it was; to ask again is right in both cases.
//
// It may run both functions several times, and ctx does not end it: what is under way is waited for.
func (s *Store) commit(ctx context.Context, read func(*pgx.Batch), decide func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	for n := 1; ; n++ {
		err := s.commitOnce(ctx, read, decide)
		if err == nil {
			return nil
		}
		if isOwn(err) {
			return err
		}
		if n < tries && (again(err) || unprepared(err) || errors.Is(err, errVanished)) {
			time.Sleep(time.Duration(rand.Int64N(int64(n) * int64(5*time.Millisecond))))
			continue
		}
		return unavailable(err)
	}
}

// unavailable is nil for no error.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, clean(err))
}

func (s *Store) commitOnce(ctx context.Context, read func(*pgx.Batch), decide func(*tx) error) (err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return dbError{err}
	}
	defer release(conn)
	t := &tx{
		Store: s, ctx: ctx, conn: conn.Conn(), write: &pgx.Batch{},
		ledger: ledger.Ledger{}, changed: map[string]bool{}, states: map[int64]states.State{},
	}
	first := &pgx.Batch{}
	first.Queue("begin")
	if read != nil {
		read(first)
	}
	if err := t.conn.SendBatch(ctx, first).Close(); err != nil {
		return dbError{err}
	}
	if err := decide(t); err != nil {
		return err
	}
	t.flush()
	t.write.Queue("commit")
	if err := t.conn.SendBatch(ctx, t.write).Close(); err != nil {
		return dbError{err}
	}
	for citizen, state := range t.states {
		s.states.Put(citizen, state)
	}
	s.hints.committed(t.changed)
	return nil
}

// release gives a connection back, out of the transaction that it may still be in.
func release(conn *pgxpool.Conn) {
	if c := conn.Conn(); !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		if _, err := c.Exec(ctx, "rollback"); err != nil {
			_ = c.Close(ctx)
		}
	}
	conn.Release()
}

// flush queues what was gathered.
func (t *tx) flush() {
	t.flushCitizens()
	t.flushWants()
	var targets, entries []string
	var counts []int64
	for k, n := range t.ledger {
		if n != 0 {
			targets, entries, counts = append(targets, k.Target), append(entries, k.Entry), append(counts, n)
		}
	}
	if len(counts) > 0 {
		t.write.Queue(`INSERT INTO ledger_change (target, entry, n) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])`, targets, entries, counts)
	}
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// collect reads a query's rows whole.
func collect[T any](ctx context.Context, db querier, scan func(pgx.CollectableRow) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, dbError{err}
	}
	all, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, dbError{err}
	}
	return all, nil
}

// gather is collect within the transaction.
func gather[T any](t *tx, scan func(pgx.CollectableRow) (T, error), query string, args ...any) ([]T, error) {
	return collect(t.ctx, t.conn, scan, query, args...)
}

// change runs a statement within the transaction at once and says how many rows it changed.
func (t *tx) change(query string, args ...any) (int, error) {
	tag, err := t.conn.Exec(t.ctx, query, args...)
	if err != nil {
		return 0, dbError{err}
	}
	return int(tag.RowsAffected()), nil
}

// row scans one row within the transaction; found is false when there is none.
func (t *tx) row(to []any, query string, args ...any) (found bool, err error) {
	return one(t.ctx, t.conn, to, query, args...)
}

func one(ctx context.Context, db querier, to []any, query string, args ...any) (found bool, err error) {
	switch err := db.QueryRow(ctx, query, args...).Scan(to...); err {
	case nil:
		return true, nil
	case pgx.ErrNoRows:
		return false, nil
	default:
		return false, dbError{err}
	}
}

// rows has what a queued query finds scanned row by row.
func rows(scan func(pgx.Rows) error) func(pgx.Rows) error {
	return func(r pgx.Rows) error {
		defer r.Close()
		for r.Next() {
			if err := scan(r); err != nil {
				return err
			}
		}
		return r.Err()
	}
}

// The locks that transactions take for what is no row, beside the schema that they are for.
const (
	lockRoutes   = 1 // shared: the routes in force stay
	lockReceipts = 2 // the chain's end
	lockFold     = 3
	lockFuse     = 5
)

// lockKey is the schema's own, so that stores in one database do not wait for each other.
const lockKey = `(SELECT oid::int4 FROM pg_namespace WHERE nspname = current_schema())`
