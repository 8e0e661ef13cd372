package fault

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// disk is a file system of one folder, in memory, that knows what would be left of it after a power cut. It
// is as unkind as POSIX allows:
//
//   - What was written to a file, its length too, is safe once the file was synced, and not before. A write
//     that was not may be gone, or there, or there in some of its sectors, whatever came after it.
//   - A name that was made, moved or removed is safe once the folder was synced. Syncing the file does not
//     do it. Names that were not come and go in the order in which they were made.
//
// Pages that are mapped shared, as SQLite's -shm is, reach the disk when the kernel pleases; nothing that
// survives a cut is in them.
type disk struct {
	mu     sync.Mutex
	names  map[string]*file // as a process sees them
	safe   map[string]*file // as they are after a cut
	moves  []move           // from safe to names
	server *fuse.Server

	left int           // changes until the power is off; or on, or off
	off  chan struct{} // closed when it is

	fails failure
	seen  map[operation]int

	cuts, dropped, torn int
	syncs               map[string]int // by name
}

// move is one change of the folder: a name that is there from now on, one that is not, or both at once.
type move struct {
	there, gone string
	file        *file
}

// file has its content as a process sees it, as it is safe, and the changes in between.
type file struct {
	fs.Inode
	disk    *disk
	data    []byte
	safe    []byte
	pending []change
}

// change is a write, or with nil data a new length, which is then at.
type change struct {
	at   int64
	data []byte
}

// sector is what a disk writes whole or not at all.
const sector = 512

func newDisk() *disk {
	return &disk{names: map[string]*file{}, safe: map[string]*file{}, left: on, off: make(chan struct{}),
		seen: map[operation]int{}, syncs: map[string]int{}}
}

// offAfter turns the power off after so many more changes and syncs. What comes then fails, and whoever waits
// for the returned channel has to kill the daemon, which the power being off would have done.
func (d *disk) offAfter(changes int) (off <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = changes
	return d.off
}

const (
	on  = -1
	off = -2
)

// operation is what can be made to fail.
type operation int

const (
	syncing  operation = iota // of a file or of the folder
	writing                   // to a file, its length too
	renaming                  // also making and removing
)

// failure lets operations fail, from one to another, counted from 1. A sync that fails has lost what it was to
// write, as on Linux, where the pages are marked clean all the same.
type failure struct {
	operation operation
	name      string // of the file; empty: any
	from, to  int
	errno     syscall.Errno
	hits      int
}

// failing lets operations fail from now on; the zero failure none.
func (d *disk) failing(f failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails, d.seen = f, map[operation]int{}
}

// hits is how many operations failed so far.
func (d *disk) hits() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fails.hits
}

// refuse says how an operation on a file, if it is on one, fails, if it does. The caller holds the mutex.
func (d *disk) refuse(op operation, on *file) syscall.Errno {
	switch {
	case d.left == 0:
		d.left = off
		close(d.off)
		return syscall.EIO
	case d.left == off:
		return syscall.EIO
	case d.left > 0:
		d.left--
	}
	if d.fails.name != "" && (on == nil || d.names[d.fails.name] != on) {
		return 0
	}
	d.seen[op]++
	if n := d.seen[op]; d.fails.operation == op && d.fails.from <= n && n < d.fails.to {
		d.fails.hits++
		return d.fails.errno
	}
	return 0
}

// mount makes the disk a folder.
func (d *disk) mount(t testing.TB, at string) {
	t.Helper()
	second := time.Second // nobody else changes it
	server, err := fs.Mount(at, &folder{disk: d}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "consentd-fault", Name: "consentd-fault", DisableXAttrs: true},
		AttrTimeout:  &second, EntryTimeout: &second,
	})
	if err != nil {
		t.Fatal(err)
	}
	d.server = server
}

// unmount waits until no process has a file open there. It does nothing when the disk is not mounted.
func (d *disk) unmount(t testing.TB) {
	t.Helper()
	if d.server == nil {
		return
	}
	eventually(t, "the disk is unmounted", func() bool { return d.server.Unmount() == nil })
	d.server.Wait()
	d.server = nil
}

