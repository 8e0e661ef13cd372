package postgres

import (
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
