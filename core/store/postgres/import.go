package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// Source is a store of the SQLite kind that is read as it is: see sqlite.Export. What is sealed is taken over sealed,
// since it is bound to whose it is and not to where it is kept.
type Source interface {
	Meta(ctx context.Context, name string) ([]byte, error)
	Keys(ctx context.Context) (map[string][]byte, error)
	Numbers(ctx context.Context, table string) (int64, error)
	Count(ctx context.Context, table string) (int64, error)
	Page(ctx context.Context, table string, columns []string, order string, after any, limit int) ([][]any, error)
}

// imported are the tables that are copied, in an order in which references are kept, with the column that their rows are
// read in the order of. A column's last letter says what becomes of it: ! a truth value, * bytes.
var imported = []struct{ table, order, columns string }{
	{"citizen", "id", "id source citizen_id* version sent_at proven evidence received next digest* grants* held* body*"},
	{"delivery", "id", "id citizen rule target status withdrawal! desired delivered given! digest* attempts crashes next_attempt since " +
		"failing_since settled_at outcome reason error granted"},
	{"tombstone", "subject", "subject* citizen erased"},
	{"erasure", "id", "id target citizen subject* rule records* requested attempts next_attempt error"},
	{"quarantine", "id", "id source received reason digest* size body*"},
	{"receipt", "id", "id rule target version sent_at received confirmed withdrawal! outcome digest* plugin reference transactions config " +
		"subject* sealed* hash*"},
	{"fuse", "target", "target blown released"},
	{"ledger", "target || ' ' || entry", "target entry n"},
}

// importAt is how many rows are copied in one commit, with how far that is.
const importAt = 2000

// metaImport is the row of meta that says how far an import is, as long as it is not whole.
const metaImport = "import"

// importState is how far an import is.
type importState struct {
	Table int    `json:"table"`
	After any    `json:"after"` // what was copied last of it
	Bytes []byte `json:"bytes"` // the same, where it is bytes
	// Of tells whether the source is what it was when the import began.
	Of []byte `json:"of"`
}

var errImporting = errors.New("another store is being taken over into it, and that is not whole; run `consentd store migrate` again until it ends")

// Import takes another store over into a database that holds none. Broken off, it goes on where it was when it is called
// again. Progress is told of each table how many rows are copied, of how many. Nothing is in use before all is
// verified.
func Import(ctx context.Context, o Options, from Source, progress func(table string, done, of int64)) error {
	o.MaxConnections = cmp.Or(o.MaxConnections, DefaultConnections)
	sealer, err := seal.New(o.Keys)
	if err != nil {
		return err
	}
	pool, err := connect(ctx, o)
	if err != nil {
		return clean(err)
	}
	defer pool.Close()
	if err := migrate(ctx, pool); err != nil {
		return clean(err)
	}
	s := &Store{Options: o, pool: pool, sealer: sealer, hints: newHints()}
	at, err := s.beginImport(ctx, from)
	if err != nil {
		return err
	}
	for ; at.Table < len(imported); at.Table++ {
		if err := s.importTable(ctx, from, &at, progress); err != nil {
			return fmt.Errorf("copy %s: %w", imported[at.Table].table, err)
		}
		at.After, at.Bytes = nil, nil
	}
	if err := s.importRest(ctx, from); err != nil {
		return err
	}
	return s.endImport(ctx, from)
}

