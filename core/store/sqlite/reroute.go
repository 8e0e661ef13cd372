package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
)

// rerouteChunk is how many deliveries one commit of Reroute touches, so that updates get their turn.
const rerouteChunk = 1000

// Reroute compares the routes with those that were in force before, and works off the difference.
func (s *Store) Reroute(ctx context.Context, routes map[string][]store.Route, now time.Time) (store.Rerouted, error) {
	var done store.Rerouted
	before, err := s.routes(ctx)
	if err != nil {
		return done, fmt.Errorf("read routes: %w", err)
	}
	rules := map[string]string{} // to targets
	for source, of := range routes {
		for _, r := range of {
			rules[r.Rule] = r.Target
			was, known := before[r.Rule]
			switch {
			case !known:
				err = s.fill(ctx, source, r, now, &done)
			case was != r.Target:
				err = s.retarget(ctx, r, now, &done)
			}
			if err != nil {
				return done, fmt.Errorf("fill rule %s: %w", r.Rule, err)
			}
		}
	}
	for rule := range before {
		if _, there := rules[rule]; !there {
			if err := s.remove(ctx, rule, &done); err != nil {
				return done, fmt.Errorf("remove rule %s: %w", rule, err)
			}
		}
	}
	value, err := json.Marshal(rules)
	if err != nil {
		return done, err
	}
	return done, s.do(ctx, func(w *writer) error { return w.exec(w.stmts.putMeta, "routes", value) })
}

// routes are the targets that were in force last, by rule.
func (s *Store) routes(ctx context.Context) (map[string]string, error) {
	var value []byte
	err := s.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'routes'`).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var rules map[string]string
	err = json.Unmarshal(value, &rules)
	return rules, err
}

// fill makes a delivery for every citizen of the source who has none for the rule. It carries a withdrawal
// where another of the citizen's deliveries does: a rule that was renamed takes over what the old one owes.
func (s *Store) fill(ctx context.Context, source string, r store.Route, now time.Time, done *store.Rerouted) error {
	var last int64
	for {
		found := 0
		err := s.do(ctx, func(w *writer) error {
			type row struct {
				id, version, received int64
				withdrawal            bool
			}
			all, err := gather(w, func(rows *sql.Rows) (c row, err error) {
				err = rows.Scan(&c.id, &c.version, &c.received, &c.withdrawal)
				return c, err
			}, `SELECT c.id, c.version, c.received, EXISTS (SELECT 1 FROM delivery o WHERE o.citizen = c.id AND o.withdrawal = 1)
				FROM citizen c WHERE c.id > ? AND c.source = ? ORDER BY c.id LIMIT ?`, last, source, rerouteChunk)
			if err != nil {
				return err
			}
			for _, c := range all {
				last = c.id
				if before, _, err := w.standing(c.id, false, r); err != nil || before != nil {
					if err != nil {
						return err
					}
					continue
				}
				if err := w.exec(w.stmts.insertDelivery, c.id, r.Rule, r.Target, c.withdrawal, c.version, micros(now), c.received); err != nil {
					return err
				}
				w.enter(r.Target, c.withdrawal)
				done.Filled++
			}
			found = len(all)
			return nil
		})
		if err != nil || found < rerouteChunk {
			return err
		}
	}
}

// retarget starts the rule's deliveries anew at another target.
func (s *Store) retarget(ctx context.Context, r store.Route, now time.Time, done *store.Rerouted) error {
	return s.eachOf(ctx, `rule = ? AND target <> ?`, []any{r.Rule, r.Target}, func(w *writer, id int64, target string, was ledger.Standing) error {
		w.ledger.Leave(target, was)
		w.enter(r.Target, was.Withdrawal)
		done.Filled++
		_, err := w.change(`UPDATE delivery SET target = ?, status = 0, next_attempt = ?,
			given = 0, digest = NULL, delivered = 0, attempts = 0, crashes = 0, failing_since = 0, reason = '', error = '' WHERE id = ?`,
			r.Target, micros(now), id)
		return err
	})
}

// remove ends the deliveries of a rule that is gone.
func (s *Store) remove(ctx context.Context, rule string, done *store.Rerouted) error {
	return s.eachOf(ctx, `rule = ?`, []any{rule}, func(w *writer, id int64, target string, was ledger.Standing) error {
		w.ledger.Leave(target, was)
		done.Removed++
		if was.Withdrawal {
			done.Withdrawals++
		}
		_, err := w.change(`DELETE FROM delivery WHERE id = ?`, id)
		return err
	})
}

// enter puts a delivery that became pending into the ledger of its target.
func (w *writer) enter(target string, withdrawal bool) {
	w.ledger.Enter(target, withdrawal)
	w.changed[target] = true
}

// eachOf visits the deliveries that a condition chooses, in the order of their ids.
func (s *Store) eachOf(ctx context.Context, where string, args []any, visit func(w *writer, id int64, target string, was ledger.Standing) error) error {
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
			}, `SELECT id, target, status, withdrawal FROM delivery WHERE `+where+` AND id > ? ORDER BY id LIMIT ?`,
				append(args[:len(args):len(args)], last, rerouteChunk)...)
			if err != nil {
				return err
			}
			for _, r := range all {
				last = r.id
				if err := visit(w, r.id, r.target, r.was); err != nil {
					return dbError{err}
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
