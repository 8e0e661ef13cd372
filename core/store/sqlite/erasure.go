package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// ask writes a request to a target, and holds the citizen's deliveries there back until it is settled.
func (s *Store) ask(w *writer, citizen int64, subject []byte, r store.ErasureRequest, at time.Time) error {
	records, err := json.Marshal(r.Records)
	if err != nil {
		return fmt.Errorf("encode records: %w", err)
	}
	if _, err := w.change(`INSERT INTO erasure (target, citizen, subject, rule, records, requested, next_attempt)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, r.Target, citizen, subject, r.Rule, w.seal.Seal(seal.Erased(subject), records), micros(at), micros(at)); err != nil {
		return err
	}
	s.claimMu.Lock()
	s.erasing.add(r.Target, citizen, 1)
	s.claimMu.Unlock()
	return nil
}

// erasing counts open requests by target and citizen. One too many only until the store is opened anew, if
// its commit failed.
type erasing map[string]map[int64]int

func (e erasing) add(target string, citizen int64, n int) {
	of := e[target]
	if of == nil {
		of = map[int64]int{}
		e[target] = of
	}
	if of[citizen] += n; of[citizen] <= 0 {
		delete(of, citizen)
	}
}

func readErasing(ctx context.Context, db *sql.DB) (erasing, error) {
	rows, err := db.QueryContext(ctx, `SELECT target, citizen FROM erasure`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	e := erasing{}
	for rows.Next() {
		var target string
		var citizen int64
		if err := rows.Scan(&target, &citizen); err != nil {
			return nil, err
		}
		e.add(target, citizen, 1)
	}
	return e, rows.Err()
}

// ClaimErasure hands out a request that is due.
func (s *Store) ClaimErasure(ctx context.Context, target string, now time.Time) (store.Erasure, error) {
	e := store.Erasure{ErasureRequest: store.ErasureRequest{Target: target}}
	s.claimMu.Lock()
	defer s.claimMu.Unlock()
	if len(s.erasing[target]) == 0 {
		return e, store.ErrNotFound
	}
	rows, err := s.db.QueryContext(ctx, `SELECT id, citizen, subject, rule, records, requested, attempts FROM erasure
		WHERE target = ? AND next_attempt <= ? ORDER BY next_attempt`, target, micros(now))
	if err != nil {
		return e, err
	}
	defer rows.Close()
	for rows.Next() {
		var records []byte
		var requested int64
		if err := rows.Scan(&e.ID, &e.Citizen, &e.Subject, &e.Rule, &records, &requested, &e.Attempts); err != nil {
			return e, err
		}
		if s.claims[target][e.Citizen] {
			continue // a delivery is in flight; it would undo the erasure
		}
		e.Requested = instant(requested)
		if records, err = s.seal.Open(seal.Erased(e.Subject), records); err != nil {
			return e, err
		}
		return e, json.Unmarshal(records, &e.Records)
	}
	if err := rows.Err(); err != nil {
		return e, err
	}
	return e, store.ErrNotFound
}

// SettleErasure commits what became of a request.
func (s *Store) SettleErasure(ctx context.Context, st store.ErasureSettlement) error {
	e := st.Erasure
	err := s.do(context.WithoutCancel(ctx), func(w *writer) error {
		if st.Receipt == nil {
			_, err := w.change(`UPDATE erasure SET attempts = ?, next_attempt = ?, error = ? WHERE id = ?`,
				st.Attempts, micros(st.NextAttempt), st.Error, e.ID)
			return err
		}
		if _, err := w.change(`DELETE FROM erasure WHERE id = ?`, e.ID); err != nil {
			return err
		}
		w.changed[e.Target] = true
		r := *st.Receipt
		r.Subject = e.Subject
		return w.receipt(r)
	})
	if err != nil || st.Receipt == nil {
		return err
	}
	s.claimMu.Lock()
	s.erasing.add(e.Target, e.Citizen, -1)
	s.claimMu.Unlock()
	s.hint(e.Target)
	return s.scrub(ctx)
}

// DropErasures gives up the requests of targets that are not among those given.
func (s *Store) DropErasures(ctx context.Context, targets []string) (dropped int, err error) {
	open, err := s.Erasures(ctx)
	if err != nil {
		return 0, err
	}
	for target := range open {
		if slices.Contains(targets, target) {
			continue
		}
		err := s.do(ctx, func(w *writer) error {
			_, err := w.change(`DELETE FROM erasure WHERE target = ?`, target)
			w.changed[target] = true
			return err
		})
		if err != nil {
			return dropped, err
		}
		dropped += int(open[target].N)
		s.claimMu.Lock()
		delete(s.erasing, target)
		s.claimMu.Unlock()
	}
	if dropped > 0 {
		err = s.scrub(ctx)
	}
	return dropped, err
}

// Erasures counts the open requests by target.
func (s *Store) Erasures(ctx context.Context) (map[string]store.OpenErasures, error) {
	// Of the other columns SQLite takes those of the row with the minimum (sqlite.org/lang_select.html, 2.5).
	rows, err := s.db.QueryContext(ctx, `SELECT target, count(*), min(requested), error FROM erasure GROUP BY target`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]store.OpenErasures{}
	for rows.Next() {
		var target string
		var oldest int64
		var o store.OpenErasures
		if err := rows.Scan(&target, &o.N, &oldest, &o.Error); err != nil {
			return nil, err
		}
		o.Oldest = instant(oldest)
		all[target] = o
	}
	return all, rows.Err()
}
