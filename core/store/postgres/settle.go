package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
)

// Settle commits what became of claimed deliveries and ends their claims, also on error. What was claimed by somebody
// else meanwhile, because this replica's lease had ended, is left to them.
func (s *Store) Settle(ctx context.Context, settlements []store.Settlement) error {
	epochs := make([]int64, len(settlements))
	for i, st := range settlements {
		epochs[i] = st.Claim.Epoch
	}
	// A settlement is not given up because its caller is: what happened at the target has happened.
	err := s.settles.do(context.WithoutCancel(ctx), settlements)
	s.replica.ended(epochs)
	if err != nil {
		s.replica.nudge() // the claims are in the database still
	}
	return err
}

func (s *Store) settleGroup(group []*request[[]store.Settlement]) error {
	var all []store.Settlement
	for _, r := range group {
		all = append(all, r.ask...)
	}
	err := s.settleOnce(all)
	for _, r := range group {
		r.done <- err
	}
	return err
}

// claimKey is a claim, by the epoch no other one ever.
type claimKey struct {
	target         string
	citizen, epoch int64
}

func claimKeys(claims []store.Claimed) (targets []string, citizens, epochs []int64) {
	for _, c := range claims {
		targets, citizens, epochs = append(targets, c.Target), append(citizens, c.Citizen), append(epochs, c.Epoch)
	}
	return targets, citizens, epochs
}

// settleReads is what settling takes, read in the message that begins the transaction. The claims are ended there too.
type settleReads struct {
	ours map[claimKey]bool
	rows map[int64]settleRow
	end  end
}

type settleRow struct {
	ledger.Standing
	desired int64
}

const endClaims = `DELETE FROM claim k USING unnest($1::text[], $2::bigint[], $3::bigint[]) u(target, citizen, epoch)
	WHERE k.target = u.target AND k.citizen = u.citizen AND k.epoch = u.epoch`

func (f *settleReads) queue(b *pgx.Batch, all []store.Settlement) {
	*f = settleReads{ours: map[claimKey]bool{}, rows: map[int64]settleRow{}}
	claims, ids, proven := make([]store.Claimed, len(all)), make([]int64, len(all)), false
	for i, st := range all {
		claims[i], ids[i], proven = st.Claim, st.Claim.ID, proven || st.Receipt != nil
	}
	targets, citizens, epochs := claimKeys(claims)
	// Deliveries are locked before claims, as Claim does: of two replicas that were at one, each would wait for the other.
	b.Queue(`SELECT id, status, withdrawal, desired FROM delivery WHERE id = ANY($1) ORDER BY id FOR UPDATE`, ids).Query(rows(func(r pgx.Rows) error {
		var id int64
		var row settleRow
		err := r.Scan(&id, &row.Status, &row.Withdrawal, &row.desired)
		f.rows[id] = row
		return err
	}))
	b.Queue(endClaims+` RETURNING k.target, k.citizen, k.epoch`, targets, citizens, epochs).Query(rows(func(r pgx.Rows) error {
		var k claimKey
		err := r.Scan(&k.target, &k.citizen, &k.epoch)
		f.ours[k] = true
		return err
	}))
	if proven {
		f.end.queue(b)
	}
}

