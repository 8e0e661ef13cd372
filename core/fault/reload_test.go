package fault

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// add adds to the configuration, which counts from the next start or reload on.
func (d *daemon) add(text string) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "consentd.hcl"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) reload() {
	d.t.Helper()
	if _, err := admin.NewClient(d.admin, "").Reload(context.Background()); err != nil {
		d.t.Fatalf("reload: %v", err)
	}
}

// missing is how many citizens a sink knows less of than was acknowledged.
func (s *sender) missing(at *sink) (n int) {
	for i := range s.citizens {
		if c := &s.citizens[i]; at.newest(c.name) < c.acked.Load() {
			n++
		}
	}
	return n
}

// stopPast stops a daemon until its lease has ended, the other one has noticed and what is to be done meanwhile is done,
// and lets it go on.
func (d *daemon) stopPast(dsn string, meanwhile func()) {
	d.t.Helper()
	d.signal(syscall.SIGSTOP)
	meanwhile()
	eventually(d.t, "one replica is left", func() bool { return query[int](d.t, dsn, `SELECT count(*)::int FROM replica`)[0] == 1 })
	time.Sleep(300 * time.Millisecond) // a while in which the other is alone
	d.signal(syscall.SIGCONT)
	eventually(d.t, "it has a lease again", func() bool { return query[int](d.t, dsn, `SELECT count(*)::int FROM replica`)[0] == 2 })
}

// TestReloadsOfReplicas adds a rule to two replicas, one after the other, under load; again and again, while
// one of them is stopped past its lease before it has the rule, after it has it, and in the middle of the
// reload. Once both have it everybody has got what it sends, and nobody anything older than before.
func TestReloadsOfReplicas(t *testing.T) {
	t.Parallel()
	rnd := random(t)
	dsn := pgtest.New(t).Database(t)
	first := newSink(t)
	rest := apiKeySource + first.rule("first", "")
	sinks, rules := map[string]*sink{}, map[string]string{}
	for _, name := range []string{"in_turns", "new_one_stopped", "stopped_within", "old_one_stopped"} {
		sinks[name] = newSink(t)
		target, rule, _ := strings.Cut(sinks[name].rule(name, ""), "\nrule ")
		rest, rules[name] = rest+target, "\nrule "+rule
	}
	replicas := newReplicas(t, 2, dsn, lease, rest)
	one, two := replicas[0], replicas[1]
	s := newSender(one, "c", 200)
	s.others = []string{two.listener}
	// Of these little is heard: of half of them once a round, by way of the one that has the old configuration still.
	quiet := newSender(two, "q", 200)
	some := func() { quiet.postAll(t, 0, len(quiet.citizens)/2) }
	s.postAll(t, 0, len(s.citizens))
	quiet.postAll(t, 0, len(quiet.citizens))
	stop := s.load(3)
	rounds := []struct {
		name   string
		reload func()
	}{
		{"in_turns", func() { one.reload(); some(); two.reload() }},
		{"new_one_stopped", func() { // so that the old one, alone, puts its rules in force again
			one.reload()
			some()
			one.stopPast(dsn, some)
			two.reload()
		}},
		{"stopped_within", func() {
			two.signal(syscall.SIGHUP)
			time.Sleep(randomly(rnd, 100*time.Millisecond))
			two.stopPast(dsn, one.reload)
			two.reload() // or it is not known when that has ended
		}},
		{"old_one_stopped", func() {
			two.stopPast(dsn, one.reload)
			some()
			two.reload()
		}},
	}
	rounds = rounds[:howOften(0, 3, len(rounds))]
	for _, round := range rounds {
		for _, d := range replicas {
			d.add(rules[round.name])
		}
		round.reload()
		// Before the next round, which may have news of them sent.
		eventually(t, round.name+": those of whom little is heard have got what the new rule sends", func() bool { return quiet.missing(sinks[round.name]) == 0 })
		acks := s.acks.Load()
		eventually(t, "updates go on", func() bool { return s.acks.Load() > acks+20 })
	}
	stop()
	s.check(t, one, first, "first")
	for _, round := range rounds {
		name, sink := round.name, sinks[round.name]
		one.settled(name)
		for _, of := range []*sender{s, quiet} {
			if n := of.missing(sink); n > 0 {
				t.Errorf("%s: %d of %d citizens miss what the new rule sends", name, n, len(of.citizens))
			}
		}
		sink.check(t)
	}
	s.known(t)
	if log := one.log.String() + two.log.String(); strings.Contains(log, "not reloaded") {
		t.Error("a reload failed")
	}
	for _, d := range replicas {
		d.stop()
	}
	one.verify()
	t.Log(fmt.Sprint(s.acks.Load(), " updates acknowledged, ", s.refused.Load(), " refused, ", s.lost.Load(), " unanswered"))
}

// TestReloadInAnOutage: the database ends in the middle of a reload, and whoever asked for it gives up. What had begun is
// carried through once the database is back: nobody misses what the new rule sends, and the old ones go on.
func TestReloadInAnOutage(t *testing.T) {
	t.Parallel()
	cluster := pgtest.New(t)
	dsn := cluster.Database(t)
	first, second := newSink(t), newSink(t)
	target, rule, _ := strings.Cut(second.rule("second", ""), "\nrule ")
	d := newReplicas(t, 1, dsn, lease, apiKeySource+first.rule("first", "")+target)[0]
	s := newSender(d, "c", 100)
	s.postAll(t, 0, len(s.citizens))
	d.add("\nrule " + rule)
	cluster.Stop(syscall.SIGQUIT)
	giveUp, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := admin.NewClient(d.admin, "").Reload(giveUp); err == nil {
		t.Error("reloaded without a database")
	}
	if err := cluster.Run(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "those who are known have got what the new rule sends", func() bool { return s.missing(second) == 0 })
	s.postAll(t, 0, len(s.citizens))
	for _, sink := range []*sink{first, second} {
		eventually(t, "updates arrive", func() bool { return s.missing(sink) == 0 })
	}
	d.stop()
	d.verify()
}
