package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// Citizen is what is known of one.
func (s *Store) Citizen(ctx context.Context, source, citizenID string) (consent.Citizen, error) {
	r, body, err := readCitizen(ctx, s.pool, `WHERE c.source = $1 AND c.citizen_id = $2`, source, []byte(citizenID))
	if err != nil {
		return consent.Citizen{}, clean(err)
	}
	return openWhole(s.sealer, r, body)
}

// readCitizen reads the first that a condition chooses, and the body.
func readCitizen(ctx context.Context, db querier, where string, args ...any) (r citizenRow, body []byte, err error) {
	found, err := collect(ctx, db, func(row pgx.CollectableRow) (citizenRow, error) { return scanCitizen(row, &body) },
		`SELECT `+citizenColumns+`, c.body FROM citizen c `+where, args...)
	if err != nil {
		return r, nil, err
	}
	if len(found) == 0 {
		return r, nil, store.ErrNotFound
	}
	return found[0], body, nil
}

func openWhole(s seal.Sealer, r citizenRow, body []byte) (consent.Citizen, error) {
	c, err := openCitizen(s, r)
	if err != nil {
		return c, err
	}
	c.Body, err = s.Open(r.In(seal.Body), body)
	return c, err
}

// Held is how many citizens have grants that are held.
func (s *Store) Held(ctx context.Context) (n int, err error) {
	_, err = one(ctx, s.pool, []any{&n}, `SELECT count(*)::int FROM citizen WHERE held IS NOT NULL`)
	return n, clean(err)
}

// ReleaseHeld lets the held grants of a citizen through.
func (s *Store) ReleaseHeld(ctx context.Context, source, citizenID string, now time.Time) error {
	var seen int64
	return s.commit(ctx, func(b *pgx.Batch) { queueRouting(b, &seen) }, func(t *tx) error {
		r, body, err := readCitizen(t.ctx, t.conn, `WHERE c.source = $1 AND c.citizen_id = $2 FOR UPDATE`, source, []byte(citizenID))
		if err == nil && r.held == nil {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		routes, err := s.inForce(t.ctx, t.conn, seen)
		if err != nil {
			return err
		}
		return t.again(r, body, routes[source], func(c consent.Citizen) (consent.Applied, error) { return consent.Release(c, now) })
	})
}

// NextTick is when Tick finds something.
func (s *Store) NextTick(ctx context.Context) (time.Time, error) {
	var next *int64
	_, err := one(ctx, s.pool, []any{&next}, `SELECT min(next) FROM citizen WHERE next IS NOT NULL`)
	return orZero(next), clean(err)
}

// Tick looks again at citizens of whom a validity window has begun or ended. Those that another replica is looking at
// are left to it.
func (s *Store) Tick(ctx context.Context, now time.Time, limit int) (found int, err error) {
	var unreadable error
	var seen int64
	err = s.commit(ctx, func(b *pgx.Batch) { queueRouting(b, &seen) }, func(t *tx) error {
		unreadable = nil
		bodies := map[int64][]byte{}
		due, err := gather(t, func(row pgx.CollectableRow) (citizenRow, error) {
			var body []byte
			r, err := scanCitizen(row, &body)
			bodies[r.id] = body
			return r, err
		}, `SELECT `+citizenColumns+`, c.body FROM citizen c WHERE next <= $1 ORDER BY next LIMIT $2 FOR UPDATE SKIP LOCKED`, micros(now), limit)
		if err != nil {
			return err
		}
		routes, err := s.inForce(t.ctx, t.conn, seen)
		if err != nil {
			return err
		}
		found = len(due)
		for _, r := range due {
			err := t.again(r, bodies[r.id], routes[r.Source], func(c consent.Citizen) (consent.Applied, error) { return consent.Tick(c, now) })
			if err != nil && !isOwn(err) {
				return err
			}
			if err != nil {
				// One that cannot be read must not hold up the others; it is not looked at again.
				unreadable = errors.Join(unreadable, err)
				t.write.Queue(`UPDATE citizen SET next = NULL WHERE id = $1`, r.id)
			}
		}
		return nil
	})
	return found, errors.Join(err, unreadable)
}

// again makes a new version of a citizen without a new update.
func (t *tx) again(r citizenRow, body []byte, routes []store.Route, make func(consent.Citizen) (consent.Applied, error)) error {
	c, err := openWhole(t.sealer, r, body)
	if err != nil {
		return err
	}
	a, err := make(c)
	if err != nil {
		return fmt.Errorf("look again at a citizen: %w", err)
	}
	before, err := t.standings([]int64{r.id})
	if err != nil {
		return err
	}
	var version int64
	if _, err := t.row([]any{&version}, `SELECT nextval('version')`); err != nil {
		return err
	}
	t.newVersion(r.id, version, r.Who, a, before, routes)
	return nil
}

// Deliveries are all deliveries of one citizen, by rule.
func (s *Store) Deliveries(ctx context.Context, source, citizenID string) ([]store.Delivery, error) {
	return s.deliveries(ctx, `WHERE c.source = $1 AND c.citizen_id = $2 ORDER BY d.rule`, source, []byte(citizenID))
}

// deliveries lists those that a condition on delivery d and citizen c chooses.
func (s *Store) deliveries(ctx context.Context, where string, args ...any) ([]store.Delivery, error) {
	all, err := collect(ctx, s.pool, func(r pgx.CollectableRow) (store.Delivery, error) { return scanDelivery(r) },
		`SELECT `+deliveryColumns+` FROM delivery d JOIN citizen c ON c.id = d.citizen `+where, args...)
	return all, clean(err)
}
