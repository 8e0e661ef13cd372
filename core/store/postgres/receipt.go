package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
)

// end is where the chain of receipts ends: how many there are, and the hash of the last.
type end struct {
	receipts int64
	hash     []byte
}

// queue reads the end, and keeps it: of two transactions that write receipts the second waits here for the first.
func (e *end) queue(b *pgx.Batch) {
	*e = end{}
	b.Queue(`SELECT pg_advisory_xact_lock(`+lockKey+`, $1)`, lockReceipts)
	b.Queue(lastEnd).Query(rows(func(r pgx.Rows) error { return r.Scan(&e.receipts, &e.hash) }))
}

const lastEnd = `SELECT id, hash FROM receipt_end ORDER BY id DESC LIMIT 1`

// receipts writes some at the end of the chain.
func (t *tx) receipts(e *end, all []store.Receipt) error {
	n := len(all)
	if n == 0 {
		return nil
	}
	before := e.receipts
	ids, versions, sent, received, confirmed := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	texts := [7][]string{}
	for i := range texts {
		texts[i] = make([]string, n)
	}
	withdrawals, digests, subjects, seals, hashes := make([]bool, n), make([][]byte, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i, r := range all {
		if r.Subject == nil {
			r.Subject = store.Subject(t.key, r.Source, r.CitizenID)
		}
		r.Reference, r.Outcome, r.Plugin = text(r.Reference), text(r.Outcome), text(r.Plugin)
		r.Sealed = r.Seal(t.key)
		transactions, err := json.Marshal(r.Transactions)
		if err != nil {
			return err
		}
		*e = end{e.receipts + 1, r.Chained(e.hash)}
		ids[i], versions[i], sent[i], received[i], confirmed[i] = e.receipts, r.Version, micros(r.SentAt), micros(r.Received), micros(r.Confirmed)
		for j, v := range []string{r.Rule, r.Target, r.Outcome, r.Plugin, r.Reference, string(transactions), r.Config} {
			texts[j][i] = v
		}
		withdrawals[i], digests[i], subjects[i], seals[i], hashes[i] = r.Withdrawal, r.Digest, r.Subject, r.Sealed, e.hash
	}
	t.write.Queue(`INSERT INTO receipt (id, rule, target, version, sent_at, received, confirmed, withdrawal, outcome, digest, plugin, reference,
			transactions, config, subject, sealed, hash)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::boolean[], $9::text[],
			$10::bytea[], $11::text[], $12::text[], $13::text[], $14::text[], $15::bytea[], $16::bytea[], $17::bytea[])`,
		ids, texts[0], texts[1], versions, sent, received, confirmed, withdrawals, texts[2], digests, texts[3], texts[4], texts[5], texts[6],
		subjects, seals, hashes)
	t.write.Queue(`INSERT INTO receipt_end (id, hash) VALUES ($1, $2)`, e.receipts, e.hash)
	t.write.Queue(`DELETE FROM receipt_end WHERE id = $1`, before)
	return nil
}

const receiptColumns = `r.id, r.rule, r.target, r.version, r.sent_at, r.received, r.confirmed, r.withdrawal, r.outcome, r.digest,
	r.plugin, coalesce(r.reference, ''), coalesce(r.transactions, 'null'), r.config, r.subject, r.sealed, r.hash`

func scanReceipt(row pgx.CollectableRow) (store.Receipt, error) {
	var r store.Receipt
	var sentAt, received, confirmed int64
	var transactions []byte
	err := row.Scan(&r.ID, &r.Rule, &r.Target, &r.Version, &sentAt, &received, &confirmed, &r.Withdrawal, &r.Outcome, &r.Digest,
		&r.Plugin, &r.Reference, &transactions, &r.Config, &r.Subject, &r.Sealed, &r.Hash)
	r.SentAt, r.Received, r.Confirmed = instant(sentAt), instant(received), instant(confirmed)
	if err == nil {
		err = json.Unmarshal(transactions, &r.Transactions)
	}
	return r, err
}

// Receipts are the proofs of confirmed deliveries of one citizen, oldest first.
func (s *Store) Receipts(ctx context.Context, source, citizenID string) ([]store.Receipt, error) {
	all, err := collect(ctx, s.pool, scanReceipt, `SELECT `+receiptColumns+` FROM receipt r WHERE r.subject = $1 ORDER BY r.id`,
		store.Subject(s.key, source, citizenID))
	for i := range all {
		all[i].Source, all[i].CitizenID = source, citizenID
	}
	return all, clean(err)
}

// ListReceipts lists all receipts in the order of their ids.
func (s *Store) ListReceipts(ctx context.Context, after int64, limit int) ([]store.Receipt, error) {
	return s.listReceipts(ctx, s.pool, after, limit)
}

func (s *Store) listReceipts(ctx context.Context, db querier, after int64, limit int) ([]store.Receipt, error) {
	all, err := collect(ctx, db, scanReceipt, `SELECT `+receiptColumns+` FROM receipt r WHERE r.id > $1 ORDER BY r.id LIMIT $2`, after, limit)
	return all, clean(err)
}

// verifyAt is how many receipts are read at a time.
const verifyAt = 1000

// VerifyReceipts reads every receipt, in one snapshot.
func (s *Store) VerifyReceipts(ctx context.Context) (chain store.Chain, err error) {
	snapshot, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return chain, clean(err)
	}
	defer func() { _ = snapshot.Rollback(context.WithoutCancel(ctx)) }()
	var pruned []byte
	if _, err := one(ctx, snapshot, []any{&pruned}, `SELECT value FROM meta WHERE name = $1`, metaPruned); err != nil {
		return chain, clean(err)
	}
	begin := readEnd(pruned)
	var last end
	if _, err := one(ctx, snapshot, []any{&last.receipts, &last.hash}, lastEnd); err != nil {
		return chain, clean(err)
	}
	chain = store.Chain{Pruned: begin.receipts, Receipts: begin.receipts, Head: begin.hash}
	for at := int64(0); ; {
		page, err := s.listReceipts(ctx, snapshot, at, verifyAt)
		if err != nil {
			return chain, err
		}
		for _, r := range page {
			if !chain.Add(s.key, r) {
				return chain, nil
			}
			at = r.ID
		}
		if len(page) < verifyAt {
			chain.End(last.receipts, last.hash)
			return chain, nil
		}
	}
}
