package sqlite

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// Quarantine keeps a body, once for its source.
func (s *Store) Quarantine(ctx context.Context, q store.Quarantined) error {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(q.Body)
	digest := mac.Sum(nil)
	body := s.seal.Seal(seal.Quarantined(q.Source, digest), append([]byte{}, q.Body...))
	return s.do(ctx, func(w *writer) error {
		if _, err := w.stmts.insertQuarantine.Exec(q.Source, micros(q.Received), q.Reason, digest, len(q.Body), body); err != nil {
			return dbError{err}
		}
		return nil
	})
}

// ListQuarantine lists entries without their bodies, in the order of their ids.
func (s *Store) ListQuarantine(ctx context.Context, f store.QuarantineFilter) ([]store.Quarantined, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, source, received, reason, size FROM quarantine
		WHERE (?1 = '' OR source = ?1) AND id > ?2 ORDER BY id LIMIT ?3`, f.Source, f.After, pageLimit(f.Limit))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []store.Quarantined
	for rows.Next() {
		var q store.Quarantined
		var received int64
		if err := rows.Scan(&q.ID, &q.Source, &received, &q.Reason, &q.Size); err != nil {
			return nil, err
		}
		q.Received = instant(received)
		all = append(all, q)
	}
	return all, rows.Err()
}

// ShowQuarantine is one entry with its body.
func (s *Store) ShowQuarantine(ctx context.Context, id int64) (store.Quarantined, error) {
	q := store.Quarantined{ID: id}
	var received int64
	var digest, body []byte
	err := s.db.QueryRowContext(ctx, `SELECT source, received, reason, digest, size, body FROM quarantine WHERE id = ?`, id).
		Scan(&q.Source, &received, &q.Reason, &digest, &q.Size, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return q, store.ErrNotFound
	}
	if err != nil {
		return q, err
	}
	q.Received = instant(received)
	q.Body, err = s.seal.Open(seal.Quarantined(q.Source, digest), body)
	return q, err
}

// DiscardQuarantine removes one entry.
func (s *Store) DiscardQuarantine(ctx context.Context, id int64) error {
	return s.do(ctx, func(w *writer) error {
		n, err := w.change(`DELETE FROM quarantine WHERE id = ?`, id)
		if err == nil && n == 0 {
			return store.ErrNotFound
		}
		return err
	})
}
