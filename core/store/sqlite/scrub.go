package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/consentd/consentd/core/store"
)

// scrubFor is how long scrub waits for readers, looking every scrubEvery.
const (
	scrubFor   = 10 * time.Second
	scrubEvery = 20 * time.Millisecond
)

// scrub brings the log into the file and empties it. What was removed is overwritten in the file
// (secure_delete); the log would hold it until it is written over. The writer does it between two commits, and
// does not wait for readers: beside the writer it would make commits fail, and waiting would hold them up.
func (s *Store) scrub(ctx context.Context) error {
	err := errReading
	for until := time.Now().Add(scrubFor); errors.Is(err, errReading) && time.Now().Before(until); {
		if err = s.between(ctx, s.empty); errors.Is(err, errReading) {
			select {
			case <-time.After(scrubEvery):
			case <-ctx.Done():
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%w: erased, but the store's log still holds it: %w; do it again", store.ErrUnavailable, err)
	}
	return nil
}

var errReading = errors.New("it is being read")

// empty brings the whole log into the file and truncates it, unless it is being read.
func (s *Store) empty(w *writer) error {
	var busy, pages, done int
	err := w.waitForLocks(0)
	if err == nil {
		err = w.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &done)
	}
	if err == nil && busy != 0 {
		err = errReading
	}
	if err != nil && !errors.Is(err, errReading) && !passes(err) {
		s.poison.set(fmt.Errorf("bring the log into the file: %w", err))
	}
	return errors.Join(err, w.waitForLocks(busyTimeout))
}

// waitForLocks sets the busy timeout. SQLite does so when the statement is prepared, so each time anew.
func (w *writer) waitForLocks(ms int) error {
	_, err := w.change(fmt.Sprintf("PRAGMA busy_timeout(%d)", ms))
	return err
}
