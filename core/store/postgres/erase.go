package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/mentions"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// Erase removes all that is known of a citizen. What PostgreSQL keeps of it beyond that the README says.
func (s *Store) Erase(ctx context.Context, source, citizenID string, at time.Time, ask func(consent.State) ([]store.ErasureRequest, error)) (store.Erased, error) {
	var done store.Erased
	var row citizenRow
	err := s.commit(ctx, func(b *pgx.Batch) {
		// Who is not known gets a row as well, or an update could come in beside the tombstone and not see it.
		row = citizenRow{}
		queueCitizens(b, []string{source}, [][]byte{[]byte(citizenID)}, func(r citizenRow) { row = r })
	}, func(t *tx) (err error) {
		if row.id == 0 {
			return errVanished
		}
		done, err = t.erase(row, at, ask)
		return err
	})
	if err == nil {
		s.states.Drop(row.id)
		hint(s.scrub)
	}
	return done, err
}

func (t *tx) erase(row citizenRow, at time.Time, ask func(consent.State) ([]store.ErasureRequest, error)) (store.Erased, error) {
	var done store.Erased
	subject := store.Subject(t.key, row.Source, row.CitizenID)
	names, number := []string{row.CitizenID}, row.id
	if row.version > 0 {
		done.Known = true
		state, err := t.stateOf(row)
		if err != nil {
			return done, err
		}
		requests, err := ask(state)
		if err != nil {
			return done, err
		}
		if state.ExternalRef != "" {
			names = append(names, string(state.ExternalRef))
		}
		if err := t.forgetDeliveries(row.id); err != nil {
			return done, err
		}
		for _, r := range requests {
			records, err := json.Marshal(r.Records)
			if err != nil {
				return done, fmt.Errorf("encode records: %w", err)
			}
			t.write.Queue(`INSERT INTO erasure (target, citizen, subject, rule, records, requested, next_attempt) VALUES ($1, $2, $3, $4, $5, $6, $6)`,
				r.Target, row.id, subject, r.Rule, t.sealer.Seal(seal.Erased(subject), records), micros(at))
			if !slices.Contains(done.Asked, r.Target) {
				done.Asked = append(done.Asked, r.Target)
			}
		}
	} else if _, err := t.row([]any{&number}, `SELECT citizen FROM tombstone WHERE subject = $1`, subject); err != nil {
		return done, err // somebody who was erased before keeps the number they had
	}
	t.write.Queue(`DELETE FROM citizen WHERE id = $1`, row.id)
	t.write.Queue(`UPDATE receipt SET digest = NULL, reference = NULL, transactions = NULL WHERE subject = $1`, subject)
	t.write.Queue(`INSERT INTO tombstone AS t (subject, citizen, erased) VALUES ($1, $2, $3)
		ON CONFLICT (subject) DO UPDATE SET erased = greatest(t.erased, excluded.erased)`, subject, number, micros(at))
	var err error
	done.Quarantined, err = t.forgetQuarantined(row.Source, names)
	return done, err
}

func (t *tx) stateOf(row citizenRow) (consent.State, error) {
	var body []byte
	if _, err := t.row([]any{&body}, `SELECT body FROM citizen WHERE id = $1`, row.id); err != nil {
		return consent.State{}, err
	}
	body, err := t.sealer.Open(row.In(seal.Body), body)
	if err != nil {
		return consent.State{}, err
	}
	state, err := consent.Decode(body)
	if err != nil {
		return state, fmt.Errorf("read stored state: %w", err)
	}
	return state, nil
}

// forgetDeliveries removes a citizen's deliveries; what they still owed is erased.
func (t *tx) forgetDeliveries(id int64) error {
	all, err := gather(t, func(r pgx.CollectableRow) (p placed, err error) {
		err = r.Scan(&p.target, &p.Status, &p.Withdrawal)
		return p, err
	}, `DELETE FROM delivery WHERE citizen = $1 RETURNING target, status, withdrawal`, id)
	for _, p := range all {
		t.ledger.Erase(p.target, ledger.Standing{Status: p.Status, Withdrawal: p.Withdrawal})
		t.changed[p.target] = true
	}
	return err
}

// forgetQuarantined removes the bodies of a source that name somebody.
func (t *tx) forgetQuarantined(source string, names []string) (removed int, err error) {
	const at = 100
	var last int64
	for {
		var gone []int64
		page, err := gather(t, func(r pgx.CollectableRow) (struct{}, error) {
			var digest, stored []byte
			if err := r.Scan(&last, &digest, &stored); err != nil {
				return struct{}{}, err
			}
			// One that does not open tells nobody's name either.
			if body, err := t.sealer.Open(seal.Quarantined(source, digest), stored); err == nil && mentions.Any(body, names) {
				gone = append(gone, last)
			}
			return struct{}{}, nil
		}, `SELECT id, digest, body FROM quarantine WHERE source = $1 AND id > $2 ORDER BY id LIMIT $3`, source, last, at)
		if err != nil {
			return removed, err
		}
		if removed += len(gone); len(gone) > 0 {
			t.write.Queue(`DELETE FROM quarantine WHERE id = ANY($1)`, gone)
		}
		if len(page) < at {
			return removed, nil
		}
	}
}

