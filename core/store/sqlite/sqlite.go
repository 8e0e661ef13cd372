// Package sqlite is the default store: one SQLite file in WAL mode with synchronous=FULL. One goroutine
// commits everything, in groups, so that many requests share an fsync; claims live in memory, because
// one process owns the file.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver registers itself

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/seal"
	"github.com/consentd/consentd/core/store/internal/states"
)

// readers is how many connections read beside the writer. Reading is one query at a time for each
// target, and a console; more only costs memory.
const readers = 4

// Store is a store.Store over one file.
type Store struct {
	db      *sql.DB // reads
	path    string
	lock    *os.File // held while open
	key     []byte   // HashKey
	seal    seal.Sealer
	stmts   readStmts // prepared on db
	metrics metrics

	requests chan *request
	asides   chan func(*writer)
	stopping chan struct{}
	stopped  chan struct{}
	poison   poison

	// distrusted is the newest version at the time the store was opened. A delivery that was pending
	// then may have been attempted without a trace, so what its target holds is not known.
	distrusted int64

	states  states.Cache
	inForce atomic.Pointer[map[string][]store.Route] // by source; nil before Route

	resealMu sync.Mutex
	resealed seal.Pass

	claimMu sync.Mutex
	claims  map[string]map[int64]bool // target -> citizen
	erasing erasing

	mu      sync.Mutex
	changed map[string]chan struct{} // by target
	ledger  ledger.Ledger            // as committed
}

var _ store.Store = (*Store)(nil)

// Open opens the file at path, making it if there is none, and brings its schema up to date. A file that
// is damaged, that another process has open, that is no consentd store, or that a newer consentd wrote is
// an error and stays as it is.
//
// What is personal is sealed with the first of the keys, each of 32 bytes, and opened with any. A store with values
// that none of them opens is an error as well.
func Open(ctx context.Context, path string, keys ...[]byte) (*Store, error) {
	s, err := open(ctx, path, keys)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, keys [][]byte) (_ *Store, err error) {
	sealer, err := seal.New(keys)
	if err != nil {
		return nil, err
	}
	// The lock is on the file, by whatever name it was opened.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	} else if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("the folder %s is missing or closed to this user; make it, or name another path", filepath.Dir(path))
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err := makeFile(ctx, path); err != nil {
		return nil, err
	}
	db, err := openFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	s := &Store{
		db: db, path: path, lock: lock, seal: sealer, metrics: newMetrics(),
		requests: make(chan *request, maxGroup),
		asides:   make(chan func(*writer)),
		stopping: make(chan struct{}),
		stopped:  make(chan struct{}),
		poison:   poison{failed: make(chan struct{})},
		claims:   map[string]map[int64]bool{},
		changed:  map[string]chan struct{}{},
	}
	var inUse int
	if s.key, inUse, err = useKeys(ctx, sealer, db); err != nil {
		return nil, err
	}
	s.resealed.Ended = inUse == 1
	if s.ledger, err = readLedger(ctx, db); err != nil {
		return nil, err
	}
	if s.erasing, err = readErasing(ctx, db); err != nil {
		return nil, err
	}
	w, err := newWriter(ctx, db, s.key, sealer)
	if err != nil {
		return nil, err
	}
	s.distrusted = w.version
	if err := s.stmts.prepare(ctx, db); err != nil {
		return nil, err
	}
	go s.write(w)
	return s, nil
}

func openFile(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers + 1)
	db.SetMaxIdleConns(readers + 1)
	if err := migrate(ctx, db); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// busyTimeout is how long, in milliseconds, a connection waits for another process that has the file locked.
const busyTimeout = 10000

func dsn(path string) string {
	q := url.Values{}
	for _, p := range []string{
		fmt.Sprintf("busy_timeout(%d)", busyTimeout), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"journal_size_limit(67108864)", "wal_autocheckpoint(0)", "cache_size(-8192)",
		"secure_delete(1)", // what is removed is overwritten; see Erase
	} {
		q.Add("_pragma", p)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// querier is a database, one connection of it or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// HashKey is the secret under which ids are hashed for logs.
func (s *Store) HashKey() []byte { return s.key }

// Failed is closed when the store is poisoned.
func (s *Store) Failed() <-chan struct{} { return s.poison.failed }

// Close commits what was asked for before, and closes the file.
func (s *Store) Close() error {
	close(s.stopping)
	<-s.stopped
	err := s.db.Close()
	select {
	case <-s.poison.failed:
		err = errors.Join(s.poison.err, err)
	default:
	}
	return errors.Join(err, s.lock.Close())
}

// Changed receives when something of the target may have become due by a commit.
func (s *Store) Changed(target string) <-chan struct{} { return s.change(target) }

func (s *Store) change(target string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.changed[target]
	if c == nil {
		c = make(chan struct{}, 1)
		s.changed[target] = c
	}
	return c
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// nullable is NULL for no time.
func nullable(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}
