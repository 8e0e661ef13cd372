package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
)

// breaking is a source that breaks off after so many pages.
type breaking struct {
	Source
	pages int
}

func (b *breaking) Page(ctx context.Context, table string, columns []string, order string, after any, limit int) ([][]any, error) {
	if b.pages--; b.pages < 0 {
		return nil, errBroken
	}
	return b.Source.Page(ctx, table, columns, order, after, limit)
}

var errBroken = errors.New("broken off")

// TestImport takes a store over in which there is something of everything, broken off after every page, and holds the
// new one to be the old one.
func TestImport(t *testing.T) {
	const citizens = importAt + 10
	path := filepath.Join(t.TempDir(), "consentd.db")
	old, err := sqlite.Open(ctx, path, oldKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Route(ctx, map[string][]store.Route{"s": toMail}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for n := range citizens {
		all.Go(func() {
			if _, err := old.Accept(ctx, update(fmt.Sprint("c", n), []string{"GRANTED", "DENIED"}[n%2], 1)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	claims, err := old.Claim(ctx, "mail", time.Now(), 20, store.AllLanes)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range claims {
		st := store.Settlement{Claim: c, At: t0, Status: store.Settled, Outcome: "delivered", Digest: []byte("d"), Given: true,
			Receipt: &store.Receipt{Source: c.Source, CitizenID: c.CitizenID, Rule: c.Rule, Target: c.Target, Digest: []byte("d"), Reference: "ref", Transactions: []string{"t"}}}
		if i%5 == 0 {
			st = store.Settlement{Claim: c, At: t0, Status: store.Dead, Outcome: "rejected", Reason: store.ReasonRejected, Error: "x", Attempts: 3}
		}
		if err := old.Settle(ctx, []store.Settlement{st}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(s consent.State) ([]store.ErasureRequest, error) {
		return []store.ErasureRequest{{Rule: "newsletter", Target: "mail"}}, nil
	}
	if _, err := old.PruneReceipts(ctx, time.Now(), 3); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		errOf(old.Erase(ctx, "s", claims[1].CitizenID, time.Now(), ask)),
		old.Quarantine(ctx, store.Quarantined{Source: "s", Received: t0, Reason: "x", Body: []byte("{")}),
		old.SetPause(ctx, "mail", &store.Pause{Since: t0}),
		errOf(old.Reroute(ctx, t0)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	type picture struct {
		citizens   []consent.Citizen
		deliveries [][]store.Delivery
		receipts   []store.Receipt
		chain      store.Chain
		counts     map[string]store.Counts
		quarantine []store.Quarantined
		erasures   map[string]store.OpenErasures
		pauses     map[string]store.Pause
		key        []byte
	}
	look := func(s store.Store) (p picture) {
		t.Helper()
		for n := 0; n < citizens; n += 97 {
			c, err := s.Citizen(ctx, "s", fmt.Sprint("c", n))
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			d, err := s.Deliveries(ctx, "s", fmt.Sprint("c", n))
			if err != nil {
				t.Fatal(err)
			}
			for i := range d {
				d[i].Digest = append([]byte(nil), d[i].Digest...) // none is none
			}
			p.citizens, p.deliveries = append(p.citizens, c), append(p.deliveries, d)
		}
		var errs [6]error
		p.receipts, errs[0] = s.ListReceipts(ctx, 0, 100)
		p.chain, errs[1] = s.VerifyReceipts(ctx)
		p.counts, errs[2] = s.Counts(ctx)
		p.quarantine, errs[3] = s.ListQuarantine(ctx, store.QuarantineFilter{})
		p.erasures, errs[4] = s.Erasures(ctx)
		p.pauses, errs[5] = s.Pauses(ctx)
		p.key = bytes.Clone(s.HashKey())
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := look(old)
	old.Close()

	dsn := server.Cluster(t).Database(t)
	o := Options{DSN: dsn, Keys: [][]byte{oldKey}}
	from, err := sqlite.OpenExport(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Import(ctx, Options{DSN: dsn}, from, nothing); err == nil || !strings.Contains(err.Error(), "encryption key is missing") {
		t.Errorf("without its key: %v", err)
	}
	runs := 0
	for {
		runs++
		err := Import(ctx, o, &breaking{from, 1}, nothing)
		if err == nil {
			break
		}
		if !errors.Is(err, errBroken) || runs > 30 {
			t.Fatal(err)
		}
		if s, err := Open(ctx, o); !errors.Is(err, errImporting) {
			t.Fatalf("a store that is half there: %v, %v", s, err)
		}
	}
	if runs < 8 {
		t.Errorf("%d runs", runs)
	}
	if err := Import(ctx, o, from, nothing); err == nil || !strings.Contains(err.Error(), "in use already") {
		t.Errorf("once more: %v", err)
	}
	from.Close()
	s := open1(t, dsn, oldKey)
	defer s.Close()
	after, was := reflect.ValueOf(look(s)), reflect.ValueOf(before)
	for i := range was.NumField() {
		if a, b := fmt.Sprint(after.Field(i)), fmt.Sprint(was.Field(i)); a != b {
			t.Errorf("%s: after %.300s\nbefore %.300s", was.Type().Field(i).Name, a, b)
		}
	}
	whole(t, dsn, oldKey)
	if did, err := s.Reroute(ctx, t0); err != nil || did != (store.Rerouted{}) {
		t.Errorf("the rules are the same: %+v, %v", did, err)
	}
	// What it knew it knows, and numbers go on.
	accept(t, s, update("c0", "GRANTED", 1), consent.Duplicate)
	accept(t, s, update(claims[1].CitizenID, "GRANTED", 2), consent.Superseded)
	accept(t, s, update("new", "GRANTED", 2), consent.Accepted)
	d, err := s.Deliveries(ctx, "s", "new")
	if err != nil || len(d) != 1 || d[0].Desired <= citizens || d[0].ID <= citizens {
		t.Errorf("%+v, %v", d, err)
	}
}

func nothing(string, int64, int64) {}

func errOf[T any](_ T, err error) error { return err }

// TestImportedColumns: every column that the other store has is taken over.
func TestImportedColumns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consentd.db")
	old, err := sqlite.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	old.Close()
	from, err := sqlite.OpenExport(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	there := map[string]bool{"meta": true, "sqlite_sequence": true, "goose_db_version": true}
	for _, table := range imported {
		there[table.table] = true
		page, err := from.Page(ctx, "pragma_table_info('"+table.table+"')", []string{"name"}, "cid", nil, 100)
		if err != nil || len(page) == 0 {
			t.Fatal(page, err)
		}
		for _, row := range page {
			if column := " " + row[0].(string) + " "; !strings.Contains(" "+strings.NewReplacer("!", "", "*", "").Replace(table.columns)+" ", column) {
				t.Errorf("%s.%s is left behind", table.table, row[0])
			}
		}
	}
	page, err := from.Page(ctx, "sqlite_schema", []string{"name", "type"}, "name", nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range page {
		if row[1] == "table" && !there[row[0].(string)] {
			t.Errorf("%s is left behind", row[0])
		}
	}
}