// ClaimErasure hands out a request that is due. It has a claim like a delivery.
func (s *Store) ClaimErasure(ctx context.Context, target string, now time.Time) (store.Erasure, error) {
	e := store.Erasure{ErasureRequest: store.ErasureRequest{Target: target}}
	// Without a request, which is nearly always, this is all that is asked.
	var due bool
	if _, err := one(ctx, s.pool, []any{&due}, `SELECT EXISTS (SELECT 1 FROM erasure WHERE target = $1 AND next_attempt <= $2)`, target, micros(now)); err != nil {
		return e, clean(err)
	}
	me, epoch, ok := s.replica.epoch()
	if !due || !ok {
		s.replica.forget(epoch)
		return e, store.ErrNotFound
	}
	var records []byte
	err := s.commit(ctx, func(b *pgx.Batch) {
		e.ID = 0
		b.Queue(`WITH due AS (
				SELECT id, citizen FROM erasure e WHERE target = $1 AND next_attempt <= $2
					AND NOT EXISTS (SELECT 1 FROM claim k WHERE k.target = $1 AND k.citizen = e.citizen)
				ORDER BY next_attempt LIMIT 1 FOR UPDATE OF e SKIP LOCKED
			) INSERT INTO claim (target, citizen, delivery, replica, epoch) SELECT $1, citizen, -id, $3, $4 FROM due ON CONFLICT DO NOTHING`,
			target, micros(now), me, epoch)
		b.Queue(`SELECT e.id, e.citizen, e.subject, e.rule, e.records, e.requested, e.attempts FROM claim k JOIN erasure e ON e.id = -k.delivery
			WHERE k.replica = $1 AND k.epoch = $2`, me, epoch).Query(rows(func(r pgx.Rows) error {
			var requested int64
			err := r.Scan(&e.ID, &e.Citizen, &e.Subject, &e.Rule, &records, &requested, &e.Attempts)
			e.Requested, e.Epoch = instant(requested), epoch
			return err
		}))
	}, func(*tx) error { return nil })
	if err == nil && e.ID == 0 {
		err = store.ErrNotFound
	}
	if err == nil {
		records, err = s.sealer.Open(seal.Erased(e.Subject), records)
	}
	if err == nil {
		err = json.Unmarshal(records, &e.Records)
	}
	if err != nil {
		s.replica.forget(epoch)
		if errors.Is(err, store.ErrUnavailable) {
			s.replica.nudge() // it may be claimed in the database
		}
		return e, err
	}
	s.replica.holds(epoch, 1)
	return e, nil
}

// SettleErasure commits what became of a request. One that another replica has taken over is left to it.
func (s *Store) SettleErasure(ctx context.Context, st store.ErasureSettlement) error {
	e := st.Erasure
	var end end
	err := s.commit(context.WithoutCancel(ctx), func(b *pgx.Batch) {
		if st.Receipt != nil {
			end.queue(b)
		}
	}, func(t *tx) error {
		ours, err := t.change(endClaims, []string{e.Target}, []int64{e.Citizen}, []int64{e.Epoch})
		if err != nil || ours == 0 {
			return err
		}
		if st.Receipt == nil {
			t.write.Queue(`UPDATE erasure SET attempts = $2, next_attempt = $3, error = $4 WHERE id = $1`, e.ID, st.Attempts, micros(st.NextAttempt), text(st.Error))
			return nil
		}
		t.write.Queue(`DELETE FROM erasure WHERE id = $1`, e.ID)
		t.changed[e.Target] = true
		r := *st.Receipt
		r.Subject = e.Subject
		return t.receipts(&end, []store.Receipt{r})
	})
	s.replica.ended([]int64{e.Epoch})
	if err != nil {
		s.replica.nudge()
	}
	if err == nil && st.Receipt != nil {
		hint(s.scrub)
	}
	return err
}

// DropErasures gives up the requests of targets that are not among those given, if this replica's configuration is the
// one in force.
func (s *Store) DropErasures(ctx context.Context, targets []string) (dropped int, err error) {
	var seen int64
	err = s.commit(ctx, func(b *pgx.Batch) { queueRouting(b, &seen) }, func(t *tx) error {
		if _, mine := s.routing.at(seen); !mine {
			dropped = 0
			return nil
		}
		gone, err := gather(t, pgx.RowTo[string], `DELETE FROM erasure WHERE target <> ALL($1) RETURNING target`, append([]string{}, targets...))
		if dropped = len(gone); dropped > 0 {
			t.write.Queue(`DELETE FROM claim WHERE delivery < 0 AND target = ANY($1)`, gone)
		}
		for _, target := range gone {
			t.changed[target] = true
		}
		return err
	})
	if dropped > 0 {
		hint(s.scrub)
	}
	return dropped, err
}

// Erasures counts the open requests by target.
func (s *Store) Erasures(ctx context.Context) (map[string]store.OpenErasures, error) {
	all := map[string]store.OpenErasures{}
	_, err := collect(ctx, s.pool, func(r pgx.CollectableRow) (struct{}, error) {
		var target string
		var oldest int64
		var o store.OpenErasures
		err := r.Scan(&target, &o.N, &oldest, &o.Error)
		o.Oldest = instant(oldest)
		all[target] = o
		return struct{}{}, err
	}, `SELECT target, count(*), min(requested), (array_agg(error ORDER BY requested))[1] FROM erasure GROUP BY target`)
	return all, clean(err)
}
