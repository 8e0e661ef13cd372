package fault

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

const (
	connections = 64
	// citizens are so many that coalescing leaves most updates their own delivery, and so few that what is
	// pending at a kill is delivered soon after.
	citizens = 512
)

// random is a source that the seed alone decides.
func random(t testing.TB) *rand.Rand {
	t.Logf("-seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, 1))
}

// TestKill kills the daemon and its plugins at random instants under load, also while they start. After each
// time nothing acknowledged may be missing, nothing may have gone backwards, and no process may be left.
func TestKill(t *testing.T) {
	rnd := random(t)
	sink := newSink(t)
	sink.delay = 5 * time.Millisecond // so that much is in flight at any instant
	d := newDaemon(t, "", apiKeySource+sink.rule("sink", ""))
	s := newSender(d, "c", citizens)
	var ready []time.Duration
	ready = append(ready, d.start())
	// Once without a kill, or what a delivery in flight does to the update after it would never be seen: a kill
	// brings all that is in flight back.
	stop := s.load(connections)
	time.Sleep(500 * time.Millisecond)
	stop()
	s.check(t, d, sink, "sink")
	cycles, plugins, starts := howOften(*kills, 20, 1000), 0, 0
	for cycle := 0; cycle < cycles && !t.Failed(); cycle++ {
		stop = s.load(connections)
		for range rnd.IntN(3) {
			time.Sleep(randomly(rnd, 150*time.Millisecond))
			plugins += killPlugins(d, sink)
		}
		time.Sleep(randomly(rnd, 300*time.Millisecond))
		d.kill()
		sink.quiet(t)
		for rnd.IntN(3) == 0 { // again, while it starts and the sender knocks
			d.launch()
			time.Sleep(randomly(rnd, 150*time.Millisecond))
			d.kill()
			sink.quiet(t)
			starts++
		}
		stop()
		ready = append(ready, d.start())
		s.check(t, d, sink, "sink")
	}
	d.stop()
	whole(t, d.store)
	if s.acks.Load() < int64(cycles)*100 {
		t.Errorf("only %d acknowledged updates in %d cycles: too few to say anything", s.acks.Load(), cycles)
	}
	slices.Sort(ready)
	t.Logf("%d daemons and %d plugins killed under load, %d daemons while they started; %d updates acknowledged, %d refused, %d unanswered; "+
		"%d deliveries, %d overtaken on the wire; ready again after %v (median), %v (longest)",
		cycles, plugins, starts, s.acks.Load(), s.refused.Load(), s.lost.Load(), sink.count(), sink.overtaken,
		ready[len(ready)/2].Round(time.Millisecond), ready[len(ready)-1].Round(time.Millisecond))
}

func randomly(rnd *rand.Rand, upTo time.Duration) time.Duration {
	return time.Duration(rnd.Int64N(int64(upTo)))
}

// killPlugins kills every plugin process of the daemon and says how many.
func killPlugins(d *daemon, s *sink) (n int) {
	s.pluginKilled()
	for _, p := range d.processes() {
		if p.plugin {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
			n++
		}
	}
	return n
}