// beginImport finds out where to go on, or begins in a store that nothing was kept in yet.
func (s *Store) beginImport(ctx context.Context, from Source) (at importState, err error) {
	var of bytes.Buffer
	for _, name := range []string{"hash_key", "version", "receipts"} {
		value, err := from.Meta(ctx, name)
		if err != nil {
			return at, err
		}
		fmt.Fprintf(&of, "%x ", value)
	}
	err = s.commit(ctx, nil, func(t *tx) error {
		at = importState{Of: of.Bytes()}
		var stored []byte
		if found, err := t.row([]any{&stored}, `SELECT value FROM meta WHERE name = $1 FOR UPDATE`, metaImport); err != nil {
			return err
		} else if found {
			if err := json.Unmarshal(stored, &at); err != nil {
				return err
			}
			if !bytes.Equal(at.Of, of.Bytes()) {
				return errors.New("the store to take over is not the one, or not as it was, when this began; empty the database to begin anew")
			}
			return nil
		}
		var used bool
		if _, err := t.row([]any{&used}, `SELECT EXISTS (SELECT 1 FROM citizen) OR EXISTS (SELECT 1 FROM tombstone) OR EXISTS (SELECT 1 FROM receipt)
			OR EXISTS (SELECT 1 FROM quarantine) OR EXISTS (SELECT 1 FROM replica)`); err != nil {
			return err
		}
		if used {
			return errors.New("the database has a store in use already; name an empty database")
		}
		keys, err := from.Keys(ctx)
		if err != nil {
			return err
		}
		rows := map[string][]byte{}
		for name, canary := range keys {
			rows[strings.TrimPrefix(name, seal.KeyRows)] = canary
		}
		if _, err := s.sealer.Check(rows); err != nil {
			return err
		}
		t.write.Queue(`DELETE FROM meta WHERE name = 'hash_key' OR starts_with(name, $1)`, seal.KeyRows)
		for name, canary := range keys {
			t.write.Queue(`INSERT INTO meta (name, value) VALUES ($1, $2)`, name, canary)
		}
		return t.noteImport(at)
	})
	return at, err
}

