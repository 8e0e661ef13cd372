package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// The lanes of a target, in the order in which they are claimed; see the column lane.
const (
	laneWithdrawal = iota
	laneDeadWithdrawal
	lanePending
	laneDead
	lanes
)

// deliveryColumns are what scanDelivery reads, from delivery d joined with citizen c.
const deliveryColumns = `d.id, d.rule, d.target, c.source, c.citizen_id, d.status, d.withdrawal, d.desired, d.delivered,
	d.given, d.digest, d.attempts, d.crashes, d.next_attempt, d.since, d.failing_since, d.settled_at, d.outcome, d.reason, d.error`

// scanDelivery reads deliveryColumns, and then what else the query has.
func scanDelivery(row interface{ Scan(...any) error }, more ...any) (store.Delivery, error) {
	var d store.Delivery
	var citizenID []byte
	var next *int64
	var since, failing, settled int64
	err := row.Scan(append([]any{
		&d.ID, &d.Rule, &d.Target, &d.Source, &citizenID, &d.Status, &d.Withdrawal, &d.Desired, &d.Delivered,
		&d.Given, &d.Digest, &d.Attempts, &d.Crashes, &next, &since, &failing, &settled, &d.Outcome, &d.Reason, &d.Error,
	}, more...)...)
	d.CitizenID = string(citizenID)
	d.NextAttempt, d.Since = orZero(next), instant(since)
	d.FailingSince, d.SettledAt = instant(failing), instant(settled)
	return d, err
}

// claimDue chooses due deliveries, one of a citizen, and makes them this replica's. It passes over rows that somebody
// else is at, and of two replicas that choose the same citizen one gets nothing.
const claimDue = `WITH due AS (
		SELECT d.id, d.citizen, d.lane, d.next_attempt
		FROM unnest($2::smallint[], $3::bigint[]) l(lane, since) CROSS JOIN LATERAL (
			SELECT id, citizen, lane, next_attempt FROM delivery d
			WHERE target = $1 AND lane = l.lane AND next_attempt >= l.since AND next_attempt <= $4
				AND ($8::text[] IS NULL OR rule = ANY($8))
				AND NOT EXISTS (SELECT 1 FROM claim k WHERE k.target = $1 AND k.citizen = d.citizen)
				AND NOT EXISTS (SELECT 1 FROM erasure e WHERE e.target = $1 AND e.citizen = d.citizen)
			ORDER BY next_attempt LIMIT $5 FOR UPDATE OF d SKIP LOCKED
		) d
	), chosen AS (
		SELECT * FROM (SELECT DISTINCT ON (citizen) * FROM due ORDER BY citizen, lane, next_attempt) f ORDER BY lane, next_attempt LIMIT $5
	)
	INSERT INTO claim (target, citizen, delivery, replica, epoch) SELECT $1, citizen, id, $6, $7 FROM chosen ORDER BY citizen
	ON CONFLICT DO NOTHING`

// Claim hands out due deliveries of a target. The claims are committed when it returns.
func (s *Store) Claim(ctx context.Context, target string, now time.Time, limit int, from store.Lanes) ([]store.Claimed, error) {
	first, after := laneWithdrawal, lanes
	switch from {
	case store.Withdrawals:
		after = lanePending
	case store.Others:
		first = lanePending
	}
	var of []int16
	for l := first; l < after; l++ {
		of = append(of, int16(l))
	}
	me, epoch, ok := s.replica.epoch()
	if !ok {
		return nil, errNoLease
	}
	rules := s.routing.known(target)
	var claims []store.Claimed
	versions := map[int64]int64{}
	began := time.Now()
	since, whole := s.floors.since(target, of, began)
	err := s.commit(ctx, func(b *pgx.Batch) {
		claims = nil
		b.Queue(claimDue, target, of, since, micros(now), limit, me, epoch, rules)
		b.Queue(`SELECT `+deliveryColumns+`, d.citizen, c.version, c.sent_at, c.received FROM claim k JOIN delivery d ON d.id = k.delivery
			JOIN citizen c ON c.id = d.citizen WHERE k.replica = $1 AND k.epoch = $2 ORDER BY d.lane, d.next_attempt, d.id`, me, epoch).
			Query(rows(func(r pgx.Rows) error {
				c := store.Claimed{Epoch: epoch}
				var version, sentAt, received int64
				var err error
				c.Delivery, err = scanDelivery(r, &c.Citizen, &version, &sentAt, &received)
				c.SentAt, c.Received = instant(sentAt), instant(received)
				versions[c.Citizen] = version
				claims = append(claims, c)
				return err
			}))
	}, func(*tx) error { return nil })
	if err == nil {
		s.floors.learn(target, of, claims, time.Since(began), whole)
		claims, err = s.readStates(ctx, claims, versions)
	}
	if err != nil {
		s.replica.forget(epoch)
		s.replica.nudge()
		return nil, err
	}
	s.replica.holds(epoch, len(claims))
	return claims, nil
}

