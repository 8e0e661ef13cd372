package sqlite

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/store"
)

// figure is the value of a metric without labels; of a histogram, how many it has seen.
func figure(t *testing.T, s *Store, name string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if m := f.Metric[0]; f.GetName() == "consentd_store_"+name {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestMetrics: commits count, also those that fail, and keys.
func TestMetrics(t *testing.T) {
	s := fresh(t, filepath.Join(t.TempDir(), "consentd.db"), []byte(strings.Repeat("k", 32)))
	defer s.Close()
	fill := func(body string) error {
		return s.Quarantine(t.Context(), store.Quarantined{Source: "dataguard", Received: time.Now(), Body: []byte(body)})
	}
	expect := func(name string, want float64) {
		t.Helper()
		if got := figure(t, s, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if err := fill("a"); err != nil {
		t.Fatal(err)
	}
	expect("commit_seconds", 1)
	expect("commit_requests", 1)
	expect("commits_failed_total", 0)
	expect("keys", 1)
	// The writer looks at the log after it has answered, and before anything else.
	if err := s.between(t.Context(), func(*writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if figure(t, s, "log_pages") == 0 || figure(t, s, "disk_available_bytes") == 0 {
		t.Error("no pages in the log, or no room on the disk")
	}
	// As on a full disk.
	if err := s.between(t.Context(), func(w *writer) error {
		_, err := w.conn.ExecContext(t.Context(), "PRAGMA max_page_count = 1")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := fill(strings.Repeat("b", 1<<20)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a full disk: %v", err)
	}
	expect("commits_failed_total", 1)
	expect("commit_seconds", 1)
	expect("poisoned", 0)
	s.poison.set(errors.New("as after a failed sync"))
	expect("poisoned", 1)
}
