package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/storetest"
	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

var server pgtest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	server.Remove()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var (
	ctx            = context.Background()
	oldKey, newKey = bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	t0             = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	toMail         = []store.Route{{Rule: "newsletter", Target: "mail"}}
)

// fresh opens a store for the length of the test, unless it is closed before.
func fresh(t testing.TB, dsn string, keys ...[]byte) *Store {
	t.Helper()
	s, err := Open(ctx, Options{DSN: dsn, Keys: keys, MaxConnections: 8})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// open1 is fresh, with toMail in force.
func open1(t testing.TB, dsn string, keys ...[]byte) *Store {
	t.Helper()
	s := fresh(t, dsn, keys...)
	route(t, s, toMail...)
	return s
}

func route(t testing.TB, s *Store, routes ...store.Route) {
	t.Helper()
	if err := s.Route(ctx, map[string][]store.Route{"s": routes}); err != nil {
		t.Fatal(err)
	}
}

// replicas are so many over one database.
func replicas(t *testing.T, n int) (dsn string, all []*Store) {
	t.Helper()
	dsn = server.Cluster(t).Database(t)
	for range n {
		s := open1(t, dsn)
		t.Cleanup(func() {
			if s.stop.Err() == nil {
				s.Close()
			}
		})
		all = append(all, s)
	}
	return dsn, all
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		dsn := server.Cluster(t).Database(t)
		return func(t *testing.T) store.Store { return fresh(t, dsn) }
	})
}

func TestSealedStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		dsn := server.Cluster(t).Database(t)
		return func(t *testing.T) store.Store { return fresh(t, dsn, oldKey) }
	})
}

// update of a citizen, recorded so many minutes after t0. It says the word in everything that may say it.
func update(citizen, state string, minute int) consent.Update {
	at := t0.Add(time.Duration(minute) * time.Minute)
	s := consent.State{CitizenID: consent.Identifier(citizen), ExternalRef: word, SentAt: at, Permissions: []consent.Permission{{
		OptionType: "option", OptionID: "k3Rmx", State: state, RecordedAt: at, Campaign: word,
	}}}
	return consent.Update{Source: "s", Type: consent.EffectivePermission, Received: at, State: s, Body: consent.Encode(s)}
}

const word = "a-word-that-nobody-else-says"

func accept(t *testing.T, s *Store, u consent.Update, want consent.Verdict) {
	t.Helper()
	if v, err := s.Accept(ctx, u); err != nil || v != want {
		t.Fatalf("%v, %v; want %v", v, err, want)
	}
}

func claim(t *testing.T, s *Store, want int) []store.Claimed {
	t.Helper()
	c, err := s.Claim(ctx, "mail", time.Now(), 10, store.AllLanes)
	if err != nil || len(c) != want {
		t.Fatalf("claimed %d, %v; want %d", len(c), err, want)
	}
	return c
}

func settle(t *testing.T, s *Store, claims ...store.Claimed) {
	t.Helper()
	var all []store.Settlement
	for _, c := range claims {
		all = append(all, store.Settlement{Claim: c, At: time.Now(), Status: store.Settled, Outcome: "delivered", Digest: []byte("d"), Given: true,
			Receipt: &store.Receipt{Source: c.Source, CitizenID: c.CitizenID, Rule: c.Rule, Target: c.Target, Digest: []byte("d"), Reference: word}})
	}
	if err := s.Settle(ctx, all); err != nil {
		t.Fatal(err)
	}
}

// whole holds a store to its own checks.
func whole(t *testing.T, dsn string, keys ...[]byte) {
	t.Helper()
	for name, problem := range problems(t, dsn, keys...) {
		t.Errorf("%s: %s", name, problem)
	}
}

func problems(t *testing.T, dsn string, keys ...[]byte) map[string]string {
	t.Helper()
	checks, err := Verify(ctx, Options{DSN: dsn, Keys: keys})
	if err != nil || len(checks) == 0 {
		t.Fatal(checks, err)
	}
	found := map[string]string{}
	for _, c := range checks {
		if strings.Contains(c.Found+c.Problem, word) {
			t.Errorf("%s says %q", c.Name, c.Problem)
		}
		if c.Problem != "" {
			found[c.Name] = c.Problem
		}
	}
	return found
}

