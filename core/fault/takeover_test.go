package fault

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// newReplicas are so many daemons over one database, started one after the other and settled in their shares.
func newReplicas(t *testing.T, n int, dsn, leased, rest string) (all []*daemon) {
	t.Helper()
	for i := range n {
		d := newDaemon(t, dsn, rest)
		if *older != "" && i%2 == 1 {
			d.install(*older)
		}
		d.edit(fmt.Sprintf("lease = %q", lease), fmt.Sprintf("lease = %q", leased))
		d.start()
		all = append(all, d)
	}
	return all
}

// edit changes the configuration's text, which counts from the next start or reload on.
func (d *daemon) edit(from, to string) {
	d.t.Helper()
	path := filepath.Join(d.dir, "consentd.hcl")
	text, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(text), from) {
		err = fmt.Errorf("it has no %s", from)
	}
	if err == nil {
		err = os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// verify holds a store to its own checks once its daemons have ended.
func (d *daemon) verify() {
	d.t.Helper()
	if out, err := exec.Command(binary, "store", "verify", "--config", filepath.Join(d.dir, "consentd.hcl")).CombinedOutput(); err != nil {
		d.t.Errorf("verify: %v\n%s", err, out)
	}
}

// query reads rows of one column.
func query[T any](t testing.TB, dsn, sql string, args ...any) []T {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestTakeOver kills a replica whose calls hang. The others send what it had in flight once its lease is over, and within
// `lease` of its end. Both are held against the database's clock, which the sink shares; the bound has two beats
// (of a sixth of the lease each) of slack beyond the half beat or more that the promise itself leaves.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	const leased, held = 9 * time.Second, 30
	server := pgtest.New(t)
	dsn := server.Database(t)
	sink := newSink(t)
	var mu sync.Mutex
	hanging, hung, came := false, map[string]bool{}, map[string]time.Time{}
	let := make(chan struct{})
	sink.answer = func(_ http.ResponseWriter, r *http.Request, got record) bool {
		mu.Lock()
		hangs := hanging
		if hangs {
			hung[got.Citizen] = true
		} else if came[got.Citizen].IsZero() {
			came[got.Citizen] = time.Now()
		}
		mu.Unlock()
		if !hangs {
			return false
		}
		select {
		case <-let:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
	replicas := newReplicas(t, 3, dsn, leased.String(), apiKeySource+sink.rule("sink", "max_in_flight = 12"))
	eventually(t, "each replica has its share of the calls", func() bool {
		for _, d := range replicas {
			if !strings.Contains(d.get("/metrics"), "\nconsentd_store_replicas 3\n") {
				return false
			}
		}
		return query[bool](t, dsn, `SELECT bool_and(joined < clock_timestamp() - $1::interval) FROM replica`, leased/3)[0]
	})
	mu.Lock()
	hanging = true
	mu.Unlock()
	s := newSender(replicas[0], "c", held)
	s.postAll(t, 0, held)
	const claims = `SELECT count(*)::int FROM claim`
	eventually(t, "calls hang", func() bool { return query[int](t, dsn, claims)[0] >= held/3 })
	// Of the one that holds most, its place in the order in which they joined.
	place := query[int](t, dsn, `SELECT (SELECT count(*) FROM replica o WHERE o.id < k.replica)::int FROM claim k GROUP BY replica ORDER BY count(*) DESC LIMIT 1`)[0]
	dead := replicas[place]
	id := query[int64](t, dsn, `SELECT id FROM replica ORDER BY id LIMIT 1 OFFSET $1`, place)[0]
	sink.pluginKilled()
	death := query[time.Time](t, dsn, `SELECT clock_timestamp()`)[0]
	dead.kill()
	ends := query[time.Time](t, dsn, `SELECT lease_until FROM replica WHERE id = $1`, id)
	left := query[string](t, dsn, `SELECT convert_from(citizen_id, 'UTF8') FROM claim JOIN citizen c ON c.id = claim.citizen WHERE replica = $1`, id)
	mu.Lock()
	hanging = false
	mu.Unlock()
	close(let)
	if len(left) == 0 || len(ends) != 1 {
		t.Fatalf("the one that was killed held %d claims under %d leases", len(left), len(ends))
	}
	survivor := replicas[(place+1)%len(replicas)]
	survivor.settled("sink")
	mu.Lock()
	for _, citizen := range left {
		switch at := came[citizen]; {
		case at.Before(ends[0]):
			t.Errorf("%s: sent by another %v before the lease was over", citizen, ends[0].Sub(at))
		case at.Sub(death) > leased+leased/3:
			t.Errorf("%s: sent %v after the end of who held it", citizen, at.Sub(death))
		}
	}
	mu.Unlock()
	s.address = survivor.listener
	s.check(t, survivor, sink, "sink")
	s.known(t)
	for i, d := range replicas {
		if i != place {
			d.stop()
		}
	}
	survivor.verify()
	t.Logf("%d of %d were held by the one that was killed, and its lease ended %v after it", len(left), held, ends[0].Sub(death).Round(time.Millisecond))
}