// whole checks the store that is on the disk, out of a folder of its own: a process had better not map files
// that it serves itself.
func (d *disk) whole(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := t.TempDir()
	for name, f := range d.names {
		if err := os.WriteFile(filepath.Join(dir, name), f.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole(t, filepath.Join(dir, storeName))
}

// storeName is that of every store on a disk.
const storeName = "consentd.db"

// cut leaves what a power cut leaves, while nothing is mounted: without rnd what was synced and nothing else, with
// it also some of the rest.
func (d *disk) cut(rnd *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cuts++
	d.left, d.off = on, make(chan struct{})
	if rnd != nil && len(d.moves) > 0 {
		d.settle(rnd.IntN(len(d.moves) + 1))
	}
	d.moves, d.names = nil, maps.Clone(d.safe)
	for name, old := range d.names {
		for _, c := range old.pending {
			switch {
			case rnd == nil || rnd.IntN(2) == 0:
				d.dropped++
			case rnd.IntN(2) == 0 || c.data == nil:
				old.safe = c.apply(old.safe)
			default:
				d.torn++
				for off := 0; off < len(c.data); off += sector {
					if rnd.IntN(2) == 0 {
						old.safe = change{c.at + int64(off), c.data[off:min(off+sector, len(c.data))]}.apply(old.safe)
					}
				}
			}
		}
		// A new file: an inode belongs to one mount.
		d.names[name] = &file{disk: d, safe: old.safe, data: append([]byte(nil), old.safe...)}
	}
	d.safe = maps.Clone(d.names)
}

// settle makes the oldest changes of the folder safe.
func (d *disk) settle(n int) {
	for _, m := range d.moves[:n] {
		if m.there != "" {
			d.safe[m.there] = m.file
		}
		delete(d.safe, m.gone)
	}
	d.moves = d.moves[n:]
}

func (c change) apply(to []byte) []byte {
	end := c.at + int64(len(c.data))
	if c.data == nil && end < int64(len(to)) {
		// Not to[:end]: growing again has to bring zeros.
		return append([]byte(nil), to[:end]...)
	}
	if grow := end - int64(len(to)); grow > 0 {
		to = append(to, make([]byte, grow)...)
	}
	copy(to[c.at:], c.data)
	return to
}

func (f *file) do(c change) {
	f.data = c.apply(f.data)
	f.pending = append(f.pending, c)
}

// folder is the root; its names are those of the disk.
type folder struct {
	fs.Inode
	disk *disk
}

var (
	_ fs.NodeOnAdder   = (*folder)(nil)
	_ fs.NodeCreater   = (*folder)(nil)
	_ fs.NodeUnlinker  = (*folder)(nil)
	_ fs.NodeRenamer   = (*folder)(nil)
	_ fs.NodeFsyncer   = (*folder)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
	_ fs.NodeWriter    = (*file)(nil)
	_ fs.NodeFsyncer   = (*file)(nil)
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeSetattrer = (*file)(nil)
)

func (f *folder) OnAdd(ctx context.Context) {
	for name, file := range f.disk.names {
		f.AddChild(name, f.NewPersistentInode(ctx, file, fs.StableAttr{Mode: syscall.S_IFREG}), true)
	}
}

func (f *folder) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	made := &file{disk: f.disk}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if errno := f.disk.refuse(renaming, nil); errno != 0 {
		return nil, nil, 0, errno
	}
	f.disk.names[name] = made
	f.disk.moves = append(f.disk.moves, move{there: name, file: made})
	out.Mode = 0o600
	return f.NewInode(ctx, made, fs.StableAttr{Mode: syscall.S_IFREG}), nil, 0, 0
}

func (f *folder) Unlink(_ context.Context, name string) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if errno := f.disk.refuse(renaming, nil); errno != 0 {
		return errno
	}
	delete(f.disk.names, name)
	f.disk.moves = append(f.disk.moves, move{gone: name})
	return 0
}

func (f *folder) Rename(_ context.Context, name string, _ fs.InodeEmbedder, newName string, _ uint32) syscall.Errno {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.refuse(renaming, nil); errno != 0 {
		return errno
	}
	d.names[newName] = d.names[name]
	delete(d.names, name)
	d.moves = append(d.moves, move{newName, name, d.names[newName]})
	return 0
}

func (f *folder) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if errno := f.disk.refuse(syncing, nil); errno != 0 {
		return errno
	}
	f.disk.settle(len(f.disk.moves))
	return 0
}

func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (f *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	n := 0
	if off < int64(len(f.data)) {
		n = copy(dest, f.data[off:])
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (f *file) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if errno := f.disk.refuse(writing, f); errno != 0 {
		return 0, errno
	}
	f.do(change{off, append([]byte{}, data...)})
	return uint32(len(data)), 0
}

func (f *file) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if errno := f.disk.refuse(syncing, f); errno != 0 {
		f.pending = nil
		return errno
	}
	for name, named := range f.disk.names {
		if named == f {
			f.disk.syncs[name]++
		}
	}
	for _, c := range f.pending {
		f.safe = c.apply(f.safe)
	}
	f.pending = nil
	return 0
}

func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	out.Mode, out.Size = 0o600, uint64(len(f.data))
	return 0
}

func (f *file) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if size, ok := in.GetSize(); ok {
		if errno := f.disk.refuse(writing, f); errno != 0 {
			return errno
		}
		f.do(change{int64(size), nil})
	}
	out.Mode, out.Size = 0o600, uint64(len(f.data))
	return 0
}