func execute(t *testing.T, dsn, statements string) {
	t.Helper()
	if err := server.Cluster(t).Exec(pgtest.Name(dsn), statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// says is whether any row of any table has a text, in any column.
func says(t *testing.T, dsn, text string) (where []string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	tables, err := collect(ctx, conn, pgx.RowTo[string], `SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		var n int
		query := `SELECT count(*)::int FROM ` + table + ` r WHERE strpos(r::text, $1) > 0 OR strpos(r::text, encode($1::text::bytea, 'hex')) > 0`
		if _, err := one(ctx, conn, []any{&n}, query, text); err != nil {
			t.Fatal(table, err)
		}
		if n > 0 {
			where = append(where, table)
		}
	}
	return where
}

// TestOpenRefuses: what is not fit is named, with what to do, and stays as it is.
func TestOpenRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		before string
		keys   [][]byte
		want   string
	}{
		"not durable":      {"ALTER DATABASE %s SET synchronous_commit = off", nil, "synchronous_commit is off"},
		"of another":       {"CREATE TABLE people (id int)", nil, "tables of something else"},
		"read-only role":   {"REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE %s LOGIN", nil, "may not make tables in the schema public"},
		"no schema":        {"ALTER DATABASE %s SET search_path = nowhere", nil, "names no schema that is there"},
		"short key":        {"", [][]byte{{1}}, "not 32 bytes long"},
		"encoding":         {"", nil, "encoding is SQL_ASCII"},
		"no such database": {"", nil, "does not exist"},
		"not a dsn":        {"", nil, "its dsn cannot be read"},
	} {
		dsn := server.Cluster(t).Database(t)
		if tc.before != "" {
			execute(t, dsn, strings.ReplaceAll(tc.before, "%s", pgtest.Name(dsn)))
		}
		switch name {
		case "read-only role":
			dsn = strings.Replace(dsn, "consentd@", pgtest.Name(dsn)+"@", 1)
		case "encoding":
			ascii := pgtest.Name(dsn) + "_ascii"
			if err := server.Cluster(t).Exec("postgres", "CREATE DATABASE "+ascii+" ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"); err != nil {
				t.Fatal(err)
			}
			dsn = server.Cluster(t).DSN(ascii)
		case "no such database":
			dsn = server.Cluster(t).DSN("absent")
		case "not a dsn":
			dsn = "postgres://u:s3cret@h:port/x"
		}
		s, err := Open(ctx, Options{DSN: dsn, Keys: tc.keys})
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaOfItsOwn: a store in the schema of its role has nothing to do with one of another role that is in the next of
// the search_path.
func TestSchemaOfItsOwn(t *testing.T) {
	dsn := server.Cluster(t).Database(t)
	first := open1(t, dsn)
	defer first.Close()
	accept(t, first, update("c-1", "GRANTED", 0), consent.Accepted)
	role := pgtest.Name(dsn)
	execute(t, dsn, "CREATE ROLE "+role+" LOGIN; CREATE SCHEMA AUTHORIZATION "+role)
	for minute := range 2 { // made, and opened again
		second := open1(t, strings.Replace(dsn, "consentd@", role+"@", 1))
		if _, err := second.Citizen(ctx, "s", "c-1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a citizen of the first one: %v", err)
		}
		accept(t, second, update("c-2", "GRANTED", minute), consent.Accepted)
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := first.Citizen(ctx, "s", "c-2"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a citizen of the second one: %v", err)
	}
}

// TestNewerSchema: an older consentd works with a newer schema that allows it, and refuses any other.
func TestNewerSchema(t *testing.T) {
	dsn := server.Cluster(t).Database(t)
	s := open1(t, dsn)
	accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
	s.Close()
	execute(t, dsn, "INSERT INTO consentd_schema (version_id, is_applied) VALUES (99999, true)")
	s = open1(t, dsn)
	claim(t, s, 1)
	s.Close()
	whole(t, dsn)
	execute(t, dsn, "UPDATE meta SET value = '99999' WHERE name = 'compatible'")
	if s, err := Open(ctx, Options{DSN: dsn}); err == nil || !strings.Contains(err.Error(), "newer consentd") {
		t.Errorf("%v, %v", s, err)
	}
	if found := problems(t, dsn); found["schema"] == "" {
		t.Error(found)
	}
}

// TestKeys goes from clear to a key and on to another, and refuses to open what none opens.
func TestKeys(t *testing.T) {
	dsn := server.Cluster(t).Database(t)
	s := open1(t, dsn)
	for n := range 20 {
		accept(t, s, update(fmt.Sprint("c", n), "DENIED", 5), consent.Accepted)
	}
	if err := s.Quarantine(ctx, store.Quarantined{Source: "s", Received: t0, Reason: "x", Body: []byte("{" + word)}); err != nil {
		t.Fatal(err)
	}
	if len(says(t, dsn, word)) == 0 {
		t.Fatal("the search finds nothing")
	}
	hashKey := bytes.Clone(s.HashKey())
	s.Close()
	for _, keys := range [][][]byte{{oldKey}, {newKey, oldKey}, {newKey}} {
		s = open1(t, dsn, keys...)
		for more := true; more; {
			var err error
			if more, err = s.Reseal(ctx, 7); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := s.Citizen(ctx, "s", "c7"); err != nil || !bytes.Contains(c.Body, []byte(word)) || !bytes.Equal(s.HashKey(), hashKey) {
			t.Errorf("%v, hash key %x", err, s.HashKey())
		}
		s.Close()
		whole(t, dsn, keys...)
	}
	if where := says(t, dsn, word); len(where) > 0 {
		t.Errorf("in clear in %q", where)
	}
	for _, keys := range [][][]byte{nil, {oldKey}} {
		if s, err := Open(ctx, Options{DSN: dsn, Keys: keys}); err == nil || !strings.Contains(err.Error(), "encryption key is missing") {
			t.Errorf("%v, %v", s, err)
		}
		if found := problems(t, dsn, keys...); found["keys"] == "" || found["values"] == "" {
			t.Error(found)
		}
	}
}

// TestVerify: whatever is not as it should be is found under its name, and nothing else.
func TestVerify(t *testing.T) {
	for name, tc := range map[string]struct{ tamper, wrong string }{
		"all is well":       {"", ""},
		"ledger":            {"INSERT INTO ledger_change (target, entry, n) VALUES ('mail', 'accepted', 1)", "ledger"},
		"receipt gone":      {"DELETE FROM receipt WHERE id = 2", "receipts"},
		"last receipt gone": {"DELETE FROM receipt WHERE id = (SELECT max(id) FROM receipt)", "receipts"},
		"receipt changed":   {"UPDATE receipt SET outcome = 'unchanged' WHERE id = 1", "receipts"},
		"value":             {"UPDATE citizen SET body = '\\x07' WHERE citizen_id = 'c1'", "values"},
		"another's value":   {"UPDATE citizen SET body = (SELECT body FROM citizen WHERE citizen_id = 'c2') WHERE citizen_id = 'c1'", "values"},
		"canary":            {"UPDATE meta SET value = '\\x0000' WHERE name LIKE 'key %'", "keys"},
	} {
		dsn := server.Cluster(t).Database(t)
		s := open1(t, dsn, oldKey)
		for n := range 4 {
			accept(t, s, update(fmt.Sprint("c", n), "GRANTED", 1), consent.Accepted)
		}
		settle(t, s, claim(t, s, 4)...)
		s.Close()
		if tc.tamper != "" {
			execute(t, dsn, tc.tamper)
		}
		found := problems(t, dsn, oldKey)
		if (tc.wrong == "") != (len(found) == 0) || tc.wrong != "" && (found[tc.wrong] == "" || len(found) > 1) {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// TestErasedLeavesNoRow: whatever is told of somebody is out of every table, but the request to their target until that
// has confirmed it.
func TestErasedLeavesNoRow(t *testing.T) {
	dsn, all := replicas(t, 1)
	s := all[0]
	for minute := range 3 {
		accept(t, s, update("ada-1815", []string{"GRANTED", "DENIED"}[minute%2], minute), consent.Accepted)
		settle(t, s, claim(t, s, 1)...)
	}
	if err := s.Quarantine(ctx, store.Quarantined{Source: "s", Received: t0, Reason: "x", Body: []byte("{" + word)}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{word, "ada-1815"} {
		if len(says(t, dsn, text)) == 0 {
			t.Fatalf("the search finds no %s", text)
		}
	}
	done, err := s.Erase(ctx, "s", "ada-1815", time.Now(), func(consent.State) ([]store.ErasureRequest, error) { return nil, nil })
	if err != nil || !done.Known || done.Quarantined != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, text := range []string{word, "ada-1815"} {
		if where := says(t, dsn, text); len(where) > 0 {
			t.Errorf("%s is in %q still", text, where)
		}
	}
	s.vacuum(ctx)
	whole(t, dsn)
}

// TestAnyText: ids and texts may hold what PostgreSQL's own text cannot.
func TestAnyText(t *testing.T) {
	_, all := replicas(t, 1)
	s := all[0]
	odd := "a\x00b\U0001F600"
	accept(t, s, update(odd, "GRANTED", 1), consent.Accepted)
	accept(t, s, update("bob", "GRANTED", 1), consent.Accepted)
	for _, c := range claim(t, s, 2) {
		st := store.Settlement{Claim: c, At: t0, Status: store.Dead, Outcome: "rejected", Reason: store.ReasonRejected, Error: "x\x00\xffy"}
		if err := s.Settle(ctx, []store.Settlement{st}); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := s.ListDead(ctx, store.DeadFilter{CitizenID: odd})
	if err != nil || len(dead) != 1 || dead[0].CitizenID != odd || dead[0].Error != "x\ufffd\ufffdy" {
		t.Errorf("%+v, %v", dead, err)
	}
}
