package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
)

// While a change of the configuration goes from replica to replica, two of them are at work. One is in force for all: every
// replica takes updates in by its routes, so that none misses a delivery. A replica with another one delivers
// only what both know.
//
// The newest is in force: the one that was seen for the first time last. One that was seen before and comes back
// is older, unless no other replica that lives has the one in force; then it was brought back, and counts as new.

// routing is what this replica knows of that.
type routing struct {
	mu   sync.Mutex
	mine map[string][]store.Route // by source; nil before the first Reroute
	hash string
	seen int64 // of mine when it was in force last, else 0
	// others are routes that are in force and not mine, by seen.
	others map[int64]map[string][]store.Route
}

// wanted is the hash of this replica's routes, empty as long as it has none.
func (r *routing) wanted() (hash string, routes map[string][]store.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hash, r.mine
}

// known are this replica's rules for a target and when they were seen in force. All is nil as long as it has none.
func (r *routing) known(target string) (rules []string, seen int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mine == nil {
		return nil, 0
	}
	rules = []string{}
	for _, of := range r.mine {
		for _, route := range of {
			if route.Target == target {
				rules = append(rules, route.Rule)
			}
		}
	}
	return rules, r.seen
}

// set notes this replica's routes, and when they were seen if they are in force.
func (r *routing) set(hash string, routes map[string][]store.Route, seen int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hash, r.mine, r.seen = hash, routes, seen
}

func (r *routing) other(seen int64) (routes map[string][]store.Route, isMine, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	routes, known = r.others[seen]
	return routes, r.mine == nil || seen == 0 || seen == r.seen, known
}

// queueRouting reads which routes are in force, and keeps them so until the transaction ends.
func queueRouting(b *pgx.Batch, seen *int64) {
	*seen = 0
	b.Queue(`SELECT pg_advisory_xact_lock_shared(`+lockKey+`, $1)`, lockRoutes)
	b.Queue(`SELECT seen FROM routing WHERE in_force`).Query(rows(func(r pgx.Rows) error { return r.Scan(seen) }))
}

// routes are those in force; nil stands for those that the caller has.
type routes map[string][]store.Route

func (r routes) of(source string, callers []store.Route) []store.Route {
	if r == nil {
		return callers
	}
	return r[source]
}

// inForce are the routes that were seen so.
func (s *Store) inForce(ctx context.Context, db querier, seen int64) (routes, error) {
	found, mine, known := s.routing.other(seen)
	if mine || known {
		return found, nil
	}
	var value []byte
	if _, err := one(ctx, db, []any{&value}, `SELECT routes FROM routing WHERE seen = $1`, seen); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(value, &found); err != nil {
		return nil, err
	}
	s.routing.mu.Lock()
	defer s.routing.mu.Unlock()
	s.routing.others = map[int64]map[string][]store.Route{seen: found}
	return found, nil
}

