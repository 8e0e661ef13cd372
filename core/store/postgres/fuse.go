package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// fuseChunk is how many deliveries one commit lets go, so that updates get their turn.
const fuseChunk = 1000

// Fuses says of each target whose fuse ever blew how it stands.
func (s *Store) Fuses(ctx context.Context) (map[string]store.Fuse, error) {
	all := map[string]store.Fuse{}
	err := s.each(ctx, func(r pgx.CollectableRow) error {
		var target string
		var blown, released int64
		err := r.Scan(&target, &blown, &released)
		all[target] = store.Fuse{Blown: instant(blown), Released: instant(released)}
		return err
	}, `SELECT target, blown, released FROM fuse`)
	return all, err
}

// Granted says when each delivery of a target was last settled as granted.
func (s *Store) Granted(ctx context.Context, target string, since time.Time) (map[int64]time.Time, error) {
	all := map[int64]time.Time{}
	err := s.each(ctx, func(r pgx.CollectableRow) error {
		var id, at int64
		err := r.Scan(&id, &at)
		all[id] = instant(at)
		return err
	}, `SELECT id, granted FROM delivery WHERE target = $1 AND granted > 0 AND granted >= $2`, target, micros(since))
	return all, err
}

// Grant lets claims that would grant through their target's fuse, in their order, as long as it is whole and fewer than
// most count since a time, at all replicas together. It says of each that it let through whether that counts from now
// on. It does as long as the claim lasts; the settlement says whether it does from then on.
func (s *Store) Grant(ctx context.Context, target string, claims []store.Claimed, since time.Time, most int) (let map[int64]bool, err error) {
	ids := make([]int64, len(claims))
	for i, c := range claims {
		ids[i] = c.ID
	}
	var blown, released int64
	err = s.commit(ctx, func(b *pgx.Batch) {
		blown, released = 0, 0
		b.Queue(`SELECT pg_advisory_xact_lock(`+lockKey+`, $1)`, lockFuse)
		b.Queue(`SELECT blown, released FROM fuse WHERE target = $1`, target).Query(rows(func(r pgx.Rows) error { return r.Scan(&blown, &released) }))
	}, func(t *tx) error {
		let = map[int64]bool{}
		if blown != 0 {
			return nil
		}
		var counted []int64 // of those asked about
		all := 0
		if _, err := t.row([]any{&all, &counted}, `SELECT count(*)::int, coalesce(array_agg(id) FILTER (WHERE id = ANY($3)), '{}') FROM (
				SELECT id FROM delivery WHERE target = $1 AND granted > 0 AND granted >= $2
				UNION SELECT delivery FROM claim WHERE target = $1 AND grants
			) counted`, target, max(micros(since), released), ids); err != nil {
			return err
		}
		var first []store.Claimed
		for _, c := range claims {
			switch {
			case slices.Contains(counted, c.ID):
				let[c.ID] = false
			case all < most:
				all++
				let[c.ID] = true
				first = append(first, c)
			}
		}
		if targets, citizens, epochs := claimKeys(first); len(first) > 0 {
			t.write.Queue(`UPDATE claim k SET grants = true FROM unnest($1::text[], $2::bigint[], $3::bigint[]) u(target, citizen, epoch)
				WHERE k.target = u.target AND k.citizen = u.citizen AND k.epoch = u.epoch`, targets, citizens, epochs)
		}
		return nil
	})
	return let, err
}

// RetryFuse makes what a target's fuse holds due now. It is not due, or this would not end.
func (s *Store) RetryFuse(ctx context.Context, target string, now time.Time) (int, error) {
	return s.letGo(ctx, target, `next_attempt IS NULL`, store.ReasonFuse, now, false)
}

// ReleaseFuse makes a target's fuse whole, and what it holds due now. The fuse is whole with the commit that finds
// the last of it: what is held from then on has blown it anew.
func (s *Store) ReleaseFuse(ctx context.Context, target string, now time.Time) (int, error) {
	return s.letGo(ctx, target, `true`, store.ReasonReleased, now, true)
}

// letGo makes what a target's fuse holds, of that what a condition chooses, due now for a reason; and the fuse whole when
// there is none left, if that is asked for.
func (s *Store) letGo(ctx context.Context, target, where, reason string, now time.Time, whole bool) (all int, err error) {
	for {
		n := 0
		err := s.commit(ctx, nil, func(t *tx) (err error) {
			n, err = t.change(`UPDATE delivery SET next_attempt = $2, reason = $3 WHERE id IN (
				SELECT id FROM delivery WHERE target = $1 AND status = 0 AND reason <> '' AND reason = 'fuse' AND `+where+` ORDER BY id LIMIT $4 FOR UPDATE)`,
				target, micros(now), reason, fuseChunk)
			if n > 0 {
				t.changed[target] = true
			}
			if whole && n < fuseChunk {
				t.write.Queue(`UPDATE fuse SET blown = 0, released = $2 WHERE target = $1`, target, micros(now))
			}
			return err
		})
		all += n
		if err != nil || n < fuseChunk {
			return all, err
		}
	}
}

// Citizens lists citizens in the order of their numbers.
func (s *Store) Citizens(ctx context.Context, after int64, limit int) ([]store.Known, error) {
	all, err := collect(ctx, s.pool, func(r pgx.CollectableRow) (k store.Known, err error) {
		var citizenID, body []byte
		err = r.Scan(&k.Number, &k.Source, &citizenID, &k.Version, &body)
		k.CitizenID = string(citizenID)
		k.Body, _ = s.sealer.Open(seal.Who{Source: k.Source, CitizenID: k.CitizenID}.In(seal.Body), body)
		return k, err
	}, `SELECT id, source, citizen_id, version, body FROM citizen WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
	return all, clean(err)
}

// Extent is how many citizens are known, and the newest version of any. Of versions themselves some are given to nobody.
func (s *Store) Extent(ctx context.Context) (e store.Extent, err error) {
	_, err = one(ctx, s.pool, []any{&e.Citizens, &e.Newest}, `SELECT count(*), coalesce(max(version), 0) FROM citizen`)
	return e, clean(err)
}