func (s *Store) settleOnce(all []store.Settlement) error {
	var found settleReads
	lost := 0
	err := s.commit(context.Background(), func(b *pgx.Batch) { found.queue(b, all) }, func(t *tx) error {
		lost = 0
		var w settleWrites
		var proofs []store.Receipt
		for _, st := range all {
			c := st.Claim
			if st.Reason == store.ReasonFuse {
				t.write.Queue(`INSERT INTO fuse AS f (target, blown) VALUES ($1, $2)
					ON CONFLICT (target) DO UPDATE SET blown = excluded.blown WHERE f.blown = 0`, c.Target, micros(st.At))
			}
			if !found.ours[claimKey{c.Target, c.Citizen, c.Epoch}] {
				lost++
				continue
			}
			row, there := found.rows[c.ID]
			if !there {
				continue // erased, or its rule is gone
			}
			t.changed[c.Target] = true
			switch {
			case row.desired != c.Desired:
				// A newer update made it pending: this attempt only says what the target holds.
				w.older = append(w.older, st)
			case row.Status == store.Discarded && st.Status != store.Settled:
				// An operator gave it up while it was in flight, in vain.
			default:
				is := row.Settled(st)
				t.ledger.Settle(c.Target, row.Standing, is)
				w.settled, w.is = append(w.settled, st), append(w.is, is)
			}
			if st.Receipt != nil {
				proofs = append(proofs, *st.Receipt)
			}
		}
		w.flush(t)
		return t.receipts(&found.end, proofs)
	})
	if err == nil && lost > 0 {
		s.metrics.lost.Add(float64(lost))
		s.log.Warn("the lease ended before attempts were settled; they are left to the replica that took them over", "deliveries", lost)
	}
	return err
}

// settleWrites are what settlements write, one statement for those that stand as claimed and one for the others.
type settleWrites struct {
	settled, older []store.Settlement
	is             []ledger.Standing
}

func (w *settleWrites) flush(t *tx) {
	if n := len(w.settled); n > 0 {
		var ids, held, failing, at, grants []int64
		var status, attempts, crashes []int32
		var withdrawal, given []bool
		var digest [][]byte
		var next []*int64
		var outcome, reason, problem []string
		for i, st := range w.settled {
			ids, held, failing, at = append(ids, st.Claim.ID), append(held, delivered(st)), append(failing, micros(st.FailingSince)), append(at, micros(st.At))
			grants = append(grants, granted(st))
			status, attempts, crashes = append(status, int32(w.is[i].Status)), append(attempts, int32(st.Attempts)), append(crashes, int32(st.Crashes))
			withdrawal, given = append(withdrawal, w.is[i].Withdrawal), append(given, st.Given)
			digest, next = append(digest, st.Digest), append(next, nullable(st.NextAttempt))
			outcome, reason, problem = append(outcome, text(st.Outcome)), append(reason, text(st.Reason)), append(problem, text(st.Error))
		}
		t.write.Queue(`UPDATE delivery d SET status = u.status, withdrawal = u.withdrawal, delivered = u.delivered, digest = u.digest,
				attempts = u.attempts, crashes = u.crashes, next_attempt = u.next, failing_since = u.failing, settled_at = u.at,
				outcome = u.outcome, reason = u.reason, error = u.error, given = d.given OR u.given,
				granted = greatest(d.granted, u.granted)
			FROM unnest($1::bigint[], $2::int[], $3::boolean[], $4::bigint[], $5::bytea[], $6::int[], $7::int[], $8::bigint[], $9::bigint[],
				$10::bigint[], $11::text[], $12::text[], $13::text[], $14::boolean[], $15::bigint[])
				u(id, status, withdrawal, delivered, digest, attempts, crashes, next, failing, at, outcome, reason, error, given, granted)
			WHERE d.id = u.id`, ids, status, withdrawal, held, digest, attempts, crashes, next, failing, at, outcome, reason, problem, given, grants)
	}
	for _, st := range w.older {
		t.write.Queue(`UPDATE delivery d SET delivered = $2, digest = CASE WHEN outcome = 'resync' THEN NULL ELSE $3::bytea END, settled_at = $4, outcome = $5, given = d.given OR $6,
				since = CASE WHEN $7 THEN (SELECT received FROM citizen c WHERE c.id = d.citizen) ELSE since END, granted = greatest(granted, $8)
			WHERE id = $1`, st.Claim.ID, delivered(st), st.Digest, micros(st.At), text(st.Outcome), st.Given, st.Status == store.Settled, granted(st))
	}
}

// delivered is the version that the target is known to hold from now on.
func delivered(st store.Settlement) int64 {
	if st.Status == store.Settled {
		return st.Claim.Desired
	}
	return st.Claim.Delivered
}

// granted is when a grant was sent that counts, 0 if none was.
func granted(st store.Settlement) int64 {
	if !st.Granted {
		return 0
	}
	return micros(st.At)
}
