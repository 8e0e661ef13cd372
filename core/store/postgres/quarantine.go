package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// Quarantine keeps a body, once for its source.
func (s *Store) Quarantine(ctx context.Context, q store.Quarantined) error {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(q.Body)
	digest := mac.Sum(nil)
	body := s.sealer.Seal(seal.Quarantined(q.Source, digest), append([]byte{}, q.Body...))
	return s.commit(ctx, nil, func(t *tx) error {
		t.write.Queue(`INSERT INTO quarantine (source, received, reason, digest, size, body) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			q.Source, micros(q.Received), text(q.Reason), digest, len(q.Body), body)
		return nil
	})
}

// ListQuarantine lists entries without their bodies, in the order of their ids.
func (s *Store) ListQuarantine(ctx context.Context, f store.QuarantineFilter) ([]store.Quarantined, error) {
	all, err := collect(ctx, s.pool, func(r pgx.CollectableRow) (store.Quarantined, error) {
		var q store.Quarantined
		var received int64
		err := r.Scan(&q.ID, &q.Source, &received, &q.Reason, &q.Size)
		q.Received = instant(received)
		return q, err
	}, `SELECT id, source, received, reason, size FROM quarantine WHERE ($1 = ''::text OR source = $1) AND id > $2 ORDER BY id LIMIT $3`,
		f.Source, f.After, pageLimit(f.Limit))
	return all, clean(err)
}

// ShowQuarantine is one entry with its body.
func (s *Store) ShowQuarantine(ctx context.Context, id int64) (store.Quarantined, error) {
	q := store.Quarantined{ID: id}
	var received int64
	var digest, body []byte
	found, err := one(ctx, s.pool, []any{&q.Source, &received, &q.Reason, &digest, &q.Size, &body},
		`SELECT source, received, reason, digest, size, body FROM quarantine WHERE id = $1`, id)
	if err != nil {
		return q, clean(err)
	}
	if !found {
		return q, store.ErrNotFound
	}
	q.Received = instant(received)
	q.Body, err = s.sealer.Open(seal.Quarantined(q.Source, digest), body)
	return q, err
}

// DiscardQuarantine removes one entry.
func (s *Store) DiscardQuarantine(ctx context.Context, id int64) error {
	return s.commit(ctx, nil, func(t *tx) error {
		n, err := t.change(`DELETE FROM quarantine WHERE id = $1`, id)
		if err == nil && n == 0 {
			return store.ErrNotFound
		}
		return err
	})
}
