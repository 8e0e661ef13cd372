package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// The lanes of a target, in the order in which they are claimed; see the column lane.
const (
	laneWithdrawal = iota
	laneDeadWithdrawal
	lanePending
	laneDead
	lanes
)

// Claim hands out due deliveries of a target. The mutex is held from before the query until the claims are
// set, so that a delivery settled meanwhile cannot be handed out again from an older snapshot.
func (s *Store) Claim(ctx context.Context, target string, now time.Time, limit int, lanes store.Lanes) ([]store.Claimed, error) {
	s.claimMu.Lock()
	ids, err := s.claim(ctx, target, now, limit, lanes)
	s.claimMu.Unlock()
	if err != nil {
		return nil, err
	}
	claims, err := s.readClaims(ctx, ids)
	read := map[int64]bool{}
	for _, c := range claims {
		read[c.Citizen] = err == nil
	}
	for _, d := range ids {
		if !read[d.citizen] { // gone meanwhile, or not readable
			s.unclaim(target, d.citizen)
		}
	}
	if err != nil {
		return nil, err
	}
	return claims, nil
}

type dueDelivery struct{ id, citizen int64 }

// claim chooses deliveries and marks their citizens. The caller holds the mutex.
func (s *Store) claim(ctx context.Context, target string, now time.Time, limit int, from store.Lanes) ([]dueDelivery, error) {
	claimed := s.claims[target]
	if claimed == nil {
		claimed = map[int64]bool{}
		s.claims[target] = claimed
	}
	lane, end := laneWithdrawal, lanes
	switch from {
	case store.Withdrawals:
		end = lanePending
	case store.Others:
		lane = lanePending
	}
	var chosen []dueDelivery
	empty := s.emptyLanes(target)
	for ; lane < end && len(chosen) < limit; lane++ {
		if empty[lane] {
			continue
		}
		// Citizens that are taken already may stand before those who are not, with a delivery for each rule:
		// look further until there are enough, or no more.
		for n := limit - len(chosen) + len(claimed) + len(s.erasing[target]); ; n *= 2 {
			found, err := s.findDue(ctx, target, lane, now, n)
			if err != nil {
				for _, d := range chosen {
					delete(claimed, d.citizen)
				}
				return nil, err
			}
			for _, d := range found {
				if len(chosen) < limit && !claimed[d.citizen] && s.erasing[target][d.citizen] == 0 {
					claimed[d.citizen] = true
					chosen = append(chosen, d)
				}
			}
			if len(chosen) == limit || len(found) < n {
				break
			}
		}
	}
	return chosen, nil
}

// emptyLanes are those of which the ledger knows that they hold nothing, which spares looking.
func (s *Store) emptyLanes(target string) [lanes]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	noWithdrawal := s.ledger[ledger.Key{Target: target, Entry: ledger.Withdrawals}] == 0
	noDead := s.ledger[ledger.Key{Target: target, Entry: store.Dead.String()}] == 0
	return [lanes]bool{laneWithdrawal: noWithdrawal, laneDeadWithdrawal: noWithdrawal || noDead, laneDead: noDead}
}

