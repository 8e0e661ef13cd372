package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/consentd/consentd/sdk"
)

// record is what a rule renders. In Lists a null is nil: it forgets the answer, and false is an answer.
type record struct {
	Email string
	Lists map[string]*bool
}

func decode(r sdk.Record) (record, error) {
	var rec record
	if r.Decode(&rec) != nil || !strings.Contains(rec.Email, "@") {
		return rec, sdk.Rejected("INVALID_EMAIL", "email is no address").Err()
	}
	rec.Email = strings.ToLower(rec.Email) // as the mailer asks
	return rec, nil
}

// Deliver writes all records in one transaction. A record that cannot be taken is rejected by itself; if the
// transaction fails, none of the others was written.
func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return t.each(ctx, records, func(tx *sql.Tx, rec record) (sdk.Outcome, error) {
		changed := false
		for list, allowed := range rec.Lists {
			query, args := `DELETE FROM consent WHERE email = ?1 AND list = ?2`, []any{rec.Email, list}
			if allowed != nil {
				query = `INSERT INTO consent (email, list, allowed, since) VALUES (?1, ?2, ?3, ?4)
					ON CONFLICT (email, list) DO UPDATE SET allowed = excluded.allowed, since = excluded.since
					WHERE allowed <> excluded.allowed`
				args = append(args, *allowed, time.Now().UTC().Format(time.RFC3339))
			}
			res, err := tx.ExecContext(ctx, query, args...)
			if err != nil {
				return sdk.Outcome{}, err
			}
			if n, err := res.RowsAffected(); err != nil {
				return sdk.Outcome{}, err
			} else if n > 0 {
				changed = true
			}
		}
		if !changed {
			return sdk.Unchanged(), nil
		}
		return sdk.Delivered(""), nil
	})
}

// Erase removes the people.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return t.each(ctx, records, func(tx *sql.Tx, rec record) (sdk.Outcome, error) {
		_, err := tx.ExecContext(ctx, `DELETE FROM consent WHERE email = ?`, rec.Email)
		return sdk.Delivered(""), err
	})
}

// each does one thing for each record, all in one transaction. No outcome is told before the commit.
func (t *target) each(ctx context.Context, records []sdk.Record, do func(*sql.Tx, record) (sdk.Outcome, error)) []sdk.Outcome {
	outcomes := make([]sdk.Outcome, len(records))
	err := t.transaction(ctx, func(tx *sql.Tx) error {
		for i, r := range records {
			rec, err := decode(r)
			if err != nil {
				outcomes[i] = sdk.FromError(err)
				outcomes[i].Individual = true
				continue
			}
			if outcomes[i], err = do(tx, rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		failed := outcomeOf(err)
		for i := range outcomes {
			if outcomes[i].Kind != sdk.KindRejected {
				outcomes[i] = failed
			}
		}
	}
	return outcomes
}

func (t *target) transaction(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Read tells what the table has.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	readings := make([]sdk.Reading, len(records))
	for i, r := range records {
		rec, err := decode(r)
		if err == nil {
			readings[i], err = t.read(ctx, rec.Email)
		}
		if err != nil {
			readings[i] = sdk.Reading{Outcome: outcomeOf(err)}
		}
	}
	return readings
}

func (t *target) read(ctx context.Context, email string) (sdk.Reading, error) {
	rows, err := t.db.QueryContext(ctx, `SELECT list, allowed FROM consent WHERE email = ?`, email)
	if err != nil {
		return sdk.Reading{}, err
	}
	defer rows.Close()
	lists := map[string]bool{}
	for rows.Next() {
		var list string
		var allowed bool
		if err := rows.Scan(&list, &allowed); err != nil {
			return sdk.Reading{}, err
		}
		lists[list] = allowed
	}
	return sdk.Reading{
		Outcome: sdk.Delivered(""), Found: len(lists) > 0, Fields: map[string]any{"email": email, "lists": lists},
	}, rows.Err()
}

// Check is whether the table can be written, which it is not.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	err := t.transaction(ctx, func(tx *sql.Tx) error { // begins with the lock that a write takes
		_, err := tx.ExecContext(ctx, `SELECT email, list, allowed, since FROM consent LIMIT 1`)
		return err
	})
	if err != nil {
		return outcomeOf(err)
	}
	return sdk.Delivered("")
}

// outcomeOf says what a failure of the database means. SQLite's own texts stay here: nobody promises what they quote.
func outcomeOf(err error) sdk.Outcome {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return sdk.FromError(err)
	}
	switch e.Code() & 0xff { // the rest says where it happened
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return sdk.Retry("BUSY", "another program holds the database")
	case sqlite3.SQLITE_FULL:
		return sdk.Retry("DISK_FULL", "there is no space for the database")
	case sqlite3.SQLITE_INTERRUPT:
		return sdk.Retry("TIMEOUT", "the database did not answer in time")
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return sdk.Unauthorized("CANNOT_WRITE", "the database cannot be written: name its folder in write of the plugin block, and let the user of consentd write there")
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA:
		return sdk.Unauthorized("NOT_THE_DATABASE", "the file is no database, or its table consent is another one")
	}
	return sdk.Retry("SQLITE", "the database failed with code %d", e.Code())
}
