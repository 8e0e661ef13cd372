package fault

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestPowerCut cuts the power at random instants under load, also while the daemon starts or stops. Every
// other time some of what was not synced stays. Then the store opens, and nothing acknowledged is missing.
func TestPowerCut(t *testing.T) {
	needs(t, "a FUSE file system", fuseAvailable())
	rnd := random(t)
	disk, at := newDisk(), t.TempDir()
	disk.mount(t, at)
	t.Cleanup(func() { disk.unmount(t) })
	sink := newSink(t)
	sink.delay = 5 * time.Millisecond // so that much is in flight at any instant
	d := newDaemon(t, filepath.Join(at, storeName), apiKeySource+sink.rule("sink", ""))
	s := newSender(d, "c", citizens)
	cut := func(some bool) {
		d.kill()
		sink.quiet(t)
		disk.unmount(t)
		if some {
			disk.cut(rnd)
		} else {
			disk.cut(nil)
		}
		disk.mount(t, at)
	}

	// The first start makes the store. The power goes off before each change that it makes to the disk; in the
	// short form, before some.
	for changes := 0; ; changes += 1 + rnd.IntN(howOften(0, 12, 1)) {
		off, made := disk.offAfter(changes), false
		d.launch()
		eventually(t, "the store is made or the power off", func() bool {
			made = !d.ended() && d.ready()
			select {
			case <-off:
				return true
			default:
				return made
			}
		})
		cut(rnd.IntN(2) == 0)
		if made {
			break
		}
	}
	births := disk.cuts
	var ready []time.Duration
	ready = append(ready, d.start())
	cycles, stops := howOften(*cuts, 12, 1000), 0
	for cycle := 0; cycle < cycles && !t.Failed(); cycle++ {
		stop := s.load(connections)
		time.Sleep(randomly(rnd, 300*time.Millisecond))
		switch rnd.IntN(4) {
		case 0: // while it stops, which is when the store file itself is written
			stops++
			off := disk.offAfter(rnd.IntN(60))
			d.signal(syscall.SIGTERM)
			wait(off, d.exited)
		case 1: // at any moment
			time.Sleep(randomly(rnd, 100*time.Millisecond))
		default: // at any change
			wait(disk.offAfter(rnd.IntN(500)), d.exited)
		}
		cut(cycle%2 == 1)
		if rnd.IntN(4) == 0 { // again, while it opens the store
			off := disk.offAfter(rnd.IntN(30))
			d.launch()
			wait(off, d.exited)
			cut(rnd.IntN(2) == 0)
		}
		stop()
		ready = append(ready, d.start())
		s.check(t, d, sink, "sink")
	}
	d.stop()
	disk.whole(t)
	if s.acks.Load() < int64(cycles)*30 {
		t.Errorf("only %d acknowledged updates in %d cycles: too few to say anything", s.acks.Load(), cycles)
	}
	slices.Sort(ready)
	t.Logf("%d power cuts, %d of them while the store was made, %d while the daemon stopped; %d updates acknowledged, %d unanswered; "+
		"%d syncs of the log and %d of the store file, %d unsynced writes dropped, %d torn; ready again after %v (median), %v (longest)",
		disk.cuts, births, stops, s.acks.Load(), s.lost.Load(), disk.syncs[storeName+"-wal"], disk.syncs[storeName], disk.dropped, disk.torn,
		ready[len(ready)/2].Round(time.Millisecond), ready[len(ready)-1].Round(time.Millisecond))
}

// wait waits for the power to go off, for as long as that should take with a daemon that is busy.
func wait(off, exited <-chan struct{}) {
	select {
	case <-off:
	case <-exited:
	case <-time.After(2 * time.Second):
	}
}

func fuseAvailable() error {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return errors.New("only root on Linux can mount one")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// TestDisk holds the disk itself to what it says of power cuts: the suite is worth no more than it.
func TestDisk(t *testing.T) {
	needs(t, "a FUSE file system", fuseAvailable())
	disk, at := newDisk(), t.TempDir()
	sync := func(name string) {
		t.Helper()
		f, err := os.Open(filepath.Join(at, name))
		if err == nil {
			err = f.Sync()
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(at, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(name, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(at, name))
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	misses := func(name string) {
		t.Helper()
		if _, err := os.Stat(filepath.Join(at, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	cut := func(rnd *rand.Rand) {
		t.Helper()
		disk.unmount(t)
		disk.cut(rnd)
		disk.mount(t, at)
	}
	disk.mount(t, at)
	defer func() { disk.unmount(t) }()
	write("synced", "one")
	sync("synced")
	write("nameless", "one")
	sync(".") // both names, and the one content
	write("unnamed", "one")
	sync("unnamed")
	cut(nil)
	holds("synced", "one")
	holds("nameless", "")
	misses("unnamed")

	write("synced", "three") // truncates first
	if err := os.Rename(filepath.Join(at, "nameless"), filepath.Join(at, "named")); err != nil {
		t.Fatal(err)
	}
	holds("synced", "three")
	cut(nil)
	holds("synced", "one")
	holds("nameless", "")
	misses("named")

	if err := os.Remove(filepath.Join(at, "nameless")); err != nil {
		t.Fatal(err)
	}
	sync(".")
	cut(nil)
	misses("nameless")

	// Of many unsynced writes some stay, and what was synced stays in any case.
	f, err := os.Create(filepath.Join(at, "sectors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole := make([]byte, 64*sector)
	for i := range whole {
		whole[i] = 1
	}
	if _, err := f.Write(whole); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	sync(".")
	for i := range whole {
		whole[i] = 2
	}
	for at := 0; at < len(whole); at += 8 * sector {
		if _, err := f.WriteAt(whole[at:at+8*sector], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	cut(rand.New(rand.NewPCG(1, 1)))
	got, err := os.ReadFile(filepath.Join(at, "sectors"))
	if err != nil || len(got) != len(whole) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	seen := map[byte]int{}
	for i, b := range got {
		seen[b]++
		if b != got[i/sector*sector] {
			t.Fatalf("sector %d is torn", i/sector)
		}
	}
	if len(seen) != 2 || seen[1] == 0 || seen[2] == 0 {
		t.Errorf("of new and old content there is %v", seen)
	}
}
