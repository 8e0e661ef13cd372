package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/consentd/consentd/core/store"
)

// head is where the chain of receipts ends: how many there are, and the hash of the last.
type head struct {
	receipts int64
	hash     []byte
}

// Where the chain ends and, once receipts were pruned, where it begins.
const (
	metaReceipts = "receipts"
	metaPruned   = "pruned"
)

func readHead(ctx context.Context, db querier, name string) (h head, err error) {
	var value []byte
	err = db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	return head{int64(binary.BigEndian.Uint64(value)), value[8:]}, nil
}

func (h head) value() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(h.receipts)), h.hash...)
}

// receipt writes one at the end of the chain.
func (w *writer) receipt(r store.Receipt) error {
	if r.Subject == nil {
		r.Subject = store.Subject(w.key, r.Source, r.CitizenID)
	}
	r.Sealed = r.Seal(w.key)
	transactions, err := json.Marshal(r.Transactions)
	if err != nil {
		return err
	}
	w.head = head{w.head.receipts + 1, r.Chained(w.head.hash)}
	return w.exec(w.stmts.insertReceipt, w.head.receipts, r.Rule, r.Target, r.Version, micros(r.SentAt), micros(r.Received),
		micros(r.Confirmed), r.Withdrawal, r.Outcome, r.Digest, r.Plugin, r.Reference, string(transactions), r.Config, r.Subject, r.Sealed, w.head.hash)
}

const receiptColumns = `r.id, r.rule, r.target, r.version, r.sent_at, r.received, r.confirmed, r.withdrawal, r.outcome, r.digest,
	r.plugin, coalesce(r.reference, ''), coalesce(r.transactions, 'null'), r.config, r.subject, r.sealed, r.hash`

func scanReceipt(rows *sql.Rows) (store.Receipt, error) {
	var r store.Receipt
	var sentAt, received, confirmed int64
	var transactions []byte
	err := rows.Scan(&r.ID, &r.Rule, &r.Target, &r.Version, &sentAt, &received, &confirmed, &r.Withdrawal, &r.Outcome, &r.Digest,
		&r.Plugin, &r.Reference, &transactions, &r.Config, &r.Subject, &r.Sealed, &r.Hash)
	r.SentAt, r.Received, r.Confirmed = instant(sentAt), instant(received), instant(confirmed)
	if err == nil {
		err = json.Unmarshal(transactions, &r.Transactions)
	}
	return r, err
}

func receipts(ctx context.Context, db querier, visit func(store.Receipt) bool, where string, args ...any) error {
	rows, err := db.QueryContext(ctx, `SELECT `+receiptColumns+` FROM receipt r `+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanReceipt(rows)
		if err != nil {
			return err
		}
		if !visit(r) {
			return nil
		}
	}
	return rows.Err()
}

// Receipts are the proofs of confirmed deliveries of one citizen, oldest first.
func (s *Store) Receipts(ctx context.Context, source, citizenID string) (all []store.Receipt, err error) {
	err = receipts(ctx, s.db, func(r store.Receipt) bool {
		r.Source, r.CitizenID = source, citizenID
		all = append(all, r)
		return true
	}, `WHERE r.subject = ? ORDER BY r.id`, store.Subject(s.key, source, citizenID))
	return all, err
}

// ListReceipts lists all receipts in the order of their ids.
func (s *Store) ListReceipts(ctx context.Context, after int64, limit int) (all []store.Receipt, err error) {
	err = receipts(ctx, s.db, func(r store.Receipt) bool {
		all = append(all, r)
		return true
	}, `WHERE r.id > ? ORDER BY r.id LIMIT ?`, after, limit)
	return all, err
}

// VerifyReceipts reads every receipt, in one snapshot.
func (s *Store) VerifyReceipts(ctx context.Context) (chain store.Chain, err error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return chain, err
	}
	defer tx.Rollback()
	pruned, err := readHead(ctx, tx, metaPruned)
	if err != nil {
		return chain, err
	}
	end, err := readHead(ctx, tx, metaReceipts)
	if err != nil {
		return chain, err
	}
	chain = store.Chain{Pruned: pruned.receipts, Receipts: pruned.receipts, Head: pruned.hash}
	err = receipts(ctx, tx, func(r store.Receipt) bool { return chain.Add(s.key, r) }, `ORDER BY r.id`)
	if err == nil {
		chain.End(end.receipts, end.hash)
	}
	return chain, err
}
