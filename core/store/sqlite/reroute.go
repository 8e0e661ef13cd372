package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
)

// rerouteChunk is how many deliveries one commit of Reroute touches, so that updates get their turn.
const rerouteChunk = 1000

// Route notes of which rules there may be deliveries from now on, and puts the routes in force.
func (s *Store) Route(ctx context.Context, routes map[string][]store.Route) error {
	before, err := s.routesBefore(ctx)
	if err != nil {
		return err
	}
	if wanted := store.Places(routes); before == nil || !maps.Equal(before, wanted) {
		if err := s.putRoutes(ctx, store.Unsure(before, wanted)); err != nil {
			return err
		}
	}
	// What is taken in by the routes before is committed before anything that Reroute does.
	s.inForce.Store(&routes)
	return nil
}

// routesOf are the routes of a source that are in force.
func (s *Store) routesOf(source string) ([]store.Route, error) {
	routes := s.inForce.Load()
	if routes == nil {
		return nil, store.ErrNoRoutes
	}
	return (*routes)[source], nil
}

// Reroute works off the difference to what was in force before.
func (s *Store) Reroute(ctx context.Context, now time.Time) (store.Rerouted, error) {
	var done store.Rerouted
	routes := s.inForce.Load()
	if routes == nil {
		return done, store.ErrNoRoutes
	}
	before, err := s.routesBefore(ctx)
	if err != nil {
		return done, err
	}
	wanted := store.Places(*routes)
	if maps.Equal(before, wanted) {
		return done, nil
	}
	fill, remove := store.Difference(before, wanted)
	for rule, place := range fill {
		if err := s.fill(ctx, place.Source, store.Route{Rule: rule, Target: place.Target}, now, &done); err != nil {
			return done, fmt.Errorf("fill rule %s: %w", rule, err)
		}
	}
	for rule, source := range remove {
		if err := s.remove(ctx, rule, source, &done); err != nil {
			return done, fmt.Errorf("remove rule %s: %w", rule, err)
		}
	}
	return done, s.putRoutes(ctx, wanted)
}

// routesBefore are the places of all rules of which there may be deliveries; see store.Unsure.
func (s *Store) routesBefore(ctx context.Context) (rules map[string]store.Place, err error) {
	var value []byte
	switch err := s.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'routes'`).Scan(&value); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read routes: %w", err)
	}
	return rules, json.Unmarshal(value, &rules)
}

func (s *Store) putRoutes(ctx context.Context, rules map[string]store.Place) error {
	value, err := json.Marshal(rules)
	if err != nil {
		return err
	}
	return s.do(ctx, func(w *writer) error { return w.exec(w.stmts.putMeta, "routes", value) })
}

// fill makes a delivery for every citizen of the source who has none for the rule. It carries a withdrawal
// where another of the citizen's deliveries does: a rule that was renamed takes over what the old one owes. Those at
// another target start anew at this one.
func (s *Store) fill(ctx context.Context, source string, r store.Route, now time.Time, done *store.Rerouted) error {
	var last int64
	for {
		found := 0
		err := s.do(ctx, func(w *writer) error {
			type row struct{ id, version, received int64 }
			page, err := gather(w, func(rows *sql.Rows) (c row, err error) {
				err = rows.Scan(&c.id, &c.version, &c.received)
				return c, err
			}, `SELECT id, version, received FROM citizen WHERE id > ? AND source = ? ORDER BY id LIMIT ?`, last, source, rerouteChunk)
			if err != nil {
				return err
			}
			for _, c := range page {
				last = c.id
				all, err := w.placed(c.id)
				if err != nil {
					return err
				}
				before := placedBy(all, r.Rule)
				if before != nil && before.Target == r.Target {
					continue
				}
				owed := slices.ContainsFunc(all, func(p placed) bool { return p.Withdrawal })
				if err := w.pending(c.id, r, before, owed, c.version, micros(now), c.received); err != nil {
					return err
				}
				done.Filled++
			}
			found = len(page)
			return nil
		})
		if err != nil || found < rerouteChunk {
			return err
		}
	}
}

// remove ends a rule's deliveries of citizens of all sources but one.
func (s *Store) remove(ctx context.Context, rule, but string, done *store.Rerouted) error {
	var last int64
	for {
		found := 0
		err := s.do(ctx, func(w *writer) error {
			type row struct {
				id     int64
				target string
				was    ledger.Standing
			}
			all, err := gather(w, func(rows *sql.Rows) (r row, err error) {
				err = rows.Scan(&r.id, &r.target, &r.was.Status, &r.was.Withdrawal)
				return r, err
			}, `SELECT d.id, d.target, d.status, d.withdrawal FROM delivery d JOIN citizen c ON c.id = d.citizen
				WHERE d.rule = ? AND d.id > ? AND c.source <> ? ORDER BY d.id LIMIT ?`, rule, last, but, rerouteChunk)
			if err != nil {
				return err
			}
			for _, r := range all {
				last = r.id
				if _, err := w.change(`DELETE FROM delivery WHERE id = ?`, r.id); err != nil {
					return err
				}
				w.ledger.Leave(r.target, r.was)
				done.Removed++
				if r.was.Withdrawal {
					done.Withdrawals++
				}
			}
			found = len(all)
			return nil
		})
		if err != nil || found < rerouteChunk {
			return err
		}
	}
}

// enter puts a delivery that became pending into the ledger of its target.
func (w *writer) enter(target string, withdrawal bool) {
	w.ledger.Enter(target, withdrawal)
	w.changed[target] = true
}
