package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/seal"
	"github.com/consentd/consentd/core/store/internal/states"
)

// maxGroup is the most requests one commit serves. It bounds how long the first of them waits.
const maxGroup = 512

// request is work for the writer. What run returns as an error is the request's own affair; an error of
// the database is wrapped in dbError and ends the whole group.
type request struct {
	run  func(*writer) error
	done chan error
}

// dbError says that the transaction cannot go on.
type dbError struct{ error }

func (e dbError) Unwrap() error { return e.error }

// poison is the state after a commit of which nobody knows whether it is on disk. Trying again would seem
// to succeed: the kernel reports a failed write-back once and drops the pages.
type poison struct {
	once   sync.Once
	failed chan struct{}
	err    error // set before failed is closed
}

func (p *poison) set(err error) {
	p.once.Do(func() {
		p.err = fmt.Errorf("%w: %w", store.ErrPoisoned, err)
		close(p.failed)
	})
}

// writer has the one connection that writes. Its methods are called by the write goroutine alone.
type writer struct {
	conn  lasting
	stmts writeStmts
	key   []byte // HashKey
	seal  seal.Sealer
	// version is the newest given out, head the end of the chain of receipts.
	version int64
	head    head
	ready   uint64 // what Ready wrote last
	// What the group under way changes; dropped when it is rolled back.
	ledger  ledger.Ledger
	changed map[string]bool
	states  map[int64]states.State
}

func newWriter(ctx context.Context, db *sql.DB, key []byte, sealer seal.Sealer) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: lasting{conn}, key: key, seal: sealer, ready: uint64(time.Now().UnixNano())}
	if w.head, err = readHead(ctx, conn, metaReceipts); err != nil {
		return nil, err
	}
	if err := w.stmts.prepare(ctx, conn); err != nil {
		return nil, err
	}
	var version []byte
	err = conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'version'").Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	w.version = int64(binary.BigEndian.Uint64(version))
	return w, nil
}

// do hands the writer a request and waits until it is committed, or not.
func (s *Store) do(ctx context.Context, run func(*writer) error) error {
	r := &request{run: run, done: make(chan error, 1)}
	select {
	case s.requests <- r:
	case <-s.stopping:
		return fmt.Errorf("%w: it is closing", store.ErrUnavailable)
	case <-s.poison.failed:
		return s.poison.err
	case <-ctx.Done():
		return ctx.Err()
	}
	// From here the request may be committed whatever becomes of ctx, so its fate is waited for.
	select {
	case err := <-r.done:
		return err
	case <-s.stopped:
		select {
		case err := <-r.done:
			return err
		default:
			return fmt.Errorf("%w: it is closed", store.ErrUnavailable)
		}
	}
}

