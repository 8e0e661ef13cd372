package postgres

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// TestGrantsOfReplicas: a fuse lets through what it may of all replicas together, whoever asks first; what was given
// back is free again, and what was settled is not.
func TestGrantsOfReplicas(t *testing.T) {
	const citizens, most = 60, 10
	dsn, all := replicas(t, 3)
	for n := range citizens {
		accept(t, all[0], update(fmt.Sprint("c", n), "GRANTED", 1), consent.Accepted)
	}
	since := time.Now().Add(-time.Hour)
	grant := func(s *Store, claims []store.Claimed) (let []store.Claimed) {
		t.Helper()
		may, err := s.Grant(ctx, "mail", claims, since, most)
		if err != nil {
			t.Error(err)
		}
		for _, c := range claims {
			if _, is := may[c.ID]; is {
				let = append(let, c)
			}
		}
		return let
	}
	var mu sync.Mutex
	var asking sync.WaitGroup
	through := map[*Store][]store.Claimed{}
	sum := 0
	for _, s := range all {
		for range 5 {
			asking.Go(func() {
				claims, err := s.Claim(ctx, "mail", time.Now(), 4, store.AllLanes)
				if err != nil {
					t.Error(err)
					return
				}
				let := grant(s, claims)
				mu.Lock()
				defer mu.Unlock()
				sum += len(let)
				through[s] = append(through[s], let...)
			})
		}
	}
	asking.Wait()
	if sum != most {
		t.Fatalf("%d were let through a fuse of %d", sum, most)
	}
	var one *Store
	for s, let := range through {
		if len(let) >= 2 {
			one = s
		}
	}
	mine := through[one]
	if again := grant(one, mine); len(again) != len(mine) {
		t.Errorf("of %d who count, %d are let through when asked about again", len(mine), len(again))
	}
	other := all[0]
	if other == one {
		other = all[1]
	}
	accept(t, other, update("late", "GRANTED", 1), consent.Accepted)
	accept(t, other, update("later", "GRANTED", 1), consent.Accepted)
	var late []store.Claimed
	eventually(t, "they are claimed", func() bool {
		c, err := other.Claim(ctx, "mail", time.Now(), 100, store.AllLanes)
		if err != nil {
			t.Fatal(err)
		}
		late = append(late, c...)
		return len(late) >= 2
	})
	late = late[len(late)-2:]
	if let := grant(other, late); len(let) != 0 {
		t.Errorf("%d more are let through", len(let))
	}
	// One that was sent counts for the hour, one that was not is free.
	sent := store.Settlement{Claim: mine[0], At: time.Now(), Status: store.Settled, Outcome: "delivered", Given: true, Granted: true}
	if err := one.Settle(ctx, []store.Settlement{sent}); err != nil {
		t.Fatal(err)
	}
	if let := grant(other, late); len(let) != 0 {
		t.Errorf("%d more are let through after one was sent", len(let))
	}
	one.Release(mine[1:2])
	if let := grant(other, late); len(let) != 1 || let[0].ID != late[0].ID {
		t.Errorf("%d more are let through after one was given back", len(let))
	}
	// Once it has blown it lets nobody through, until it is released, and then the count is anew.
	hold := store.Settlement{Claim: late[1], At: time.Now(), Status: store.Pending, Outcome: "retry", Reason: store.ReasonFuse}
	if err := other.Settle(ctx, []store.Settlement{hold}); err != nil {
		t.Fatal(err)
	}
	if let := grant(one, mine); len(let) != 0 {
		t.Errorf("%d are let through a fuse that has blown", len(let))
	}
	if n, err := all[2].ReleaseFuse(ctx, "mail", time.Now()); err != nil || n != 1 {
		t.Errorf("released %d, %v", n, err)
	}
	if may, err := one.Grant(ctx, "mail", mine[:1], since, most); err != nil || !may[mine[0].ID] {
		t.Errorf("one who was sent before it was released: %v, %v", may, err)
	}
	whole(t, dsn)
}

// TestSchemaBefore: a store of the consentd before, which did not count what is in flight for a fuse, is brought up to date.
func TestSchemaBefore(t *testing.T) {
	dsn := server.Cluster(t).Database(t)
	s := open1(t, dsn)
	accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
	s.Close()
	execute(t, dsn, "ALTER TABLE claim DROP grants; DELETE FROM consentd_schema WHERE version_id = 2")
	s = open1(t, dsn)
	claims := claim(t, s, 1)
	if let, err := s.Grant(ctx, "mail", claims, t0, 1); err != nil || !let[claims[0].ID] {
		t.Error(let, err)
	}
	settle(t, s, claims...)
	s.Close()
	whole(t, dsn)
}
