package sqlite

import (
	"context"

	"github.com/consentd/consentd/core/store"
)

// Deliveries are all deliveries of one citizen, by rule.
func (s *Store) Deliveries(ctx context.Context, source, citizenID string) ([]store.Delivery, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+deliveryColumns+` FROM delivery d JOIN citizen c ON c.id = d.citizen
		WHERE c.source = ? AND c.citizen_id = ? ORDER BY d.rule`, source, citizenID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []store.Delivery
	for rows.Next() {
		d, err := scanDelivery(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

// Receipts are the proofs of confirmed deliveries of one citizen, oldest first.
func (s *Store) Receipts(ctx context.Context, source, citizenID string) ([]store.Receipt, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT r.id, r.rule, r.target, r.version, r.sent_at, r.received, r.confirmed,
			r.withdrawal, r.outcome, r.digest, r.plugin, r.reference, r.config
		FROM receipt r JOIN citizen c ON c.id = r.citizen
		WHERE c.source = ? AND c.citizen_id = ? ORDER BY r.id`, source, citizenID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []store.Receipt
	for rows.Next() {
		r := store.Receipt{Source: source, CitizenID: citizenID}
		var sentAt, received, confirmed int64
		if err := rows.Scan(&r.ID, &r.Rule, &r.Target, &r.Version, &sentAt, &received, &confirmed,
			&r.Withdrawal, &r.Outcome, &r.Digest, &r.Plugin, &r.Reference, &r.Config); err != nil {
			return nil, err
		}
		r.SentAt, r.Received, r.Confirmed = instant(sentAt), instant(received), instant(confirmed)
		all = append(all, r)
	}
	return all, rows.Err()
}