// publish puts routes in force, unless they are older than those that are; seen is 0 then.
func (s *Store) publish(ctx context.Context, wanted map[string][]store.Route) (seen int64, done bool, err error) {
	value, err := json.Marshal(wanted)
	if err != nil {
		return 0, false, err
	}
	sum := sha256.Sum256(value)
	hash := hex.EncodeToString(sum[:8])
	err = s.commit(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT pg_advisory_xact_lock(`+lockKey+`, $1)`, lockRoutes)
	}, func(t *tx) error {
		var force string
		var forced, mine int64
		if _, err := t.row([]any{&force, &forced, &done}, `SELECT hash, seen, done FROM routing WHERE in_force`); err != nil {
			return err
		}
		if _, err := t.row([]any{&mine}, `SELECT seen FROM routing WHERE hash = $1`, hash); err != nil {
			return err
		}
		me := s.replica.number()
		t.write.Queue(`UPDATE replica SET routes = $2 WHERE id = $1`, me, hash)
		if force == hash {
			seen = forced
			return nil
		}
		if mine != 0 {
			var others int
			if _, err := t.row([]any{&others}, `SELECT count(*)::int FROM replica WHERE routes = $1 AND id <> $2`, force, me); err != nil {
				return err
			}
			if others > 0 {
				seen, done = 0, false
				return nil
			}
		}
		done = false
		if _, err := t.change(`UPDATE routing SET in_force = false WHERE in_force`); err != nil {
			return err
		}
		// When it was in force before does not matter any more; what came of it does, and that is in the deliveries.
		if _, err := t.change(`UPDATE routing SET hash = hash || ' until ' || seen WHERE hash = $1`, hash); err != nil {
			return err
		}
		_, err := t.row([]any{&seen}, `INSERT INTO routing (hash, routes, in_force) VALUES ($1, $2, true) RETURNING seen`, hash, value)
		return err
	})
	if err == nil {
		s.routing.set(hash, wanted, seen)
	}
	return seen, done, err
}

// Reroute puts the routes in force and works off the difference.
func (s *Store) Reroute(ctx context.Context, wanted map[string][]store.Route, now time.Time) (store.Rerouted, error) {
	var did store.Rerouted
	seen, done, err := s.publish(ctx, wanted)
	if err != nil || done {
		return did, err
	}
	if seen == 0 {
		s.log.Warn("other replicas have a newer configuration: its rules are in force, and of those only what this one knows is delivered here, until it is given it too or they end")
		return did, nil
	}
	before, owed, err := s.routesBefore(ctx, seen)
	if err != nil {
		return did, err
	}
	rules := map[string]bool{}
	for source, of := range wanted {
		for _, r := range of {
			rules[r.Rule] = true
			was, known := before[r.Rule]
			if !known {
				err = s.fill(ctx, source, r, now, &did)
			}
			if err == nil && was != r.Target {
				err = s.retarget(ctx, r, now, &did)
			}
			if err != nil {
				return did, err
			}
		}
	}
	for rule := range owed {
		if !rules[rule] {
			if err := s.remove(ctx, rule, &did); err != nil {
				return did, err
			}
		}
	}
	return did, s.commit(ctx, nil, func(t *tx) error {
		t.write.Queue(`UPDATE routing SET done = true WHERE seen = $1`, seen)
		return nil
	})
}

// routesBefore are the targets that were in force and carried out last, by rule; and all rules of which there may be
// deliveries, also of what was in force since and was not carried out whole.
func (s *Store) routesBefore(ctx context.Context, seen int64) (targets map[string]string, owed map[string]bool, err error) {
	targets, owed = map[string]string{}, map[string]bool{}
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
		for _, of := range routes {
			for _, r := range of {
				owed[r.Rule] = true
				switch was, known := targets[r.Rule]; {
				case done:
					targets[r.Rule] = r.Target
				case known && was != r.Target:
					targets[r.Rule] = "" // some of them may feed the one, and some the other
				}
			}
		}
		return struct{}{}, nil
	}, `SELECT routes, done FROM routing WHERE seen < $1 AND seen >= coalesce((SELECT max(seen) FROM routing WHERE done AND seen < $1), 0) ORDER BY seen`, seen)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	return targets, owed, nil
}

// retryRoutes puts this replica's routes in force that were not, once no other replica has those that are.
func (s *Store) retryRoutes(ctx context.Context) {
	s.routing.mu.Lock()
	mine, seen := s.routing.mine, s.routing.seen
	s.routing.mu.Unlock()
	if mine == nil {
		return
	}
	var force, others int64
	if _, err := one(ctx, s.pool, []any{&force, &others}, `SELECT f.seen, (SELECT count(*) FROM replica r WHERE r.routes = f.hash AND r.id <> $1)
		FROM routing f WHERE f.in_force`, s.replica.number()); err != nil || force == seen || others > 0 {
		return
	}
	did, err := s.Reroute(ctx, mine, time.Now())
	if err != nil {
		s.log.Error("the configuration of this replica is the only one left, and cannot be put in force", "error", err)
		return
	}
	s.log.Info("no other replica has another configuration any more: the rules of this one are in force", "filled", did.Filled, "removed", did.Removed)
}
