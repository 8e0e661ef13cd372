package sqlite

import (
	"context"
	"database/sql"
)

// deliveryColumns are what scanDelivery reads, from delivery d joined with citizen c.
const deliveryColumns = `d.id, d.rule, d.target, c.source, c.citizen_id, d.status, d.withdrawal, d.desired, d.delivered,
	d.given, d.digest, d.attempts, d.crashes, d.next_attempt, d.since, d.failing_since, d.settled_at, d.outcome, d.reason, d.error`

// citizenColumns are what scanCitizen reads.
const citizenColumns = `sent_at, proven, evidence, received, next, digest, grants, held`

// preparer is a database or one connection of it.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

type statement struct {
	to    **sql.Stmt
	query string
}

func prepareAll(ctx context.Context, on preparer, all []statement) error {
	for _, s := range all {
		stmt, err := on.PrepareContext(ctx, s.query)
		if err != nil {
			return err
		}
		*s.to = stmt
	}
	return nil
}

type readStmts struct {
	due, nextDue, claimed, body, oldestWithdrawal *sql.Stmt
}

func (s *readStmts) prepare(ctx context.Context, on preparer) error {
	return prepareAll(ctx, on, []statement{
		{&s.due, `SELECT id, citizen FROM delivery
			WHERE target = ? AND lane = ? AND next_attempt IS NOT NULL AND next_attempt <= ?
			ORDER BY next_attempt LIMIT ?`},
		{&s.nextDue, `SELECT min(due) FROM (
			SELECT * FROM (SELECT next_attempt AS due FROM delivery WHERE target = ?1 AND lane = 0 AND next_attempt IS NOT NULL
				AND citizen NOT IN (SELECT value FROM json_each(?2)) ORDER BY next_attempt LIMIT 1) UNION ALL
			SELECT * FROM (SELECT next_attempt AS due FROM delivery WHERE target = ?1 AND lane = 1 AND next_attempt IS NOT NULL
				AND citizen NOT IN (SELECT value FROM json_each(?2)) ORDER BY next_attempt LIMIT 1) UNION ALL
			SELECT * FROM (SELECT next_attempt AS due FROM delivery WHERE target = ?1 AND lane = 2 AND next_attempt IS NOT NULL
				AND citizen NOT IN (SELECT value FROM json_each(?2)) ORDER BY next_attempt LIMIT 1) UNION ALL
			SELECT * FROM (SELECT next_attempt AS due FROM delivery WHERE target = ?1 AND lane = 3 AND next_attempt IS NOT NULL
				AND citizen NOT IN (SELECT value FROM json_each(?2)) ORDER BY next_attempt LIMIT 1))`},
		{&s.claimed, `SELECT ` + deliveryColumns + `, d.citizen, c.version, c.sent_at, c.received
			FROM json_each(?) chosen CROSS JOIN delivery d ON d.id = chosen.value JOIN citizen c ON c.id = d.citizen
			ORDER BY chosen.key`},
		{&s.body, `SELECT body FROM citizen WHERE id = ?`},
		{&s.oldestWithdrawal, `SELECT min(since) FROM delivery WHERE target = ? AND withdrawal = 1`},
	})
}

type writeStmts struct {
	begin, commit, rollback, logSize, checkpoint   lastingStmt
	putMeta, addLedger                             lastingStmt
	selectCitizen, selectBody                      lastingStmt
	insertCitizen, updateState, updateCitizen      lastingStmt
	selectPlaced, insertDelivery, replaceDelivery  lastingStmt
	selectSettle, settle, settleOlder              lastingStmt
	insertReceipt, insertQuarantine                lastingStmt
	blowFuse, selectTombstone                      lastingStmt
	resealCitizen, resealQuarantine, resealErasure lastingStmt
	endKeys                                        lastingStmt
	all                                            []statement
}

