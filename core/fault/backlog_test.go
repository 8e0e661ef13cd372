package fault

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBacklog has a target down while every citizen changes twice, kills the daemon on top of what is pending,
// brings the target back, and sends withdrawals while the backlog drains.
func TestBacklog(t *testing.T) {
	n := howOften(*backlog, 5_000, 1_000_000)
	var down atomic.Bool
	down.Store(true)
	sink := newSink(t)
	sink.answer = func(w http.ResponseWriter, _ *http.Request, _ record) bool {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return down.Load()
	}
	d := newDaemon(t, "", apiKeySource+sink.rule("sink", `
  retry {
    max_interval = "1m"
  }
`))
	d.start()
	var resident atomic.Int64
	watched := watch(func() { resident.Store(max(resident.Load(), d.resident())) })

	s := newSender(d, "c", n)
	began := time.Now()
	for _, update := range []int64{1, 3} { // grants both: only what is sent later is urgent
		s.each(func(c *connection, of *citizen) {
			for !s.post(c, of, update) {
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	filled := time.Since(began)
	if got := d.target("sink"); got.Accepted != int64(2*n) || got.Pending != int64(n) || got.Delivered != 0 {
		t.Errorf("after two updates of each of %d citizens: %+v", n, got)
	}

	d.kill()
	ready := d.start()
	down.Store(false)
	began = time.Now()
	late := newSender(d, "w", 1000)
	var waits []time.Duration
	var drained time.Duration
	for i := 0; drained == 0; i++ {
		if i < len(late.citizens) {
			waits = append(waits, late.withdraw(t, sink, &late.citizens[i]))
		}
		if pending := d.target("sink").Pending; pending == 0 {
			drained = time.Since(began)
		} else if time.Since(began) > time.Hour {
			t.Fatalf("%d are pending an hour after the target came back", pending)
		}
		time.Sleep(200 * time.Millisecond)
	}
	watched()
	s.check(t, d, sink, "sink")
	late.check(t, d, sink, "sink")
	slices.Sort(waits)
	t.Logf("%d citizens changed twice in %v while the target was down, ready again after a kill in %v; drained in %v; of %d withdrawals meanwhile "+
		"the median took %v and the longest %v; resident %d MB at most, store%s",
		n, filled.Round(time.Second), ready.Round(time.Millisecond), drained.Round(time.Second), len(waits),
		waits[len(waits)/2].Round(time.Millisecond), waits[len(waits)-1].Round(time.Millisecond), resident.Load()>>20, sizes(d.store))
	if resident.Load() > 256<<20 {
		t.Errorf("resident %d MB", resident.Load()>>20)
	}
}

// withdraw sends a citizen's refusal and waits until the target has it.
func (s *sender) withdraw(t *testing.T, sink *sink, of *citizen) time.Duration {
	t.Helper()
	c := &connection{address: s.address}
	defer c.close()
	began := time.Now()
	if !s.post(c, of, 2) {
		t.Fatalf("the withdrawal was not accepted")
	}
	eventually(t, "a withdrawal arrives before the backlog", func() bool { return sink.newest(of.name) == 2 })
	return time.Since(began)
}

// each visits every citizen over all connections.
func (s *sender) each(visit func(*connection, *citizen)) {
	var all sync.WaitGroup
	for n := range connections {
		all.Go(func() {
			c := &connection{address: s.address}
			defer c.close()
			for i := n; i < len(s.citizens); i += connections {
				visit(c, &s.citizens[i])
			}
		})
	}
	all.Wait()
}

// watch does something ten times a second until the returned function is called.
func watch(look func()) (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-time.After(100 * time.Millisecond):
				look()
			case <-stopped:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(stopped)
		<-done
	})
}

func sizes(store string) string {
	var text string
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(store + suffix); err == nil {
			text += fmt.Sprintf(" %d MB", info.Size()>>20)
		}
	}
	return text
}
