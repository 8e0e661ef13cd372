package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockFile makes sure that one process at a time has the store open.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.New("another consentd has it open; stop that one, or give this one a store of its own")
		}
		return nil, err
	}
	return f, nil
}

// makeFile sees to it that there is a store at path. A new one is made whole under another name first, so
// that no crash leaves half a store behind, and what SQLite would silently take for a new store is refused.
func makeFile(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err == nil {
		switch {
		case info.IsDir():
			return errors.New("is a directory; name a file")
		case info.Size() == 0:
			return errors.New("the file is empty, which no store ever is; bring a backup back, or remove it to start anew")
		}
		return checkHeader(path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		return errors.New("the file is missing while its -wal is there; bring the file back, or remove the -wal to start anew")
	}
	unborn := path + ".new"
	for _, leftover := range []string{unborn, unborn + "-wal", unborn + "-shm"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(unborn, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := setPageSize(ctx, unborn); err != nil {
		return err
	}
	db, err := openFile(ctx, unborn)
	if err != nil {
		return err
	}
	// Closing brings the log into the file as well, and says nothing when it cannot.
	var busy, log, done int
	err = db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &done)
	if err == nil && busy != 0 {
		err = errors.New("it is busy")
	}
	if err != nil {
		db.Close()
		return fmt.Errorf("bring the log into the file: %w", err)
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(unborn, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// setPageSize makes the pages of an empty file twice SQLite's own size, so that a citizen's state of the usual
// few kilobytes takes one, and lets Shrink give free ones back. Neither can be changed once there is anything in the
// file.
func setPageSize(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL"); err != nil {
		db.Close()
		return err
	}
	return db.Close()
}

// checkHeader looks at the file before SQLite does, which would change the journal mode of whatever it is.
// The layout is SQLite's (sqlite.org/fileformat.html, 1.3).
func checkHeader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil || string(header[:16]) != "SQLite format 3\x00" {
		return errors.New("the file is damaged or no SQLite database; bring a backup back")
	}
	if binary.BigEndian.Uint32(header[68:]) != applicationID {
		return errors.New("the file is an SQLite database of something else; name another path")
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// applicationID marks the file as a consentd store in SQLite's header: "cnsd".
const applicationID = 0x636e7364
