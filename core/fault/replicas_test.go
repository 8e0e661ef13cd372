package fault

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// lease is that of replicas, as short as it may be.
const lease = "3s"

// TestReplicas has three replicas over one PostgreSQL. Under load, one after the other is killed, or stopped until its
// lease has ended and let go on; the server is restarted, in order and as by a crash, and connections are cut
// wherever they are. All the time somebody holds a snapshot. Afterwards the target has the newest state of every
// citizen, none was ever told anything older than before, and the store verifies.
func TestReplicas(t *testing.T) {
	rnd := random(t)
	server := pgtest.New(t)
	dsn := server.Database(t)
	sink := newSink(t)
	sink.delay = 5 * time.Millisecond
	replicas := newReplicas(t, 3, dsn, lease, apiKeySource+sink.rule("sink", ""))
	s := newSender(replicas[0], "c", citizens)
	for _, d := range replicas[1:] {
		s.others = append(s.others, d.listener)
	}
	held := holdSnapshot(t, dsn)
	stop := s.load(24)
	did := map[string]int{}
	for range howOften(*kills, 8, 400) {
		time.Sleep(time.Second + randomly(rnd, time.Second))
		d := replicas[rnd.IntN(len(replicas))]
		switch what := []string{"killed", "stopped", "stopped", "cut", "cut", "restarted", "crashed", "killed"}[rnd.IntN(8)]; what {
		case "killed":
			did[what]++
			d.kill()
			d.start()
		case "stopped":
			did[what]++
			d.signal(syscall.SIGSTOP)
			time.Sleep(4 * time.Second) // its lease and more
			d.signal(syscall.SIGCONT)
		case "cut":
			for range 10 {
				did[what]++
				if err := server.Exec(pgtest.Name(dsn), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
					WHERE application_name = 'consentd' AND datname = current_database() ORDER BY random() LIMIT 3`); err != nil {
					t.Error(err)
				}
				time.Sleep(randomly(rnd, 50*time.Millisecond))
			}
		default:
			did[what]++
			held()
			server.Stop(map[string]syscall.Signal{"restarted": syscall.SIGINT, "crashed": syscall.SIGQUIT}[what])
			if err := server.Run(); err != nil {
				t.Fatal(err)
			}
			held = holdSnapshot(t, dsn)
		}
		for _, d := range replicas {
			if d.ended() {
				t.Fatalf("a replica ended: %v\n%s", d.cmd.ProcessState, d.log.String())
			}
		}
	}
	stop()
	held()
	s.check(t, replicas[0], sink, "sink")
	s.known(t)
	for _, d := range replicas {
		d.stop()
	}
	config := filepath.Join(replicas[0].dir, "consentd.hcl")
	if out, err := exec.Command(binary, "store", "verify", "--config", config).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	t.Logf("%v; %d updates acknowledged, %d refused, %d unanswered; %d deliveries", did, s.acks.Load(), s.refused.Load(), s.lost.Load(), sink.count())
}

// holdSnapshot keeps PostgreSQL from cleaning up, until the returned function is called.
func holdSnapshot(t *testing.T, dsn string) (end func()) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM citizen"); err != nil {
		t.Fatal(fmt.Errorf("hold a snapshot: %w", err))
	}
	return func() { _ = conn.Close(ctx) }
}
