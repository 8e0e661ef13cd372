package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
)

// A replica holds one lease, for all that it has claimed. It renews it long before it ends; the others look for those
// that ended and take over what they held. Within Options.Lease of the end of a replica that is done:
//
//	lease in the database    2/3 of it
//	held here for certain    1/24 of it less, so that what was sent until then arrives before what others send
//	renewed, and looked for  every 1/6 of it

func (o Options) inDatabase() time.Duration { return o.Lease * 2 / 3 }
func (o Options) here() time.Duration       { return o.inDatabase() - o.Lease/24 }
func (o Options) beat() time.Duration       { return o.Lease / 6 }

// replica is what this one knows of itself and the others.
type replica struct {
	nudged chan struct{}

	mu    sync.Mutex
	id    int64
	lease time.Time // until when it is held, by this process's monotonic clock
	// active has the epochs of claims that were not ended yet, with how many; newest is the last one given out.
	active map[int64]int
	newest int64
	share  store.Share
	since  time.Time // when it joined
}

// leftTime is how long claims are left that are to be ended, when somebody else was at them.
const leftTime = 200 * time.Millisecond

var errNoLease = fmt.Errorf("%w: the lease of this replica was not renewed in time", store.ErrUnavailable)

// epochBits are for the claims of one replica; the bits above are its id, which nobody else ever gets.
const epochBits = 32

// join makes this process a replica. Whatever another one left is taken over first.
func (s *Store) join(ctx context.Context) (*replica, error) {
	r := &replica{nudged: make(chan struct{}, 1)}
	if _, err := s.reap(ctx, s.pool); err != nil {
		return nil, err
	}
	return r, s.register(ctx, s.pool, r)
}

// executor is a pool or a connection.
type executor interface {
	querier
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

func (s *Store) register(ctx context.Context, db executor, r *replica) error {
	s.routing.publishing.Lock() // the row says which routes are this replica's
	defer s.routing.publishing.Unlock()
	began := time.Now()
	hash, _, _ := s.routing.own()
	var id int64
	var share store.Share
	if _, err := one(ctx, db, []any{&id}, `INSERT INTO replica (lease_until, routes, seals) VALUES (clock_timestamp() + $1, $2, $3) RETURNING id`,
		s.inDatabase(), hash, s.sealer.First().String()); err != nil {
		return err
	}
	if _, err := one(ctx, db, []any{&share.Rank, &share.Of}, countReplicas, id); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id, r.newest, r.active = id, id<<epochBits, map[int64]int{}
	r.lease, r.since = began.Add(s.here()), began
	r.share = share.Joining(share.Of > 1)
	return nil
}

// countReplicas is how many of those that live joined before one, and how many live.
const countReplicas = `SELECT (count(*) FILTER (WHERE id < $1))::int, count(*)::int FROM replica`

// endLost ends the claims that are chosen. What was in flight may have been delivered without a trace, so what its target
// holds is not known. It waits for nobody, as the lease depends on it: what somebody is at, perhaps a replica that was
// stopped in the middle of a commit, is left for the next time.
func endLost(ctx context.Context, db executor, chosen string, args ...any) (ended, left int, err error) {
	_, err = one(ctx, db, []any{&ended, &left}, `WITH lost AS MATERIALIZED (
			SELECT target, citizen, delivery, epoch FROM claim WHERE `+chosen+` FOR UPDATE SKIP LOCKED
		), locked AS MATERIALIZED (
			SELECT id FROM delivery WHERE id IN (SELECT delivery FROM lost) FOR UPDATE SKIP LOCKED
		), ended AS (
			DELETE FROM claim k USING lost l WHERE k.target = l.target AND k.citizen = l.citizen AND k.epoch = l.epoch
				AND (l.delivery IN (SELECT id FROM locked) OR NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = l.delivery))
			RETURNING k.delivery
		), distrusted AS (
			UPDATE delivery SET digest = NULL WHERE id IN (SELECT delivery FROM ended)
		) SELECT count(*)::int, (SELECT count(*) FROM claim WHERE `+chosen+`)::int - count(*)::int FROM ended`, args...)
	return ended, left, err
}

// reap ends the leases of those who did not renew theirs, and the claims of those who are gone, but for some that may be left.
func (s *Store) reap(ctx context.Context, db executor) (left int, err error) {
	var gone int
	if _, err := one(ctx, db, []any{&gone}, `WITH gone AS (
			DELETE FROM replica WHERE id IN (SELECT id FROM replica WHERE lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED) RETURNING id
		) SELECT count(*)::int FROM gone`); err != nil {
		return 0, err
	}
	ended, left, err := endLost(ctx, db, `NOT EXISTS (SELECT 1 FROM replica r WHERE r.id = replica)`)
	if gone+ended > 0 {
		s.log.Info("took over what replicas held that are gone", "replicas", gone, "deliveries", ended)
		s.hints.all()
	}
	return left, err
}

// epoch begins a claim, unless too little is left of the lease.
func (r *replica) epoch() (me, epoch int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Until(r.lease) < store.LeastHold {
		return 0, 0, false
	}
	r.newest++
	r.active[r.newest] = 0
	return r.id, r.newest, true
}

// holds notes how many claims came of an epoch.
func (r *replica) holds(epoch int64, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[epoch] += n; n == 0 {
		delete(r.active, epoch)
	}
}

// forget gives up an epoch: whatever came of it in the database is nobody's.
func (r *replica) forget(epoch int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, epoch)
}