func (s *Store) findDue(ctx context.Context, target string, lane int, now time.Time, limit int) ([]dueDelivery, error) {
	rows, err := s.stmts.due.QueryContext(ctx, target, lane, micros(now), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []dueDelivery
	for rows.Next() {
		var d dueDelivery
		if err := rows.Scan(&d.id, &d.citizen); err != nil {
			return nil, err
		}
		found = append(found, d)
	}
	return found, rows.Err()
}

// readClaims reads what was chosen, in that order, in one query.
func (s *Store) readClaims(ctx context.Context, chosen []dueDelivery) ([]store.Claimed, error) {
	if len(chosen) == 0 {
		return nil, nil
	}
	ids := []byte{'['}
	for i, d := range chosen {
		if i > 0 {
			ids = append(ids, ',')
		}
		ids = strconv.AppendInt(ids, d.id, 10)
	}
	rows, err := s.stmts.claimed.QueryContext(ctx, string(append(ids, ']')))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	claims := make([]store.Claimed, 0, len(chosen))
	for rows.Next() {
		var c store.Claimed
		var version, sentAt, received int64
		if c.Delivery, err = scanDelivery(rows, &c.Citizen, &version, &sentAt, &received); err != nil {
			return nil, err
		}
		c.SentAt, c.Received = instant(sentAt), instant(received)
		if c.Desired <= s.distrusted {
			c.Digest = nil
		}
		c.State = s.states.Get(c.Citizen, version)
		claims = append(claims, c)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	there := claims[:0]
	for _, c := range claims {
		if c.State == nil {
			// Should a newer state have come since, so much the better: it is what has to be delivered.
			var stored []byte
			err := s.stmts.body.QueryRowContext(ctx, c.Citizen).Scan(&stored)
			if errors.Is(err, sql.ErrNoRows) {
				continue // erased since
			}
			if err != nil {
				return nil, err
			}
			// A body that does not open is left out, which makes a dead letter of this one delivery: an error would
			// keep the target's others waiting for ever.
			c.Body, _ = s.seal.Open(seal.Who{Source: c.Source, CitizenID: c.CitizenID}.In(seal.Body), stored)
		}
		there = append(there, c)
	}
	return there, nil
}

// scanDelivery reads deliveryColumns, and then what else the query has.
func scanDelivery(row interface{ Scan(...any) error }, more ...any) (store.Delivery, error) {
	var d store.Delivery
	var next sql.NullInt64
	var since, failing, settled int64
	err := row.Scan(append([]any{
		&d.ID, &d.Rule, &d.Target, &d.Source, &d.CitizenID, &d.Status, &d.Withdrawal, &d.Desired, &d.Delivered,
		&d.Given, &d.Digest, &d.Attempts, &d.Crashes, &next, &since, &failing, &settled, &d.Outcome, &d.Reason, &d.Error,
	}, more...)...)
	d.NextAttempt, d.Since = instant(next.Int64), instant(since)
	d.FailingSince, d.SettledAt = instant(failing), instant(settled)
	return d, err
}

// Release ends claims and changes nothing.
func (s *Store) Release(claims []store.Claimed) {
	for _, c := range claims {
		s.unclaim(c.Target, c.Citizen)
	}
}

// Until is never: claims end with the process.
func (s *Store) Until(store.Claimed) time.Time { return time.Time{} }

// Share is everything: one process owns the file.
func (s *Store) Share() store.Share { return store.Share{Of: 1} }

func (s *Store) unclaim(target string, citizen int64) {
	s.claimMu.Lock()
	delete(s.claims[target], citizen)
	s.claimMu.Unlock()
}

// Forward moves next attempts that are later than latest to now.
func (s *Store) Forward(ctx context.Context, latest, now time.Time) (moved int, err error) {
	s.mu.Lock()
	targets := map[string]bool{}
	for k := range s.ledger {
		targets[k.Target] = true
	}
	s.mu.Unlock()
	for target := range targets {
		for lane := range lanes { // so that the index finds them
			err := s.do(ctx, func(w *writer) error {
				n, err := w.change(`UPDATE delivery SET next_attempt = ?
					WHERE target = ? AND lane = ? AND next_attempt IS NOT NULL AND next_attempt > ?`, micros(now), target, lane, micros(latest))
				if n > 0 {
					w.changed[target] = true
				}
				moved += n
				return err
			})
			if err != nil {
				return moved, err
			}
		}
	}
	return moved, s.do(ctx, func(w *writer) error {
		_, err := w.change(`UPDATE erasure SET next_attempt = ? WHERE next_attempt > ?`, micros(now), micros(latest))
		return err
	})
}

// NextDue is the earliest next attempt of a target, claimed or not.
func (s *Store) NextDue(ctx context.Context, target string) (time.Time, error) {
	s.claimMu.Lock()
	blocked, err := json.Marshal(slices.AppendSeq([]int64{}, maps.Keys(s.erasing[target])))
	s.claimMu.Unlock()
	if err != nil {
		return time.Time{}, err
	}
	var next sql.NullInt64
	err = s.stmts.nextDue.QueryRowContext(ctx, target, string(blocked)).Scan(&next)
	return instant(next.Int64), err
}
