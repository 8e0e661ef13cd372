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
// replica takes updates in by its routes, so that none misses a delivery. Each delivers what it knows by its own.
//
// The newest is in force: the one that was seen for the first time last. One that was seen before and comes back
// is older, unless no other replica that lives has the one in force; then it was brought back, and counts as new. Should
// those only have been away for a while, their rules find everything as it was: only a replica that starts or is
// reloaded removes deliveries, because somebody wants that.

// routing is what this replica knows of that.
type routing struct {
	// publishing is for who puts routes in force, or notes which they are: of a reload and of what this replica does by
	// itself, one after the other.
	publishing sync.Mutex

	mu   sync.Mutex
	mine map[string][]store.Route // by source; nil before the first Route
	hash string
	seen int64 // of mine when it was in force last, else 0
	// others are routes that are in force and not mine, by seen.
	others map[int64]map[string][]store.Route
}

// own are this replica's routes, with their hash and when they were seen in force; nothing as long as it has none.
func (r *routing) own() (hash string, routes map[string][]store.Route, seen int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hash, r.mine, r.seen
}

// known are this replica's rules for a target, nil as long as it has no routes.
func (r *routing) known(target string) (rules []string) {
	_, routes, _ := r.own()
	if routes == nil {
		return nil
	}
	rules = []string{}
	for _, of := range routes {
		for _, route := range of {
			if route.Target == target {
				rules = append(rules, route.Rule)
			}
		}
	}
	return rules
}

// set notes this replica's routes, and when they were seen if they are in force.
func (r *routing) set(hash string, routes map[string][]store.Route, seen int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hash, r.mine, r.seen = hash, routes, seen
}

// at are the routes that were seen in force then, as far as they are known here; isMine is whether they are this replica's.
func (r *routing) at(seen int64) (routes map[string][]store.Route, isMine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seen == r.seen {
		return r.mine, true
	}
	return r.others[seen], false
}

// queueRouting reads which routes are in force, and keeps them so until the transaction ends.
func queueRouting(b *pgx.Batch, seen *int64) {
	*seen = 0
	b.Queue(`SELECT pg_advisory_xact_lock_shared(`+lockKey+`, $1)`, lockRoutes)
	b.Queue(`SELECT seen FROM routing WHERE in_force`).Query(rows(func(r pgx.Rows) error { return r.Scan(seen) }))
}

// inForce are the routes that were seen so, by source.
func (s *Store) inForce(ctx context.Context, db querier, seen int64) (map[string][]store.Route, error) {
	if _, mine, _ := s.routing.own(); mine == nil {
		return nil, store.ErrNoRoutes
	}
	found, _ := s.routing.at(seen)
	if found != nil {
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

// publish puts routes in force, unless they are older than those that are; seen is 0 then. If they come back it is 0 as
// well when they are not this replica's any more.
func (s *Store) publish(ctx context.Context, wanted map[string][]store.Route, back bool) (seen int64, err error) {
	value, err := json.Marshal(wanted)
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(value)
	hash := hex.EncodeToString(sum[:8])
	s.routing.publishing.Lock()
	defer s.routing.publishing.Unlock()
	if mine, _, _ := s.routing.own(); back && mine != hash {
		return 0, nil
	}
	err = s.commit(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT pg_advisory_xact_lock(`+lockKey+`, $1)`, lockRoutes)
	}, func(t *tx) error {
		var force string
		var forced, mine int64
		if _, err := t.row([]any{&force, &forced}, `SELECT hash, seen FROM routing WHERE in_force`); err != nil {
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
				seen = 0
				return nil
			}
		}
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
	return seen, err
}

// Route puts the routes in force.
func (s *Store) Route(ctx context.Context, wanted map[string][]store.Route) error {
	seen, err := s.publish(ctx, wanted, false)
	if err == nil && seen == 0 {
		s.log.Warn("other replicas have a newer configuration: its rules are in force, and of those only what this one knows is delivered here, until it is given it too or they end")
	}
	return err
}

// lookAfterRoutes puts this replica's routes in force again that are not, once no other replica has those that are.
func (s *Store) lookAfterRoutes() {
	look := time.NewTicker(s.beat())
	defer look.Stop()
	unfinished := false
	for {
		select {
		case <-look.C:
			unfinished = s.bringBack(s.stop, unfinished)
		case <-s.stop.Done():
			return
		}
	}
}

// bringBack does so once. It may be left unfinished, for the next time.
func (s *Store) bringBack(ctx context.Context, unfinished bool) bool {
	_, mine, seen := s.routing.own()
	if mine == nil {
		return false
	}
	if !unfinished {
		var force, others int64
		if _, err := one(ctx, s.pool, []any{&force, &others}, `SELECT f.seen, (SELECT count(*) FROM replica r WHERE r.routes = f.hash AND r.id <> $1)
			FROM routing f WHERE f.in_force`, s.replica.number()); err != nil || force == seen || others > 0 {
			return false
		}
		if seen, err := s.publish(ctx, mine, true); err != nil || seen == 0 {
			return false
		}
	}
	did, err := s.workOff(ctx, time.Now(), true)
	if err != nil {
		s.log.Error("the configuration of this replica is the only one left, and its deliveries cannot be made now", "error", err)
		return true
	}
	s.log.Info("no other replica has another configuration any more: the rules of this one are in force; deliveries of other rules wait until a replica starts or is reloaded", "filled", did.Filled)
	return false
}
