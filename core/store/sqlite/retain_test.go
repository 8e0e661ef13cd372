package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/consentd/consentd/core/store"
)

// TestFileShrinks: what was pruned is given back, until little is free.
func TestFileShrinks(t *testing.T) {
	ctx := context.Background()
	s := open1(t, filepath.Join(t.TempDir(), "consentd.db"))
	defer s.Close()
	const bodies, each = 60, 256 << 10
	for n := range bodies {
		body := append(fmt.Append(nil, n), bytes.Repeat([]byte{'x'}, each)...)
		if err := s.Quarantine(ctx, store.Quarantined{Source: "s", Received: time.Now(), Reason: "r", Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if more, err := s.Shrink(ctx); more || err != nil {
		t.Errorf("a full file shrinks: %v, %v", more, err)
	}
	if n, err := s.PruneQuarantine(ctx, time.Now().Add(time.Hour), 1000); n != bodies || err != nil {
		t.Fatal(n, err)
	}
	size, err := s.Size(ctx)
	if err != nil || size.Free < bodies*each {
		t.Fatalf("%+v, %v", size, err)
	}
	for n := 0; ; n++ {
		more, err := s.Shrink(ctx)
		if err != nil || n > 2*bodies*each/8192/shrinkBy {
			t.Fatalf("after %d commits: %v", n, err)
		}
		if !more {
			break
		}
	}
	if size, err = s.Size(ctx); err != nil || size.Free > shrinkFrom*8192 {
		t.Errorf("%+v, %v", size, err)
	}
}

// TestLogStaysBounded: the log is brought into the file while the store is open, and used again.
func TestLogStaysBounded(t *testing.T) {
	ctx := context.Background()
	s := open1(t, filepath.Join(t.TempDir(), "consentd.db"))
	defer s.Close()
	body := bytes.Repeat([]byte{'x'}, 1<<20)
	for n := range 5 * checkpointFrom / 2 * 8192 / len(body) {
		if err := s.Quarantine(ctx, store.Quarantined{Source: "s", Received: time.Now(), Reason: "r", Body: append(fmt.Append(nil, n), body...)}); err != nil {
			t.Fatal(err)
		}
	}
	var busy, pages, done int
	if err := s.db.QueryRow("PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &pages, &done); err != nil || pages > checkpointFrom*3/2 {
		t.Errorf("%d pages in the log, %v", pages, err)
	}
}
