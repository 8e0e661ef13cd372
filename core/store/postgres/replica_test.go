package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestLostLease: what a replica claimed is another's once its lease has ended, is not trusted to be at the target or
// not, and is settled by that one alone.
func TestLostLease(t *testing.T) {
	dsn, all := replicas(t, 2)
	gone, heir := all[0], all[1]
	accept(t, gone, update("ada", "GRANTED", 1), consent.Accepted)
	settle(t, gone, claim(t, gone, 1)...)
	accept(t, heir, update("ada", "DENIED", 2), consent.Accepted)
	lost := claim(t, gone, 1)
	if string(lost[0].Digest) != "d" || !time.Now().Before(gone.Until(lost[0])) {
		t.Errorf("before: digest %q, held until %v", lost[0].Digest, gone.Until(lost[0]))
	}
	var ends time.Time
	if _, err := one(ctx, heir.pool, []any{&ends}, `SELECT lease_until FROM replica WHERE id = $1`, gone.replica.number()); err != nil {
		t.Fatal(err)
	}
	if left := ends.Sub(gone.Until(lost[0])); left < 2*time.Second {
		t.Errorf("what is sent last has %v to arrive before others may send", left)
	}
	claim(t, heir, 0)
	execute(t, dsn, fmt.Sprintf("UPDATE replica SET lease_until = '-infinity' WHERE id = %d", gone.replica.number()))
	if _, err := heir.reap(ctx, heir.pool); err != nil {
		t.Fatal(err)
	}
	taken := claim(t, heir, 1)
	if taken[0].Digest != nil {
		t.Error("the target is trusted to hold what it was given before an attempt nobody knows of")
	}
	settle(t, gone, lost...)
	if d, err := heir.Deliveries(ctx, "s", "ada"); err != nil || len(d) != 1 || d[0].Status != store.Pending {
		t.Errorf("the one that lost it settled it: %+v, %v", d, err)
	}
	claim(t, gone, 0)
	gone.replica.nudge()
	eventually(t, "the one that lost its lease knows", func() bool { return gone.Until(lost[0]).Before(time.Now()) })
	settle(t, heir, taken...)
	if r, err := heir.Receipts(ctx, "s", "ada"); err != nil || len(r) != 2 {
		t.Errorf("%d receipts, %v", len(r), err)
	}
	accept(t, gone, update("ada", "GRANTED", 3), consent.Accepted)
	settle(t, gone, claim(t, gone, 1)...) // under its new lease
	whole(t, dsn)
}

