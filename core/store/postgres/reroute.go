package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
)

// rerouteChunk is how many deliveries one commit of Reroute touches, so that updates get their turn.
const rerouteChunk = 1000

// Reroute works off the difference to what was in force before.
func (s *Store) Reroute(ctx context.Context, now time.Time) (store.Rerouted, error) {
	return s.workOff(ctx, now, false)
}

// workOff brings the deliveries in line with this replica's routes, as long as they are in force. It finds done what was done
// already. What came back removes nothing.
func (s *Store) workOff(ctx context.Context, now time.Time, back bool) (store.Rerouted, error) {
	_, wanted, seen := s.routing.own()
	r := &reroute{Store: s, seen: seen, now: now}
	if wanted == nil {
		return r.did, store.ErrNoRoutes
	}
	var done bool
	if inForce, err := one(ctx, s.pool, []any{&done}, `SELECT done FROM routing WHERE in_force AND seen = $1`, r.seen); err != nil || done || !inForce {
		return r.did, unavailable(err)
	}
	err := r.work(ctx, wanted, back)
	if errors.Is(err, errOutdated) {
		err = nil
	}
	return r.did, err
}

func (r *reroute) work(ctx context.Context, wanted map[string][]store.Route, back bool) error {
	before, err := r.routesBefore(ctx, r.seen)
	if err != nil {
		return err
	}
	fill, remove := store.Difference(before, store.Places(wanted))
	for rule, place := range fill {
		if err := r.fill(ctx, place.Source, store.Route{Rule: rule, Target: place.Target}); err != nil {
			return err
		}
	}
	if back && len(remove) > 0 {
		return nil
	}
	for rule, source := range remove {
		if err := r.remove(ctx, rule, source); err != nil {
			return err
		}
	}
	return r.step(ctx, func(*pgx.Batch) {}, func(t *tx) error {
		t.write.Queue(`UPDATE routing SET done = true WHERE seen = $1`, r.seen)
		return nil
	})
}

// routesBefore are the places of all rules of which there may be deliveries: of what was carried out whole last, unsure
// where anything else was in force since.
func (s *Store) routesBefore(ctx context.Context, seen int64) (before map[string]store.Place, err error) {
	_, err = collect(ctx, s.pool, func(r pgx.CollectableRow) (struct{}, error) {
		var value []byte
		var done bool
		if err := r.Scan(&value, &done); err != nil {
			return struct{}{}, err
		}
		var routes map[string][]store.Route
		if err := json.Unmarshal(value, &routes); err != nil {
			return struct{}{}, err
		}
		if done {
			before = store.Places(routes)
		} else {
			before = store.Unsure(before, store.Places(routes))
		}
		return struct{}{}, nil
	}, `SELECT routes, done FROM routing WHERE seen < $1 AND seen >= coalesce((SELECT max(seen) FROM routing WHERE done AND seen < $1), 0) ORDER BY seen`, seen)
	return before, unavailable(err)
}

// errOutdated ends a Reroute: routes were put in force that are newer than its own, and bring the deliveries in line with
// themselves.
var errOutdated = errors.New("newer routes are in force")

// reroute is a Reroute at work, for routes that were seen in force.
type reroute struct {
	*Store
	seen int64
	now  time.Time
	did  store.Rerouted
}

// step is one commit of it.
func (r *reroute) step(ctx context.Context, read func(*pgx.Batch), decide func(*tx) error) error {
	var force int64
	return r.commit(ctx, func(b *pgx.Batch) {
		queueRouting(b, &force)
		read(b)
	}, func(t *tx) error {
		if force != r.seen {
			return errOutdated
		}
		return decide(t)
	})
}

// fill makes a delivery for every citizen of the source who has none for the rule. It carries a withdrawal
// where another of the citizen's deliveries does: a rule that was renamed takes over what the old one owes. Those at
// another target start anew at this one.
func (r *reroute) fill(ctx context.Context, source string, to store.Route) error {
	var last int64
	for {
		type row struct{ id, version, received int64 }
		var page []row
		made := 0
		err := r.step(ctx, func(b *pgx.Batch) {
			page, made = nil, 0
			b.Queue(`SELECT id, version, received FROM citizen WHERE id > $1 AND source = $2 AND version > 0 ORDER BY id LIMIT $3 FOR KEY SHARE`,
				last, source, rerouteChunk).Query(rows(func(found pgx.Rows) error {
				var c row
				err := found.Scan(&c.id, &c.version, &c.received)
				page = append(page, c)
				return err
			}))
		}, func(t *tx) error {
			ids := make([]int64, len(page))
			for i, c := range page {
				ids[i] = c.id
			}
			before, err := t.standings(ids)
			if err != nil {
				return err
			}
			for _, c := range page {
				was, there := before[c.id][to.Rule]
				if there && was.target == to.Target {
					continue
				}
				if there {
					t.ledger.Leave(was.target, was.Standing)
				}
				owed := false
				for _, p := range before[c.id] {
					owed = owed || p.Withdrawal
				}
				t.want(want{c.id, c.version, c.received, micros(r.now), to, owed})
				made++
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.did.Filled += made
		if len(page) < rerouteChunk {
			return nil
		}
		last = page[len(page)-1].id
	}
}

// remove ends a rule's deliveries of citizens of all sources but one, in the order of their ids.
func (r *reroute) remove(ctx context.Context, rule, but string) error {
	last := int64(0)
	for {
		var ids []int64
		var was []placed
		err := r.step(ctx, func(b *pgx.Batch) {
			ids, was = nil, nil
			b.Queue(`SELECT d.id, d.target, d.status, d.withdrawal FROM delivery d JOIN citizen c ON c.id = d.citizen
				WHERE d.id > $1 AND d.rule = $2 AND c.source <> $3 ORDER BY d.id LIMIT $4 FOR UPDATE OF d`, last, rule, but, rerouteChunk).Query(rows(func(row pgx.Rows) error {
				var id int64
				var p placed
				err := row.Scan(&id, &p.target, &p.Status, &p.Withdrawal)
				ids, was = append(ids, id), append(was, p)
				return err
			}))
		}, func(t *tx) error {
			for _, p := range was {
				t.ledger.Leave(p.target, p.Standing)
			}
			t.write.Queue(`DELETE FROM delivery WHERE id = ANY($1)`, ids)
			return nil
		})
		if err != nil {
			return err
		}
		r.did.Removed += len(was)
		for _, p := range was {
			if p.Withdrawal {
				r.did.Withdrawals++
			}
		}
		if len(ids) < rerouteChunk {
			return nil
		}
		last = ids[len(ids)-1]
	}
}