func (t *tx) noteImport(at importState) error {
	value, err := json.Marshal(at)
	t.write.Queue(`INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, metaImport, value)
	return err
}

func (s *Store) importTable(ctx context.Context, from Source, at *importState, progress func(string, int64, int64)) error {
	table := imported[at.Table]
	columns := strings.Fields(table.columns)
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = strings.TrimRight(c, "!*")
	}
	read := names
	byKey := table.order != names[0] // by an expression, which is read beside
	if byKey {
		read = append(append([]string{}, names...), table.order)
	}
	of, err := from.Count(ctx, table.table)
	if err != nil {
		return err
	}
	var done int64
	if _, err := one(ctx, s.pool, []any{&done}, `SELECT count(*) FROM `+table.table); err != nil {
		return clean(err)
	}
	for {
		after := at.After
		switch {
		case at.Bytes != nil:
			after = at.Bytes
		case after != nil:
			if n, number := after.(float64); number {
				after = int64(n)
			}
		}
		page, err := from.Page(ctx, table.table, read, table.order, after, importAt)
		if err != nil {
			return err
		}
		if len(page) > 0 {
			last := page[len(page)-1]
			at.After, at.Bytes = last[0], nil
			if byKey {
				at.After = last[len(last)-1]
			}
			if b, isBytes := at.After.([]byte); isBytes {
				at.After, at.Bytes = nil, bytes.Clone(b)
			}
		}
		next := *at
		if len(page) < importAt {
			next = importState{Table: at.Table + 1, Of: at.Of}
		}
		err = s.commit(ctx, nil, func(t *tx) error {
			rows := make([][]any, len(page))
			for i, row := range page {
				rows[i] = convert(columns, row)
			}
			if _, err := t.conn.CopyFrom(t.ctx, pgx.Identifier{table.table}, names, pgx.CopyFromRows(rows)); err != nil {
				return dbError{err}
			}
			return t.noteImport(next)
		})
		if err != nil {
			return err
		}
		done += int64(len(page))
		progress(table.table, done, of)
		if len(page) < importAt {
			if done != of {
				return fmt.Errorf("there are %d rows, and %d in the store to take over", done, of)
			}
			return nil
		}
	}
}

// convert makes of a row of SQLite's one of ours.
func convert(columns []string, row []any) []any {
	out := make([]any, len(columns))
	for i, c := range columns {
		switch v := row[i].(type) {
		case int64:
			if out[i] = v; strings.HasSuffix(c, "!") {
				out[i] = v != 0
			}
		case string:
			if out[i] = text(v); strings.HasSuffix(c, "*") {
				out[i] = []byte(v)
			}
		default: // bytes and nothing
			out[i] = v
		}
	}
	return out
}

// importRest takes over what is in no table of its own.
func (s *Store) importRest(ctx context.Context, from Source) error {
	values := map[string][]byte{}
	for _, name := range []string{"hash_key", "version", "receipts", "pruned", "routes", "pauses"} {
		value, err := from.Meta(ctx, name)
		if err != nil {
			return err
		}
		values[name] = value
	}
	var rules map[string]store.Place
	pauses := map[string]store.Pause{}
	if err := unmarshalIf(values["routes"], &rules); err != nil {
		return err
	}
	if err := unmarshalIf(values["pauses"], &pauses); err != nil {
		return err
	}
	before := map[string][]store.Route{}
	for rule, place := range rules {
		before[place.Source] = append(before[place.Source], store.Route{Rule: rule, Target: place.Target})
	}
	routes, err := json.Marshal(before)
	if err != nil {
		return err
	}
	numbers := map[string]int64{"version": readEnd(append(values["version"], make([]byte, 8)...)).receipts}
	for _, table := range []string{"citizen", "delivery", "erasure", "quarantine"} {
		if numbers[table], err = from.Numbers(ctx, table); err != nil {
			return err
		}
	}
	return s.commit(ctx, nil, func(t *tx) error {
		t.write.Queue(`INSERT INTO meta (name, value) VALUES ('hash_key', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, values["hash_key"])
		if values["pruned"] != nil {
			t.write.Queue(`INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, metaPruned, values["pruned"])
		}
		t.write.Queue(`DELETE FROM receipt_end`)
		if end := readEnd(values["receipts"]); end.receipts > 0 {
			t.write.Queue(`INSERT INTO receipt_end (id, hash) VALUES ($1, $2)`, end.receipts, end.hash)
		}
		for target, p := range pauses {
			value, err := json.Marshal(p)
			if err != nil {
				return err
			}
			t.write.Queue(`INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, pausePrefix+target, value)
		}
		if rules != nil {
			t.write.Queue(`INSERT INTO routing (hash, routes, in_force, done) VALUES ('taken over', $1, false, true) ON CONFLICT DO NOTHING`, routes)
		}
		for table, n := range numbers {
			sequence := table
			if table != "version" {
				sequence += "_id_seq"
			}
			t.write.Queue(`SELECT setval($1::regclass, $2)`, sequence, max(1, n))
		}
		// What was pending may have been attempted without a trace.
		t.write.Queue(`UPDATE delivery SET digest = NULL WHERE status IN (0, 2)`)
		return nil
	})
}

func unmarshalIf(value []byte, to any) error {
	if value == nil {
		return nil
	}
	return json.Unmarshal(value, to)
}

// endImport verifies what was copied, and lets it be used.
func (s *Store) endImport(ctx context.Context, from Source) error {
	if _, err := s.pool.Exec(ctx, `ANALYZE`); err != nil {
		return clean(err)
	}
	if _, err := s.verifyKeys(ctx); err != nil {
		return clean(err)
	}
	for _, check := range []func() (string, error){
		func() (string, error) { return store.CheckReceipts(ctx, s) },
		func() (string, error) { return store.CheckLedger(ctx, s) },
		func() (string, error) { return s.verifyValues(ctx) },
	} {
		if _, err := check(); err != nil {
			return fmt.Errorf("verify what was copied: %w", clean(err))
		}
	}
	for _, table := range imported {
		of, err := from.Count(ctx, table.table)
		if err != nil {
			return err
		}
		var n int64
		if _, err := one(ctx, s.pool, []any{&n}, `SELECT count(*) FROM `+table.table); err != nil {
			return clean(err)
		}
		if n != of {
			return fmt.Errorf("verify what was copied: %s has %d rows, and %d in the store to take over", table.table, n, of)
		}
	}
	return s.commit(ctx, nil, func(t *tx) error {
		t.write.Queue(`DELETE FROM meta WHERE name = $1`, metaImport)
		return nil
	})
}