// between has the writer run something between two commits, and waits for it.
func (s *Store) between(ctx context.Context, run func(*writer) error) error {
	done := make(chan error, 1)
	select {
	case s.asides <- func(w *writer) { done <- run(w) }:
		return <-done
	case <-s.stopped:
		return fmt.Errorf("%w: it is closed", store.ErrUnavailable)
	case <-s.poison.failed:
		return s.poison.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write serves requests in groups until Close.
func (s *Store) write(w *writer) {
	defer close(s.stopped)
	defer w.conn.conn.Close()
	defer w.stmts.close()
	group := make([]*request, 0, maxGroup)
	for {
		group = group[:0]
		select {
		case r := <-s.requests:
			group = append(group, r)
		case run := <-s.asides:
			run(w)
			continue
		case <-s.stopping:
			select {
			case r := <-s.requests:
				group = append(group, r)
			default:
				s.checkpoint(w, 1)
				return
			}
		}
	more:
		for len(group) < maxGroup {
			select {
			case r := <-s.requests:
				group = append(group, r)
			default:
				break more
			}
		}
		s.serve(w, group)
		from := checkpointFrom
		if len(s.requests) == 0 {
			from = checkpointIdle
		}
		s.checkpoint(w, from)
	}
}

// checkpointFrom is from how many pages on the log is brought into the file. Who asks meanwhile waits for it, so
// that when nobody does it is done in smaller parts.
const (
	checkpointFrom = 4000
	checkpointIdle = 300
)

// checkpoint brings the log into the file when so many of its pages are not there yet. SQLite would do that by
// itself, in the middle of a commit, and keep its errors to itself.
func (s *Store) checkpoint(w *writer, from int) {
	select {
	case <-s.poison.failed:
		return
	default:
	}
	var busy, pages, done int
	err := w.stmts.logSize.QueryRow().Scan(&busy, &pages, &done)
	if err == nil && pages-done >= from {
		err = w.stmts.checkpoint.QueryRow().Scan(&busy, &pages, &done)
	}
	s.metrics.log.Set(float64(pages - done))
	if err != nil && !passes(err) {
		s.poison.set(fmt.Errorf("bring the log into the file: %w", err))
	}
}

// serve runs one group in one transaction and answers each request.
func (s *Store) serve(w *writer, group []*request) {
	answers := make([]error, len(group))
	began := time.Now()
	err := s.commit(w, group, answers)
	s.metrics.Done(began, len(group), err)
	for i, r := range group {
		if err != nil {
			r.done <- err
		} else {
			r.done <- answers[i]
		}
	}
}

func (s *Store) commit(w *writer, group []*request, answers []error) error {
	select {
	case <-s.poison.failed:
		return s.poison.err
	default:
	}
	version, head := w.version, w.head
	w.ledger, w.changed, w.states = ledger.Ledger{}, map[string]bool{}, map[int64]states.State{}
	err := w.exec(w.stmts.begin)
	for i := 0; err == nil && i < len(group); i++ {
		var broken dbError
		if answers[i] = group[i].run(w); errors.As(answers[i], &broken) {
			err = broken
		}
	}
	if err == nil {
		err = w.flush(version, head)
	}
	if err != nil {
		w.version, w.head = version, head
		return s.rollback(w, err)
	}
	if err := w.exec(w.stmts.commit); err != nil {
		w.version, w.head = version, head
		if code(err) == sqlite3.SQLITE_FULL {
			return s.rollback(w, err)
		}
		s.poison.set(err)
		return s.poison.err
	}
	s.committed(w)
	return nil
}

// passes is whether an error leaves no doubt about what is on disk.
func passes(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return true
	}
	return false
}

// rollback undoes a group that was not committed, so that its requests may come again.
func (s *Store) rollback(w *writer, cause error) error {
	if !passes(cause) {
		s.poison.set(cause)
		return s.poison.err
	}
	// SQLite has rolled back by itself after some errors, and then says so.
	if err := w.exec(w.stmts.rollback); err != nil && code(err) != sqlite3.SQLITE_ERROR {
		s.poison.set(err)
		return s.poison.err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, cause)
}

// committed makes what a group changed visible.
func (s *Store) committed(w *writer) {
	for citizen, c := range w.states {
		s.states.Put(citizen, c)
	}
	s.mu.Lock()
	s.ledger.Add(w.ledger)
	s.mu.Unlock()
	for target := range w.changed {
		s.hint(target)
	}
}

// hint tells whoever waits that something of the target may have become due.
func (s *Store) hint(target string) {
	select {
	case s.change(target) <- struct{}{}:
	default:
	}
}

// flush writes what the group gathered in memory.
func (w *writer) flush(version int64, head head) error {
	if w.head.receipts != head.receipts {
		if err := w.exec(w.stmts.putMeta, metaReceipts, w.head.value()); err != nil {
			return err
		}
	}
	if w.version != version {
		value := binary.BigEndian.AppendUint64(nil, uint64(w.version))
		if err := w.exec(w.stmts.putMeta, "version", value); err != nil {
			return err
		}
	}
	for k, n := range w.ledger {
		if n == 0 {
			continue
		}
		if err := w.exec(w.stmts.addLedger, k.Target, k.Entry, n); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) exec(stmt lastingStmt, args ...any) error {
	if _, err := stmt.Exec(args...); err != nil {
		return dbError{err}
	}
	return nil
}

// change runs a statement that is too rare to be kept prepared, and says how many rows it changed.
func (w *writer) change(query string, args ...any) (rows int, err error) {
	res, err := w.conn.ExecContext(context.Background(), query, args...)
	if err != nil {
		return 0, dbError{err}
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, dbError{err}
	}
	return int(n), nil
}

// gather reads a query's rows whole, after which the writer's one connection is free for statements again.
func gather[T any](w *writer, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := w.conn.QueryContext(context.Background(), query, args...)
	return collect(rows, err, scan)
}

func collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, dbError{err}
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, dbError{err}
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		return nil, dbError{err}
	}
	return all, nil
}

// code is SQLite's primary result code; disk errors without one, and a broken connection, are I/O errors.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	if errors.Is(err, driver.ErrBadConn) {
		return sqlite3.SQLITE_IOERR
	}
	return sqlite3.SQLITE_INTERNAL
}

// Ready commits a row that says nothing, which takes the same path as every update. It is another one each
// time: SQLite writes no page that does not change.
func (s *Store) Ready(ctx context.Context) error {
	return s.do(ctx, func(w *writer) error {
		w.ready++
		return w.exec(w.stmts.putMeta, "ready", binary.BigEndian.AppendUint64(nil, w.ready))
	})
}