// ended notes that claims of these epochs ended.
func (r *replica) ended(epochs []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range epochs {
		if n, active := r.active[e]; active && n > 1 {
			r.active[e] = n - 1
		} else {
			delete(r.active, e)
		}
	}
}

// until is until when a claim of the epoch is held for certain; the past if it was lost.
func (r *replica) until(epoch int64) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if epoch>>epochBits != r.id {
		return time.Unix(1, 0)
	}
	return r.lease
}

// nudge has the lease looked after at once.
func (r *replica) nudge() {
	select {
	case r.nudged <- struct{}{}:
	default:
	}
}

// Share is which part of a target's limits is this replica's.
func (s *Store) Share() store.Share {
	s.replica.mu.Lock()
	defer s.replica.mu.Unlock()
	return s.replica.share
}

// renew extends the lease, learns of the others, and ends claims in the database that nobody here holds. A lease that
// ended meanwhile is replaced by a new one, and all that was claimed under it is lost. Claims that are to be ended
// may be left.
func (s *Store) renew(ctx context.Context, conn *pgx.Conn) (left int, err error) {
	r := s.replica
	r.mu.Lock()
	id, newest := r.id, r.newest
	active := make([]int64, 0, len(r.active))
	for e := range r.active {
		active = append(active, e)
	}
	r.mu.Unlock()
	began := time.Now()
	b := &pgx.Batch{}
	held := false
	b.Queue(`UPDATE replica SET lease_until = clock_timestamp() + $2 WHERE id = $1 AND lease_until > clock_timestamp() RETURNING true`,
		id, s.inDatabase()).Query(rows(func(r pgx.Rows) error { return r.Scan(&held) }))
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return 0, err
	}
	if !held {
		s.log.Warn("the lease of this replica ended before it was renewed: what was in flight is taken over by others")
		if err := s.register(ctx, conn, r); err != nil {
			return 0, err
		}
		s.hints.all()
	} else {
		r.mu.Lock()
		r.lease = began.Add(s.here())
		r.mu.Unlock()
		if _, left, err = endLost(ctx, conn, `replica = $1 AND epoch <= $2 AND epoch <> ALL($3)`, id, newest, active); err != nil {
			return 0, err
		}
	}
	others, err := s.reap(ctx, conn)
	if err != nil {
		return 0, err
	}
	var share store.Share
	if _, err := one(ctx, conn, []any{&share.Rank, &share.Of}, countReplicas, r.number()); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Until the others have noticed, what this one may do is theirs.
	r.share = share.Joining(share.Of > 1 && time.Since(r.since) < s.beat()+s.beat()/2)
	return left + others, nil
}

// leave gives up the lease and what is claimed still.
func (s *Store) leave(ctx context.Context) error {
	s.replica.mu.Lock()
	id := s.replica.id
	s.replica.mu.Unlock()
	_, err := s.pool.Exec(ctx, `UPDATE replica SET lease_until = '-infinity' WHERE id = $1`, id)
	if err == nil {
		_, err = s.reap(ctx, s.pool)
	}
	return err
}

// watch keeps a connection of its own, on which it renews the lease and listens for what other replicas commit.
func (s *Store) watch() {
	for s.stop.Err() == nil {
		err := s.watchOver(s.stop)
		if s.stop.Err() != nil {
			return
		}
		s.log.Warn("the connection that renews the lease broke", "error", clean(err))
		select {
		case <-time.After(min(time.Second, s.beat()/2)):
		case <-s.stop.Done():
		}
	}
}

func (s *Store) watchOver(ctx context.Context) error {
	connecting, cancel := context.WithTimeout(ctx, answerTime)
	conn, err := pgx.ConnectConfig(connecting, s.pool.Config().ConnConfig)
	cancel()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := prepare(ctx, conn); err != nil {
		return err
	}
	if err := s.hints.listen(ctx, conn); err != nil {
		return err
	}
	s.hints.all() // what was told meanwhile was not heard
	for {
		answering, cancel := context.WithTimeout(ctx, 2*s.beat())
		left, err := s.renew(answering, conn)
		cancel()
		if err != nil {
			return err
		}
		wait := s.beat()
		if left > 0 {
			wait = min(wait, leftTime)
		}
		waiting, cancel := context.WithTimeout(ctx, wait)
		go func() {
			select {
			case <-s.replica.nudged:
				cancel()
			case <-waiting.Done():
			}
		}()
		err = s.hear(waiting, conn)
		cancel()
		if ctx.Err() != nil || conn.IsClosed() {
			return err
		}
	}
}

func (r *replica) number() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id
}
