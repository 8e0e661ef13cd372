package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// TestVerbsOfReplicas: what an operator says to one of three replicas all of them heed, and what a target allows is
// for all of them together.
func TestVerbsOfReplicas(t *testing.T) {
	t.Parallel()
	const citizens, grants, rate = 180, 20, 40
	dsn := pgtest.New(t).Database(t)
	held, fused, limited := newSink(t), newSink(t), newSink(t)
	slowly := func(taken) int {
		time.Sleep(10 * time.Millisecond) // so that calls of all are under way at once
		return 0
	}
	fused.answer, held.answer = slowly, slowly
	rest := apiKeySource + held.config("held", "") + fused.config("fused", fmt.Sprintf("max_grants = %d", grants)) + limited.config("limited", fmt.Sprintf(`rate_limit = "%d/s"`, rate))
	var all []*instance
	for range 3 {
		i := configure(t, "")
		i.onPostgres(dsn, rest)
		i.start()
		all = append(all, i)
	}
	atEach := func(what, target string, is func(admin.Target) bool) {
		t.Helper()
		for n, i := range all {
			eventually(t, fmt.Sprintf("%s, at replica %d", what, n), func() bool { return is(i.target(target)) })
		}
	}
	for _, i := range all {
		eventually(t, "each knows of the others", func() bool { return strings.Contains(i.metrics(), "\nconsentd_store_replicas 3\n") })
	}
	verb := func(n int, want string, args ...string) {
		t.Helper()
		if out, code := all[n].run(args...); code != 0 || !strings.Contains(out, want) {
			t.Fatalf("%s at replica %d: %d, %s%s", strings.Join(args, " "), n, code, out, all[n].lastError)
		}
	}

	verb(0, "held is paused", "target", "pause", "held")
	atEach("it is paused", "held", func(t admin.Target) bool { return t.State == "paused" })
	var posting sync.WaitGroup
	for n, i := range all {
		posting.Go(func() {
			for c := n; c < citizens; c += len(all) {
				i.tryPost(update(fmt.Sprint("c", c), "GRANTED", 1))
			}
		})
	}
	posting.Wait()

	// The fuse counts the grants of all, and holds back at all.
	atEach("the fuse has blown", "fused", func(t admin.Target) bool {
		return t.FuseBlown != nil && t.Waiting["fuse"] == citizens-grants && t.Pending == citizens-grants
	})
	if n := fused.count(); n != grants {
		t.Errorf("%d grants of three replicas went through a fuse of %d", n, grants)
	}
	granted, waits := fused.all[0].Citizen, ""
	for c := 0; waits == ""; c++ {
		if name := fmt.Sprint("c", c); len(fused.of(name)) == 0 {
			waits = name
		}
	}
	all[0].accept(update(granted, "DENIED", 2))
	all[1].accept(update(waits, "DENIED", 2))
	eventually(t, "withdrawals pass", func() bool { return len(fused.of(granted)) == 2 && len(fused.of(waits)) == 1 })
	// A rate is what all may send together, and each one's burst, which add up to a second of it.
	all[1].settled("limited")
	limited.mu.Lock()
	var came []time.Time
	for _, r := range limited.all {
		came = append(came, r.at)
	}
	limited.mu.Unlock()
	slices.SortFunc(came, time.Time.Compare)
	const window, most = 2, (2+1)*rate + 25 // with some for calls that were slow to begin
	for i := range came {
		if n := len(came) - i; n > most && came[i+most].Sub(came[i]) < window*time.Second {
			t.Errorf("more than %d records within %d s at %d a second", most, window, rate)
			break
		}
	}

	if n := held.count(); n != 0 {
		t.Errorf("%d records went to a target that is paused", n)
	}
	verb(1, "held is resumed", "target", "resume", "held")
	verb(2, fmt.Sprintf("released; %d held grants", citizens-grants-1), "target", "release", "fused")
	atEach("the fuse is whole, and nothing waits", "fused", func(t admin.Target) bool { return t.FuseBlown == nil && t.Pending == 0 })
	if n := fused.count(); n != citizens+1 {
		t.Errorf("%d records went to the target of the fuse; want %d", n, citizens+1)
	}
	all[0].accept(update(waits, "GRANTED", 3)) // the count has begun anew, at all
	eventually(t, "a grant passes", func() bool { return len(fused.of(waits)) == 2 })
	atEach("it has everything", "held", func(t admin.Target) bool { return t.State == "running" && t.Pending == 0 })
	for c := range citizens {
		if of := held.of(fmt.Sprint("c", c)); len(of) == 0 || len(of) > 2 {
			t.Errorf("citizen %d was sent %d times", c, len(of))
		}
	}
	eraseAtOne(t, dsn, all, fused)
	for _, i := range all {
		i.stop()
	}
	if out, code := all[0].run("store", "verify", "--config", all[0].path("config.hcl")); code != 0 {
		t.Errorf("verify: %d\n%s", code, out)
	}
}

// eraseAtOne erases citizens at one replica while the others go on being sent what they had of them.
func eraseAtOne(t *testing.T, dsn string, all []*instance, s *sink) {
	t.Helper()
	const citizens = 8
	name := func(c int) string { return fmt.Sprint("erased-", c) }
	for c := range citizens {
		all[c%3].accept(update(name(c), "GRANTED", 1))
	}
	all[0].settled("fused")
	var stopped atomic.Bool
	var posting sync.WaitGroup
	for _, i := range []*instance{all[0], all[2]} {
		posting.Go(func() {
			for c := 0; !stopped.Load(); c = (c + 1) % citizens {
				for n := 1; n <= 2; n++ { // the second is news, until they are erased
					if status, text, err := i.tryPost(update(name(c), "DENIED", n)); err != nil || status != http.StatusOK {
						t.Errorf("%d %s %v", status, text, err)
					}
				}
			}
		})
	}
	for c := range citizens {
		if out, code := all[1].run("citizen", "erase", "--yes", name(c)); code != 0 {
			t.Errorf("erase: %d, %s", code, out)
		}
	}
	all[0].settled("fused")
	before := 0
	for c := range citizens {
		before += len(s.of(name(c)))
	}
	stopped.Store(true)
	posting.Wait()
	for n, i := range all {
		if status, text := i.post(update(name(n), "DENIED", 3)); status != http.StatusOK || !strings.Contains(text, "superseded") {
			t.Errorf("after the erasure: %d %s", status, text)
		}
		i.settled("fused")
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var left int
	if err := conn.QueryRow(ctx, `SELECT count(*) FROM citizen WHERE convert_from(citizen_id, 'UTF8') LIKE 'erased-%'`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d of %d who were erased came back, %v", left, citizens, err)
	}
	after := 0
	for c := range citizens {
		after += len(s.of(name(c)))
	}
	if after != before {
		t.Errorf("%d records of those who were erased went out after that", after-before)
	}
}
