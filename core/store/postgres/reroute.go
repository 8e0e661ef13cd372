package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
)

// rerouteChunk is how many deliveries one commit of Reroute touches, so that updates get their turn.
const rerouteChunk = 1000

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

// remove ends the deliveries of a rule that is gone, in the order of their ids.
func (r *reroute) remove(ctx context.Context, rule string) error {
	last := int64(0)
	for {
		var ids []int64
		var was []placed
		err := r.step(ctx, func(b *pgx.Batch) {
			ids, was = nil, nil
			b.Queue(`SELECT id, target, status, withdrawal FROM delivery WHERE id > $1 AND rule = $2 ORDER BY id LIMIT $3 FOR UPDATE`,
				last, rule, rerouteChunk).Query(rows(func(row pgx.Rows) error {
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
