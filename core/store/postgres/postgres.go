// Package postgres is the store for several replicas over one state. What many requests ask for shares a commit, as in
// the SQLite store; claims are rows, committed before anything is sent, and end with the lease of the replica that
// made them.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
	"github.com/consentd/consentd/core/store/internal/states"
)

// Options say which store and how to use it.
type Options struct {
	// DSN is a connection string or URL, as libpq has it.
	DSN string
	// MaxConnections bounds the connections of this replica; 0: DefaultConnections. One more than that watches
	// over the lease.
	MaxConnections int
	// Lease is how long a replica that is gone keeps what it had claimed; 0: DefaultLease.
	Lease time.Duration
	// Keys seal what is personal, as in the SQLite store.
	Keys [][]byte
	Log  hclog.Logger
}

// The defaults of Options, and what it has to be at least.
const (
	DefaultConnections = 16
	LeastConnections   = 6
	DefaultLease       = time.Minute
	LeastLease         = 3 * time.Second
)

// Store is a store.Store over a PostgreSQL database.
type Store struct {
	Options
	pool   *pgxpool.Pool
	sealer seal.Sealer
	key    []byte // HashKey
	log    hclog.Logger

	accepts  *batcher[*acceptance]
	settles  *batcher[[]store.Settlement]
	states   states.Cache
	replica  *replica
	hints    *hints
	routing  routing
	floors   floors
	failed   chan struct{} // never closed: the server itself ends at what would close it
	stop     context.Context
	end      context.CancelFunc
	working  sync.WaitGroup
	resealMu sync.Mutex
	resealed seal.Pass
	metrics  metrics
	scrub    chan struct{} // has an element when somebody was erased since the last VACUUM
}

var _ store.Store = (*Store)(nil)

// Open opens the store of a DSN, making its tables if there are none, and brings its schema up to date. A server on which
// nothing would be durable, a database that is no consentd store or that a newer consentd made unreadable for
// this one, and a missing key are errors, and leave everything as it is.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", clean(err))
	}
	return s, nil
}

func open(ctx context.Context, o Options) (_ *Store, err error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = DefaultConnections
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.MaxConnections < LeastConnections || o.Lease < LeastLease {
		return nil, fmt.Errorf("it needs %d connections and a lease of %v at least", LeastConnections, LeastLease)
	}
	sealer, err := seal.New(o.Keys)
	if err != nil {
		return nil, err
	}
	pool, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		Options: o, pool: pool, sealer: sealer, log: o.Log, failed: make(chan struct{}), scrub: make(chan struct{}, 1),
		hints: newHints(), metrics: newMetrics(), floors: floors{of: map[lane]floor{}},
	}
	s.stop, s.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.end()
			s.working.Wait()
			pool.Close()
		}
	}()
	if err := migrate(ctx, pool); err != nil {
		return nil, err
	}
	if err := importing(ctx, pool); err != nil {
		return nil, err
	}
	inUse, err := s.useKeys(ctx)
	if err != nil {
		return nil, err
	}
	s.resealed.Ended = inUse == 1
	if s.replica, err = s.join(ctx); err != nil {
		return nil, err
	}
	s.accepts = newBatcher(s, s.acceptGroup)
	s.settles = newBatcher(s, s.settleGroup)
	s.working.Go(s.watch)
	s.working.Go(s.tidy)
	s.working.Go(s.lookAfterRoutes)
	return s, nil
}

// HashKey is the secret under which ids are hashed for logs.
func (s *Store) HashKey() []byte { return s.key }

// Failed is never closed. PostgreSQL itself ends at an error that leaves unknown what is on disk, and recovers from
// its log; a connection that broke during a commit is an error after which the caller may try again.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Close answers what was asked for before, gives up the claims and the lease, and ends the connections.
func (s *Store) Close() error {
	s.accepts.close()
	s.settles.close()
	s.end()
	s.working.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	err := s.leave(ctx)
	s.pool.Close()
	if err != nil {
		err = fmt.Errorf("give up the lease, which ends by itself: %w", clean(err))
	}
	return err
}

// Ready commits a row that says nothing, which takes the same path as every update.
func (s *Store) Ready(ctx context.Context) error {
	return s.commit(ctx, nil, func(t *tx) error {
		t.write.Queue(`INSERT INTO meta (name, value) VALUES ('ready', decode(md5(random()::text), 'hex'))
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`)
		return nil
	})
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
func nullable(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

func orZero(us *int64) time.Time {
	if us == nil {
		return time.Time{}
	}
	return instant(*us)
}

// text is a text as PostgreSQL can keep it.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

var errClosed = fmt.Errorf("%w: it is closed", store.ErrUnavailable)

// isOwn is whether an error is the caller's own affair and none of the database's.
func isOwn(err error) bool { return !errors.As(err, new(dbError)) }
