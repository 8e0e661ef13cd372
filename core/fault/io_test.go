package fault

import (
	"fmt"
	"iter"
	"math"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
)

// posts is how many updates the daemon gets over a disk that fails.
const posts = 24

// shaky is a daemon over a disk of its own. It has no targets, so that the only commits are those of updates,
// and what fails can be told from what was acknowledged.
type shaky struct {
	*daemon
	*sender
	disk *disk
	at   string
}

func newShaky(t testing.TB) shaky {
	t.Helper()
	disk, at := newDisk(), t.TempDir()
	disk.mount(t, at)
	t.Cleanup(func() { disk.unmount(t) })
	d := newDaemon(t, filepath.Join(at, storeName), apiKeySource)
	return shaky{d, newSender(d, "c", 4), disk, at}
}

// comesUp starts the daemon and says whether it came so far as to take posts. To be ready is another matter.
func (d shaky) comesUp() (up bool) {
	d.t.Helper()
	d.launch()
	eventually(d.t, "consentd takes posts, or ends", func() bool {
		up = !d.ended() && d.listens()
		return up || d.ended()
	})
	return up
}

// postNext posts the next update of the n-th citizen in turn, over a connection of its own. The answer is zero
// when there was none.
func (d shaky) postNext(n int) answer {
	c := &connection{address: d.address}
	defer c.close()
	of := &d.citizens[n%len(d.citizens)]
	next := of.acked.Load() + 1
	a, err := c.post(update(of.name, next))
	if err != nil {
		return answer{word: err.Error()} // so that a failure says why
	}
	if a.status == http.StatusOK {
		of.acked.Store(next)
	}
	return a
}

// again cuts the power, so that nothing unsynced helps, and starts the daemon over a disk that works.
func (d shaky) again() {
	d.t.Helper()
	d.disk.unmount(d.t)
	d.disk.cut(nil)
	d.disk.failing(failure{})
	d.disk.mount(d.t, d.at)
	d.start()
	d.known(d.t)
	d.stop()
	d.disk.whole(d.t)
}

// life runs a daemon from its first start to its end in order and says how often it does something.
func life(t *testing.T, op operation) int {
	d := newShaky(t)
	if !d.comesUp() {
		t.Fatal("it ended")
	}
	if op == writing {
		d.ready()
	}
	for n := range posts {
		if a := d.postNext(n); a.status != http.StatusOK {
			t.Fatalf("answer %+v", a)
		}
	}
	d.stop()
	d.disk.mu.Lock()
	defer d.disk.mu.Unlock()
	return d.disk.seen[op]
}

// spread yields some numbers from 1 to all, both among them: as many as given, in the long form as the flag
// says.
func spread(all, short int) iter.Seq[int] {
	some := min(all, howOften(*calls, short, 200))
	return func(yield func(int) bool) {
		for i := range some {
			if !yield(1 + i*(all-1)/max(1, some-1)) {
				return
			}
		}
	}
}

// happens runs a daemon with its n-th call failing until that call came. How many there are in a life varies by one
// or two, as commits share a sync or do not, so the last ones do not come every time.
func happens(t *testing.T, n int, otherwise string, life func(*testing.T) (came bool)) {
	t.Helper()
	t.Run(fmt.Sprint(n), func(t *testing.T) {
		for range 20 {
			if life(t) || t.Failed() {
				return
			}
		}
		t.Error(otherwise)
	})
}

// TestSyncFails lets one sync after the other fail, in each run one. From then on nothing is acknowledged, and
// the process ends with an error; started again, it has all that was acknowledged.
func TestSyncFails(t *testing.T) {
	needs(t, "a FUSE file system", fuseAvailable())
	all := life(t, syncing)
	tried, starting, stopping := 0, 0, 0
	for n := range spread(all, 24) {
		tried++
		happens(t, n, "no sync failed", func(t *testing.T) bool {
			d := newShaky(t)
			d.disk.failing(failure{operation: syncing, from: n, to: n + 1, errno: syscall.EIO})
			if !d.comesUp() {
				starting++
				d.endedBy(t)
				d.again()
				return true
			}
			early := d.disk.hits()
			for n := range posts {
				a := d.postNext(n)
				if a.status == 0 && early > 0 {
					// It failed while the daemon started, which was about to end when it could be reached.
					early = 0
					break
				}
				failed := d.disk.hits() > early
				if failed == (a.status == http.StatusOK) {
					t.Fatalf("answer %+v; a sync failed: %v", a, failed)
				}
			}
			if d.disk.hits() > early {
				eventually(t, "the process ends", d.ended)
				d.endedBy(t)
			} else {
				stopping++
				d.signal(syscall.SIGTERM)
			}
			d.gone()
			hit := d.disk.hits() > 0
			d.again()
			return hit
		})
	}
	t.Logf("%d of %d syncs failed, %d of them while the daemon started, %d while it stopped", tried, all, starting, stopping)
}

