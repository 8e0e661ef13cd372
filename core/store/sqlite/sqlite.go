// Package sqlite is the default store: one SQLite file in WAL mode with synchronous=FULL. One goroutine
// commits everything, in groups, so that many requests share an fsync; claims live in memory, because
// one process owns the file.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver registers itself

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/seal"
	"github.com/consentd/consentd/core/store/internal/states"
)

//go:embed migrations/*.sql
var migrations embed.FS

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

	states states.Cache

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

// lockFile makes sure that one process at a time has the store open.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.New("another consentd has it open; stop that one, or give this one a store of its own")
		}
		return nil, err
	}
	return f, nil
}

// makeFile sees to it that there is a store at path. A new one is made whole under another name first, so
// that no crash leaves half a store behind, and what SQLite would silently take for a new store is refused.
func makeFile(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err == nil {
		switch {
		case info.IsDir():
			return errors.New("is a directory; name a file")
		case info.Size() == 0:
			return errors.New("the file is empty, which no store ever is; bring a backup back, or remove it to start anew")
		}
		return checkHeader(path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		return errors.New("the file is missing while its -wal is there; bring the file back, or remove the -wal to start anew")
	}
	unborn := path + ".new"
	for _, leftover := range []string{unborn, unborn + "-wal", unborn + "-shm"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(unborn, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := setPageSize(ctx, unborn); err != nil {
		return err
	}
	db, err := openFile(ctx, unborn)
	if err != nil {
		return err
	}
	// Closing brings the log into the file as well, and says nothing when it cannot.
	var busy, log, done int
	err = db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &done)
	if err == nil && busy != 0 {
		err = errors.New("it is busy")
	}
	if err != nil {
		db.Close()
		return fmt.Errorf("bring the log into the file: %w", err)
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(unborn, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// setPageSize makes the pages of an empty file twice SQLite's own size, so that a citizen's state of the usual
// few kilobytes takes one, and lets Shrink give free ones back. Neither can be changed once there is anything in the
// file.
func setPageSize(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL"); err != nil {
		db.Close()
		return err
	}
	return db.Close()
}

// checkHeader looks at the file before SQLite does, which would change the journal mode of whatever it is.
// The layout is SQLite's (sqlite.org/fileformat.html, 1.3).
func checkHeader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil || string(header[:16]) != "SQLite format 3\x00" {
		return errors.New("the file is damaged or no SQLite database; bring a backup back")
	}
	if binary.BigEndian.Uint32(header[68:]) != applicationID {
		return errors.New("the file is an SQLite database of something else; name another path")
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// applicationID marks the file as a consentd store in SQLite's header: "cnsd".
const applicationID = 0x636e7364

func migrate(ctx context.Context, db *sql.DB) error {
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return fmt.Errorf("the file is damaged: %w", err)
	}
	provider, err := schema(db)
	if err != nil {
		return err
	}
	if tables > 0 {
		current, err := provider.GetDBVersion(ctx)
		if err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		if newest := newestVersion(provider); current > newest {
			return tooNew(current, newest)
		}
	}
	if tables == 0 {
		if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	return nil
}

func schema(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(database.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
}

func newestVersion(p *goose.Provider) int64 {
	all := p.ListSources()
	return all[len(all)-1].Version
}

func tooNew(current, newest int64) error {
	return fmt.Errorf("its schema is version %d and this consentd knows up to %d; run the newer consentd that wrote it", current, newest)
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