func (s *writeStmts) prepare(ctx context.Context, on preparer) error {
	s.all = []statement{
		{&s.begin.stmt, `BEGIN IMMEDIATE`},
		{&s.commit.stmt, `COMMIT`},
		{&s.rollback.stmt, `ROLLBACK`},
		{&s.logSize.stmt, `PRAGMA wal_checkpoint(NOOP)`},
		{&s.checkpoint.stmt, `PRAGMA wal_checkpoint(PASSIVE)`},
		{&s.putMeta.stmt, `INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`},
		{&s.addLedger.stmt, `INSERT INTO ledger (target, entry, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n`},
		{&s.selectCitizen.stmt, `SELECT id, ` + citizenColumns + ` FROM citizen WHERE source = ? AND citizen_id = ?`},
		{&s.selectBody.stmt, `SELECT body FROM citizen WHERE id = ?`},
		{&s.insertCitizen.stmt, `INSERT INTO citizen
			(id, source, citizen_id, version, sent_at, proven, evidence, received, next, digest, grants, held, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.updateState.stmt, `UPDATE citizen SET version = ?, sent_at = ?, proven = ?, evidence = ?, received = ?,
			digest = ?, grants = ?, body = ? WHERE id = ?`},
		{&s.updateCitizen.stmt, `UPDATE citizen SET version = ?, sent_at = ?, proven = ?, evidence = ?, received = ?, next = ?,
			digest = ?, grants = ?, held = ?, body = ? WHERE id = ?`},
		{&s.selectPlaced.stmt, `SELECT rule, target, status, withdrawal FROM delivery WHERE citizen = ?`},
		{&s.insertDelivery.stmt, `INSERT INTO delivery (citizen, rule, target, status, withdrawal, desired, next_attempt, since)
			VALUES (?, ?, ?, 0, ?, ?, ?, ?)`},
		{&s.replaceDelivery.stmt, `UPDATE delivery SET
				target = ?1, status = 0, withdrawal = ?2, desired = ?3, next_attempt = ?4,
				since = CASE WHEN status IN (0, 2) THEN since ELSE ?5 END,
				digest = CASE WHEN status <> 0 AND target = ?1 THEN digest END,
				given = given AND target = ?1, delivered = CASE WHEN target = ?1 THEN delivered ELSE 0 END,
				attempts = 0, crashes = 0, failing_since = 0, reason = '', error = ''
			WHERE citizen = ?6 AND rule = ?7`},
		{&s.selectSettle.stmt, `SELECT status, withdrawal, desired FROM delivery WHERE id = ?`},
		{&s.settle.stmt, `UPDATE delivery SET
				status = ?, withdrawal = ?, delivered = ?, digest = ?, attempts = ?, crashes = ?, next_attempt = ?,
				failing_since = ?, settled_at = ?, outcome = ?, reason = ?, error = ?, given = max(given, ?),
				granted = coalesce(?, granted)
			WHERE id = ? AND desired = ? AND status = ? AND withdrawal = ?`},
		{&s.settleOlder.stmt, `UPDATE delivery SET
				delivered = ?1, digest = CASE WHEN outcome = 'resync' THEN NULL ELSE ?2 END, settled_at = ?3, outcome = ?4, given = max(given, ?5),
				since = CASE WHEN ?6 THEN (SELECT received FROM citizen WHERE citizen.id = delivery.citizen) ELSE since END,
				granted = coalesce(?7, granted)
			WHERE id = ?8`},
		{&s.blowFuse.stmt, `INSERT INTO fuse (target, blown) VALUES (?, ?) ON CONFLICT DO UPDATE SET blown = excluded.blown WHERE blown = 0`},
		{&s.selectTombstone.stmt, `SELECT citizen, erased FROM tombstone WHERE subject = ?`},
		{&s.insertReceipt.stmt, `INSERT INTO receipt
			(id, rule, target, version, sent_at, received, confirmed, withdrawal, outcome, digest, plugin, reference, transactions,
			config, subject, sealed, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.insertQuarantine.stmt, `INSERT INTO quarantine (source, received, reason, digest, size, body) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`},
		{&s.resealCitizen.stmt, `UPDATE citizen SET digest = ?, grants = ?, held = ?, body = ? WHERE id = ?`},
		{&s.resealErasure.stmt, `UPDATE erasure SET records = ? WHERE id = ?`},
		{&s.resealQuarantine.stmt, `UPDATE quarantine SET body = ? WHERE id = ?`},
		{&s.endKeys.stmt, `DELETE FROM meta WHERE substr(name, 1, ?) = ? AND name <> ?`},
	}
	return prepareAll(ctx, on, s.all)
}

func (s *writeStmts) close() {
	for _, st := range s.all {
		(*st.to).Close()
	}
}