// endedBy holds the daemon to have ended because of the disk, and to say so.
func (d shaky) endedBy(t *testing.T) {
	t.Helper()
	if d.disk.hits() == 0 || d.cmd.ProcessState.ExitCode() <= 0 {
		t.Errorf("it ended with %v after %d failures", d.cmd.ProcessState, d.disk.hits())
	}
}

// TestDiskFull lets the disk be full from one write after the other on, for good. Updates are refused with
// 503, and nothing acknowledged is lost.
func TestDiskFull(t *testing.T) {
	needs(t, "a FUSE file system", fuseAvailable())
	all := life(t, writing)
	tried, starting, ended := 0, 0, 0
	for n := range spread(all, 24) {
		tried++
		happens(t, n, "the disk was never full", func(t *testing.T) bool {
			d := newShaky(t)
			d.disk.failing(failure{operation: writing, from: n, to: math.MaxInt, errno: syscall.ENOSPC})
			if !d.comesUp() {
				starting++
				d.endedBy(t)
				d.again()
				return true
			}
			d.ready() // a probe in good times, which may not be all that a later one goes by
			for n := range posts {
				a := d.postNext(n)
				switch full := d.disk.hits() > 0; {
				case full && a.status == http.StatusOK:
					t.Fatal("an update was acknowledged by a full disk")
				case !full && a.status != http.StatusOK:
					t.Fatalf("answer %+v though nothing failed", a)
				case full && !d.ended() && (a.status != http.StatusServiceUnavailable || a.retryAfter == ""):
					t.Fatalf("answer %+v of a daemon whose disk is full", a)
				}
			}
			if d.disk.hits() > 0 && !d.ended() && d.ready() {
				t.Error("it says it is ready while the disk is full")
			}
			if d.ended() {
				ended++
			}
			d.signal(syscall.SIGTERM)
			d.gone()
			hit := d.disk.hits() > 0
			d.again()
			return hit
		})
	}
	t.Logf("full from %d of %d writes on, %d of them while the daemon started; %d daemons ended by themselves", tried, all, starting, ended)
}

// TestDiskFullForAWhile fills the disk for a few writes: the same process takes updates again.
func TestDiskFullForAWhile(t *testing.T) {
	needs(t, "a FUSE file system", fuseAvailable())
	all := life(t, writing)
	for n := range spread(all, 6) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d := newShaky(t)
			d.disk.failing(failure{operation: writing, from: n, to: n + 6, errno: syscall.ENOSPC})
			if !d.comesUp() {
				d.endedBy(t)
				d.again()
				return
			}
			acked := 0
			eventually(t, "updates are taken again", func() bool {
				switch a := d.postNext(acked); {
				case d.ended():
					t.Fatalf("it ended: %v", d.cmd.ProcessState)
				case a.status == http.StatusOK:
					acked++
				case a.status != http.StatusServiceUnavailable:
					t.Fatalf("answer %+v", a)
				}
				return acked >= posts
			})
			d.kill()
			d.again()
		})
	}
}

// TestNamesFail lets making, moving and removing files fail.
func TestNamesFail(t *testing.T) {
	needs(t, "a FUSE file system", fuseAvailable())
	for n := range spread(life(t, renaming), 6) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d := newShaky(t)
			d.disk.failing(failure{operation: renaming, from: n, to: n + 1, errno: syscall.ENOSPC})
			if d.comesUp() {
				for n := range posts {
					d.postNext(n)
				}
				d.signal(syscall.SIGTERM)
			}
			d.gone()
			d.again()
		})
	}
}

// TestCheckpointFails lets the sync of the store file itself fail, which happens where nobody waits for an
// answer: when what is in the log is brought into it under load. The process ends, and after a power cut nothing is
// missing.
func TestCheckpointFails(t *testing.T) {
	needs(t, "a FUSE file system", fuseAvailable())
	for range howOften(*calls, 1, 10) {
		d := newShaky(t)
		d.sender = newSender(d.daemon, "c", citizens)
		d.start()
		d.disk.failing(failure{operation: syncing, name: storeName, from: 1, to: 2, errno: syscall.EIO})
		stop := d.load(connections)
		eventually(t, "the log is brought into the store", func() bool { return d.disk.hits() > 0 || d.ended() })
		eventually(t, "the process ends", d.ended)
		stop()
		d.endedBy(t)
		d.gone()
		d.again()
	}
}
