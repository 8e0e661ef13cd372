package postgres

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// TestNoDeadlocks has two replicas claim and settle the same deliveries as fast as they can. PostgreSQL would end a
// deadlock, but only after a second in which all who are in it wait.
func TestNoDeadlocks(t *testing.T) {
	const citizens, rounds = 60, 40
	dsn, all := replicas(t, 2)
	for n := range citizens {
		accept(t, all[0], update(fmt.Sprint("c", n), "GRANTED", 1), consent.Accepted)
	}
	var workers sync.WaitGroup
	for _, s := range all {
		for range 6 {
			workers.Go(func() {
				for range rounds {
					claims, err := s.Claim(ctx, "mail", time.Now(), 10, store.AllLanes)
					if err != nil {
						t.Errorf("claim: %v", err)
					}
					var again []store.Settlement
					for _, c := range claims {
						again = append(again, store.Settlement{Claim: c, At: t0, Status: store.Pending, NextAttempt: t0, Outcome: "retry"})
					}
					if len(again) == 0 {
						continue
					}
					if err := s.Settle(ctx, again); err != nil {
						t.Errorf("settle: %v", err)
					}
				}
			})
		}
	}
	workers.Wait()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var n int
	if _, err := one(ctx, conn, []any{&n}, `SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()`); err != nil || n > 0 {
		t.Errorf("%d deadlocks, %v", n, err)
	}
	whole(t, dsn)
}

// TestVanishedRow: who waits for a citizen's row that its holder then deletes goes on without it.
func TestVanishedRow(t *testing.T) {
	dsn, all := replicas(t, 1)
	s := all[0]
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	do := func(statements string) {
		t.Helper()
		if _, err := conn.Exec(ctx, statements, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(consent.State) ([]store.ErasureRequest, error) { return nil, nil }
	for what, call := range map[string]func() error{
		"accept": func() error {
			v, err := s.Accept(ctx, update("ada", "GRANTED", 2))
			if err == nil && v != consent.Accepted {
				t.Errorf("accept: %v", v)
			}
			return err
		},
		"erase": func() error {
			_, err := s.Erase(ctx, "s", "ada", t0, ask)
			return err
		},
	} {
		accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
		do(`BEGIN; SELECT id FROM citizen FOR UPDATE`)
		done := make(chan error, 1)
		go func() { done <- call() }()
		eventually(t, what+" waits", func() bool {
			var waits bool
			_, err := one(ctx, s.pool, []any{&waits}, `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())`)
			return err == nil && waits
		})
		do(`DELETE FROM delivery; DELETE FROM citizen; COMMIT`)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := s.Erase(ctx, "s", "ada", t0, ask); err != nil {
			t.Fatal(err)
		}
		subjects, err := collect(ctx, s.pool, pgx.RowTo[[]byte], `SELECT subject FROM tombstone`)
		if err != nil || len(subjects) != 1 || !bytes.Equal(subjects[0], store.Subject(s.HashKey(), "s", "ada")) {
			t.Errorf("%s: tombstones %x, %v", what, subjects, err)
		}
	}
}