// TestTakeOverWaitsForNobody: of what a replica held that is gone, all is taken over that nobody is at, and the rest later.
func TestTakeOverWaitsForNobody(t *testing.T) {
	for name, lock := range map[string]string{
		"a delivery": `SELECT FROM delivery WHERE id = $1 FOR UPDATE`,
		"a claim":    `SELECT FROM claim WHERE delivery = $1 FOR UPDATE`,
	} {
		t.Run(name, func(t *testing.T) {
			dsn, all := replicas(t, 2)
			gone, heir := all[0], all[1]
			accept(t, gone, update("ada", "GRANTED", 1), consent.Accepted)
			accept(t, gone, update("bob", "GRANTED", 1), consent.Accepted)
			held := claim(t, gone, 2)
			conn, err := pgx.Connect(ctx, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(ctx)
			stopped, err := conn.Begin(ctx) // as one that stopped in the middle of a commit
			if err == nil {
				_, err = stopped.Exec(ctx, lock, held[0].ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			execute(t, dsn, fmt.Sprintf("UPDATE replica SET lease_until = '-infinity' WHERE id = %d", gone.replica.number()))
			within, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if _, err := heir.reap(within, heir.pool); err != nil {
				t.Fatal(err)
			}
			if c := claim(t, heir, 1)[0]; c.CitizenID != held[1].CitizenID {
				t.Errorf("taken over: %s", c.CitizenID)
			}
			if err := stopped.Rollback(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := heir.reap(ctx, heir.pool); err != nil {
				t.Fatal(err)
			}
			if c := claim(t, heir, 1)[0]; c.CitizenID != held[0].CitizenID {
				t.Errorf("taken over: %s", c.CitizenID)
			}
			whole(t, dsn)
		})
	}
}

// TestClaimOfNobody: a claim that was committed after its replica was taken for gone is ended as well.
func TestClaimOfNobody(t *testing.T) {
	dsn, all := replicas(t, 1)
	s := all[0]
	accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
	execute(t, dsn, `INSERT INTO claim (target, citizen, delivery, replica, epoch) SELECT target, citizen, id, 4711, 4711 FROM delivery`)
	if _, err := s.reap(ctx, s.pool); err != nil {
		t.Fatal(err)
	}
	claim(t, s, 1)
}

// TestNoClaimWithoutTime: when too little is left of the lease for a call, nothing is handed out.
func TestNoClaimWithoutTime(t *testing.T) {
	_, all := replicas(t, 1)
	s := all[0]
	accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
	s.replica.mu.Lock()
	s.replica.lease = time.Now().Add(store.LeastHold / 2)
	s.replica.mu.Unlock()
	if c, err := s.Claim(ctx, "mail", time.Now(), 1, store.AllLanes); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%d, %v", len(c), err)
	}
	s.replica.nudge()
	eventually(t, "the lease is renewed", func() bool {
		c, err := s.Claim(ctx, "mail", time.Now(), 1, store.AllLanes)
		return err == nil && len(c) == 1
	})
}

// TestNobodysClaims: a claim of which its replica knows nothing is ended, and those that it knows are not.
func TestNobodysClaims(t *testing.T) {
	dsn, all := replicas(t, 1)
	s := all[0]
	accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
	accept(t, s, update("bob", "GRANTED", 1), consent.Accepted)
	unknown := claim(t, s, 2)
	accept(t, s, update("eve", "GRANTED", 1), consent.Accepted)
	known := claim(t, s, 1)
	s.replica.forget(unknown[0].Epoch) // as when the connection broke at its commit
	s.replica.nudge()
	var again []store.Claimed
	eventually(t, "what nobody holds is due again", func() bool {
		c, err := s.Claim(ctx, "mail", time.Now(), 10, store.AllLanes)
		if err != nil {
			t.Fatal(err)
		}
		again = append(again, c...)
		return len(again) == 2
	})
	settle(t, s, known...)
	settle(t, s, again...)
	settle(t, s, unknown...)
	if r, err := s.ListReceipts(ctx, 0, 10); err != nil || len(r) != 3 {
		t.Errorf("%d receipts, %v", len(r), err)
	}
	whole(t, dsn)
}

// TestReplicasTogether has three take the same citizens' updates in and deliver them at once: no citizen is in flight
// twice, none goes backwards, and all is accounted for.
func TestReplicasTogether(t *testing.T) {
	const citizens, updates = 20, 25
	dsn, all := replicas(t, 3)
	var senders, workers sync.WaitGroup
	done := make(chan struct{})
	for c := range citizens {
		for n, s := range all {
			senders.Go(func() {
				for i := n; i < updates; i += len(all) {
					if _, err := s.Accept(ctx, update(fmt.Sprint("c", c), "GRANTED", i)); err != nil {
						t.Errorf("accept: %v", err)
					}
				}
			})
		}
	}
	var mu sync.Mutex
	inFlight, newest := map[int64]bool{}, map[int64]int64{}
	for _, s := range all {
		workers.Go(func() {
			for {
				claims, err := s.Claim(ctx, "mail", time.Now(), 7, store.AllLanes)
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				if len(claims) == 0 {
					select {
					case <-done:
						return
					default:
						continue
					}
				}
				mu.Lock()
				for _, c := range claims {
					if inFlight[c.Citizen] || c.Desired <= newest[c.Citizen] {
						t.Errorf("in flight twice, or version %d after %d", c.Desired, newest[c.Citizen])
					}
					inFlight[c.Citizen], newest[c.Citizen] = true, c.Desired
				}
				mu.Unlock()
				mu.Lock()
				for _, c := range claims {
					delete(inFlight, c.Citizen)
				}
				mu.Unlock()
				settle(t, s, claims...)
			}
		})
	}
	senders.Wait()
	close(done)
	workers.Wait()
	for { // what one was at when another looked last
		left, err := all[0].Claim(ctx, "mail", time.Now(), 100, store.AllLanes)
		if err != nil || len(left) == 0 {
			break
		}
		settle(t, all[0], left...)
	}
	for c := range citizens {
		known, err := all[c%3].Citizen(ctx, "s", fmt.Sprint("c", c))
		if err != nil || !known.SentAt.Equal(t0.Add((updates-1)*time.Minute)) {
			t.Errorf("citizen %d is known as of %v, %v", c, known.SentAt, err)
		}
		d, err := all[0].Deliveries(ctx, "s", fmt.Sprint("c", c))
		if err != nil || len(d) != 1 || d[0].Status != store.Settled || d[0].Delivered != d[0].Desired {
			t.Errorf("citizen %d ended as %+v, %v", c, d, err)
		}
	}
	counts, err := all[1].Counts(ctx)
	if c := counts["mail"]; err != nil || c.Accepted != citizens*updates || c.Accepted != c.Delivered+c.Superseded {
		t.Errorf("counts %+v, %v", counts, err)
	}
	if err := all[2].fold(ctx); err != nil {
		t.Fatal(err)
	}
	if after, err := all[0].Counts(ctx); err != nil || after["mail"] != counts["mail"] {
		t.Errorf("folded to %+v, %v", after, err)
	}
	whole(t, dsn)
}

// TestHintsReachOthers: what one replica commits, the others are told.
func TestHintsReachOthers(t *testing.T) {
	_, all := replicas(t, 2)
	eventually(t, "both know of each other", func() bool {
		for _, s := range all {
			s.replica.nudge()
			if s.Share().Of != 2 {
				return false
			}
		}
		return true
	})
	c := all[1].Changed("mail")
	for len(c) > 0 {
		<-c
	}
	eventually(t, "the other is told", func() bool {
		if _, err := all[0].Accept(ctx, update("ada", "GRANTED", int(time.Since(t0)/time.Minute))); err != nil {
			t.Fatal(err)
		}
		select {
		case <-c:
			return true
		case <-time.After(200 * time.Millisecond):
			return false
		}
	})
}

// TestTwoConfigurations goes through a change of the rules while a replica still has the old ones, and back.
func TestTwoConfigurations(t *testing.T) {
	dsn, all := replicas(t, 2)
	late, early := all[0], all[1]
	mail, post := toMail[0], store.Route{Rule: "post", Target: "mail"}
	reroute := func(s *Store, want store.Rerouted, routes ...store.Route) {
		t.Helper()
		route(t, s, routes...)
		if got, err := s.Reroute(ctx, time.Now()); err != nil || got != want {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
	}
	reroute(late, store.Rerouted{}, mail)
	accept(t, late, update("ada", "GRANTED", 1), consent.Accepted)
	settle(t, late, claim(t, late, 1)...)
	reroute(early, store.Rerouted{Filled: 1}, mail, post)

	// What the old one takes in is delivered by the new rules as well, and it leaves what it does not know.
	accept(t, late, update("bob", "GRANTED", 1), consent.Accepted)
	if got := rulesOf(t, late, "bob"); len(got) != 2 {
		t.Fatalf("bob has deliveries of %q", got)
	}
	known := func(citizens int) {
		t.Helper()
		for _, c := range claim(t, late, citizens) {
			if c.Rule != "newsletter" {
				t.Errorf("the old one is handed %s of %s", c.Rule, c.CitizenID)
			}
			settle(t, late, c)
		}
	}
	known(1)
	settle(t, early, claim(t, early, 2)...)

	// Should the old one start again, or be asked to give up what it does not know, nothing changes.
	reroute(late, store.Rerouted{}, mail)
	if got := rulesOf(t, late, "ada"); len(got) != 2 {
		t.Errorf("ada has deliveries of %q", got)
	}
	if n, err := late.DropErasures(ctx, nil); n != 0 || err != nil {
		t.Error(n, err)
	}

	// When nobody has the new one any more, the old one is in force again. What there is of the new rule stays until
	// somebody wants it removed.
	accept(t, late, update("kim", "GRANTED", 1), consent.Accepted)
	if err := early.Close(); err != nil {
		t.Fatal(err)
	}
	late.bringBack(ctx, false)
	accept(t, late, update("eve", "GRANTED", 1), consent.Accepted)
	if got := rulesOf(t, late, "eve"); len(got) != 1 {
		t.Errorf("eve has deliveries of %q", got)
	}
	known(2)
	if got := rulesOf(t, late, "ada"); len(got) != 2 {
		t.Errorf("ada has deliveries of %q", got)
	}
	reroute(late, store.Rerouted{Removed: 3}, mail)
	if got := rulesOf(t, late, "ada"); len(got) != 1 {
		t.Errorf("ada has deliveries of %q", got)
	}
	whole(t, dsn)
}

func rulesOf(t *testing.T, s *Store, citizen string) (all []string) {
	t.Helper()
	d, err := s.Deliveries(ctx, "s", citizen)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range d {
		all = append(all, d.Rule)
	}
	return all
}

// TestAwayForAWhile: a replica with the newest rules is away, and the other one puts its own in force again meanwhile. When
// it comes back nothing that it had was forgotten, and its rule has missed nothing.
func TestAwayForAWhile(t *testing.T) {
	dsn, all := replicas(t, 2)
	late, early := all[0], all[1]
	newest := []store.Route{toMail[0], {Rule: "post", Target: "mail"}}
	route(t, early, newest...)
	accept(t, early, update("ada", "GRANTED", 1), consent.Accepted)
	for range 2 {
		settle(t, early, claim(t, early, 1)...)
	}
	execute(t, dsn, `UPDATE replica SET routes = ''`) // as if early were none
	late.bringBack(ctx, false)
	accept(t, late, update("ada", "DENIED", 2), consent.Accepted)
	settle(t, late, claim(t, late, 1)...)
	route(t, late, newest...)
	if did, err := late.Reroute(ctx, time.Now()); err != nil || did != (store.Rerouted{}) {
		t.Errorf("%+v, %v", did, err)
	}
	if c := claim(t, late, 1)[0]; c.Rule != "post" || !c.Withdrawal || !c.Given {
		t.Errorf("claimed %+v", c.Delivery)
	}
	whole(t, dsn)
}

// meanwhile does something when a context is looked at for the nth time.
type meanwhile struct {
	context.Context
	left *int
	do   func()
}

func (m meanwhile) Err() error {
	if *m.left--; *m.left == 0 {
		m.do()
	}
	return m.Context.Err()
}

// TestOutdated: whatever a replica is at when another one puts newer routes in force, from then on it makes and removes
// nothing by its own.
func TestOutdated(t *testing.T) {
	rule := func(name string) store.Route { return store.Route{Rule: name, Target: "mail"} }
	for n := 1; ; n++ {
		dsn, all := replicas(t, 2)
		for c := range 3 {
			accept(t, all[0], update(fmt.Sprint("c", c), "GRANTED", 1), consent.Accepted)
		}
		route(t, all[0], rule("a"), rule("b"))
		left := n
		_, err := all[0].Reroute(meanwhile{ctx, &left, func() {
			route(t, all[1], toMail[0], rule("b"))
			if _, err := all[1].Reroute(ctx, time.Now()); err != nil {
				t.Error(err)
			}
		}}, time.Now())
		if err != nil {
			t.Error(err)
		}
		if left > 0 {
			if n < 5 {
				t.Errorf("it looked only %d times", n)
			}
			return
		}
		for c := range 3 {
			if got := rulesOf(t, all[0], fmt.Sprint("c", c)); !slices.Equal(got, []string{"b", "newsletter"}) {
				t.Errorf("step %d: c%d has deliveries of %q", n, c, got)
			}
		}
		whole(t, dsn)
	}
}

// TestNotMineAnyMore: what a replica brings back by itself does not undo what it was given since.
func TestNotMineAnyMore(t *testing.T) {
	_, all := replicas(t, 1)
	s := all[0]
	_, old, _ := s.routing.own()
	route(t, s, toMail[0], store.Route{Rule: "post", Target: "mail"})
	if seen, err := s.publish(ctx, old, true); seen != 0 || err != nil {
		t.Error(seen, err)
	}
	accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
	if got := rulesOf(t, s, "ada"); len(got) != 2 {
		t.Errorf("ada has deliveries of %q", got)
	}
}

// TestServerAway: while the server is away nothing is acknowledged and the caller may try again; when it is back all
// goes on by itself.
func TestServerAway(t *testing.T) {
	cluster := pgtest.New(t)
	s := open1(t, cluster.Database(t))
	defer s.Close()
	accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
	held := claim(t, s, 1)
	cluster.Stop(syscall.SIGQUIT)
	if _, err := s.Accept(ctx, update("bob", "GRANTED", 1)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("accept: %v", err)
	}
	if err := s.Ready(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ready: %v", err)
	}
	if _, err := s.Claim(ctx, "mail", time.Now(), 1, store.AllLanes); err == nil {
		t.Error("claimed without a server")
	}
	if err := cluster.Run(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready again", func() bool { return s.Ready(ctx) == nil })
	accept(t, s, update("bob", "GRANTED", 1), consent.Accepted)
	settle(t, s, held...)
	eventually(t, "what was due is handed out", func() bool {
		c, err := s.Claim(ctx, "mail", time.Now(), 10, store.AllLanes)
		return err == nil && len(c) == 1 && c[0].CitizenID == "bob"
	})
}