// readStates adds the newest states. Should a newer one have come since, so much the better: it is what has to be
// delivered.
func (s *Store) readStates(ctx context.Context, claims []store.Claimed, versions map[int64]int64) ([]store.Claimed, error) {
	var missing []int64
	for i := range claims {
		c := &claims[i]
		if c.State = s.states.Get(c.Citizen, versions[c.Citizen]); c.State == nil {
			missing = append(missing, c.Citizen)
		}
	}
	if len(missing) == 0 {
		return claims, nil
	}
	bodies := map[int64][]byte{}
	_, err := collect(ctx, s.pool, func(r pgx.CollectableRow) (struct{}, error) {
		var id int64
		var body []byte
		err := r.Scan(&id, &body)
		bodies[id] = body
		return struct{}{}, err
	}, `SELECT id, body FROM citizen WHERE id = ANY($1)`, missing)
	if err != nil {
		return nil, unavailable(err)
	}
	there, gone := claims[:0:0], []store.Claimed(nil)
	for _, c := range claims {
		if c.State == nil {
			stored, known := bodies[c.Citizen]
			if !known {
				gone = append(gone, c) // erased since
				continue
			}
			// A body that does not open is left out, which makes a dead letter of this one delivery: an error would
			// keep the target's others waiting for ever.
			c.Body, _ = s.sealer.Open(seal.Who{Source: c.Source, CitizenID: c.CitizenID}.In(seal.Body), stored)
		}
		there = append(there, c)
	}
	if s.release(gone) != nil {
		s.replica.nudge()
	}
	return there, nil
}

// Release ends claims and changes nothing.
func (s *Store) Release(claims []store.Claimed) {
	if len(claims) == 0 {
		return
	}
	epochs := make([]int64, len(claims))
	for i, c := range claims {
		epochs[i] = c.Epoch
	}
	err := s.release(claims)
	s.replica.ended(epochs) // first, or the lease is looked after before
	if err != nil {
		s.replica.nudge()
	}
}

func (s *Store) release(claims []store.Claimed) error {
	if len(claims) == 0 {
		return nil
	}
	targets, citizens, epochs := claimKeys(claims)
	return s.commit(context.Background(), nil, func(t *tx) error {
		// Should a crash of the server bring them back, they are found to be nobody's.
		t.write.Queue(`SET LOCAL synchronous_commit = off`)
		t.write.Queue(endClaims, targets, citizens, epochs)
		return nil
	})
}

// Until is until when a claim is certainly this replica's, by its own clock.
func (s *Store) Until(c store.Claimed) time.Time { return s.replica.until(c.Epoch) }

// NextDue is the earliest next attempt of a target, claimed or not.
func (s *Store) NextDue(ctx context.Context, target string) (time.Time, error) {
	var next *int64
	_, err := one(ctx, s.pool, []any{&next}, `SELECT min(due) FROM generate_series(0, $2) l(lane) CROSS JOIN LATERAL (
		SELECT next_attempt AS due FROM delivery d WHERE target = $1 AND lane = l.lane AND next_attempt IS NOT NULL
			AND NOT EXISTS (SELECT 1 FROM erasure e WHERE e.target = $1 AND e.citizen = d.citizen)
		ORDER BY next_attempt LIMIT 1) d`, target, lanes-1)
	return orZero(next), clean(err)
}

// Forward moves next attempts that are later than latest to now.
func (s *Store) Forward(ctx context.Context, latest, now time.Time) (moved int, err error) {
	err = s.commit(ctx, nil, func(t *tx) error {
		targets, err := gather(t, pgx.RowTo[string], `UPDATE delivery SET next_attempt = $1 WHERE id IN (
			SELECT id FROM delivery WHERE next_attempt > $2 ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING target`, micros(now), micros(latest))
		moved = len(targets)
		for _, target := range targets {
			t.changed[target] = true
		}
		t.write.Queue(`UPDATE erasure SET next_attempt = $1 WHERE next_attempt > $2`, micros(now), micros(latest))
		return err
	})
	return moved, err
}

// floors remember from where on a lane has anything due. While somebody holds a snapshot, what was delivered since stays
// in the index before what is due, and to pass over it takes longer and longer.
type floors struct {
	mu sync.Mutex
	of map[lane]floor
}

type lane struct {
	target string
	lane   int16
}

type floor struct {
	from  int64
	until time.Time // from then on everything is looked at once more
}

const (
	// slowClaim is how long a claim may take before floors are made use of.
	slowClaim = 50 * time.Millisecond
	// floorFor is how long a delivery can be overlooked that is due from before.
	floorFor = 3 * time.Second
)

// since is from where on to look in each lane, and whether that is the whole of all.
func (f *floors) since(target string, of []int16, now time.Time) (since []int64, whole bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	since, whole = make([]int64, len(of)), true
	for i, l := range of {
		if at, set := f.of[lane{target, l}]; set && now.Before(at.until) {
			since[i], whole = at.from, false
		}
	}
	return since, whole
}

func (f *floors) learn(target string, of []int16, found []store.Claimed, took time.Duration, whole bool) {
	if !whole || took < slowClaim {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range of {
		for _, c := range found {
			if c.Status == store.Pending && !c.Withdrawal && l == lanePending {
				f.of[lane{target, l}] = floor{micros(c.NextAttempt), time.Now().Add(floorFor)}
				break
			}
		}
	}
}
