package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		path := filepath.Join(t.TempDir(), "consentd.db")
		return func(t *testing.T) store.Store { return fresh(t, path) }
	})
}

// open1 is fresh, with a rule in force.
func open1(t testing.TB, path string, keys ...[]byte) *Store {
	t.Helper()
	s := fresh(t, path, keys...)
	if err := s.Route(t.Context(), map[string][]store.Route{"s": {{Rule: "r", Target: "mail"}}}); err != nil {
		t.Fatal(err)
	}
	return s
}

func fresh(t testing.TB, path string, keys ...[]byte) *Store {
	t.Helper()
	s, err := Open(context.Background(), path, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOpenRefuses holds Open to fail closed: a named error, and the file as it was.
func TestOpenRefuses(t *testing.T) {
	valid := func(t *testing.T, path string) {
		if err := open1(t, path).Close(); err != nil {
			t.Fatal(err)
		}
	}
	write := func(data []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	exec := func(statement string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name string
		make func(*testing.T, string)
		want string
	}{
		{"empty file", write(nil), "the file is empty"},
		{"no database", write([]byte(strings.Repeat("no database ", 500))), "damaged"},
		{"another database", exec("CREATE TABLE t (a)"), "something else"},
		{"damaged header", func(t *testing.T, path string) {
			valid(t, path)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(make([]byte, 100), 0); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
		{"newer schema", func(t *testing.T, path string) {
			valid(t, path)
			exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")(t, path)
		}, "newer consentd"},
		{"lost file beside its wal", func(t *testing.T, path string) {
			write([]byte("x"))(t, path+"-wal")
		}, "-wal"},
		{"a directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "consentd.db")
			tc.make(t, path)
			before, _ := os.ReadFile(path)
			s, err := Open(context.Background(), path)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q", err)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file changed")
			}
		})
	}
}

func TestOneProcessOwnsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consentd.db")
	s := open1(t, path)
	defer s.Close()
	if _, err := Open(context.Background(), path); err == nil || !strings.Contains(err.Error(), "another consentd") {
		t.Errorf("second open: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestReadyWrites: a check of the disk that writes nothing would find nothing.
func TestReadyWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consentd.db")
	s := open1(t, path)
	defer s.Close()
	for range 3 {
		before, err := os.ReadFile(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ready(context.Background()); err != nil {
			t.Fatal(err)
		}
		if after, _ := os.ReadFile(path + "-wal"); bytes.Equal(after, before) {
			t.Error("the log is as it was")
		}
	}
}

// TestGivenUpWhileItWaits: who no longer waits for the writer harms nobody. What breaks off within a transaction would
// poison the store.
func TestGivenUpWhileItWaits(t *testing.T) {
	s := open1(t, filepath.Join(t.TempDir(), "consentd.db"))
	defer s.Close()
	for name, ask := range map[string]func(context.Context) error{
		"pause":  func(ctx context.Context) error { return s.SetPause(ctx, "mail", &store.Pause{Since: time.Now()}) },
		"shrink": func(ctx context.Context) error { _, err := s.Shrink(ctx); return err },
		"erase": func(ctx context.Context) error {
			_, err := s.Erase(ctx, "in", "c1", time.Now(), func(consent.State) ([]store.ErasureRequest, error) { return nil, nil })
			return err
		},
		"mark":   func(ctx context.Context) error { return s.SetMark(ctx, "m", []byte("x")) },
		"forget": func(ctx context.Context) error { return s.SetMark(ctx, "m", nil) },
		"resend": func(ctx context.Context) error {
			_, err := s.Resend(ctx, "mail", "in", "c1", true, time.Now())
			return err
		},
	} {
		ctx, giveUp := context.WithCancel(t.Context())
		busy, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() { _ = s.between(t.Context(), func(*writer) error { close(busy); <-free; return nil }) }()
		<-busy
		go func() { done <- ask(ctx) }()
		for len(s.requests) == 0 {
			time.Sleep(time.Millisecond)
		}
		giveUp()
		close(free)
		<-done
		if err := s.Ready(t.Context()); err != nil {
			t.Fatalf("after %s was given up: %v", name, err)
		}
	}
}

// TestRoutesWithoutSources: a store that says of its rules which targets they feed, and not whose citizens they are about,
// as consentd kept it at first, loses nothing and sends nothing again.
func TestRoutesWithoutSources(t *testing.T) {
	ctx := t.Context()
	s := open1(t, filepath.Join(t.TempDir(), "consentd.db"))
	defer s.Close()
	routes := map[string][]store.Route{"s": {{Rule: "r", Target: "mail"}, {Rule: "gone", Target: "mail"}}}
	if err := s.Route(ctx, routes); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Accept(ctx, message("ada", "GRANTED", 1)); err != nil || v != consent.Accepted {
		t.Fatal(v, err)
	}
	if err := s.do(ctx, func(w *writer) error { return w.exec(w.stmts.putMeta, "routes", []byte(`{"r":"mail","gone":"mail"}`)) }); err != nil {
		t.Fatal(err)
	}
	routes["s"] = routes["s"][:1]
	if err := s.Route(ctx, routes); err != nil {
		t.Fatal(err)
	}
	if did, err := s.Reroute(ctx, time.Now()); err != nil || did != (store.Rerouted{Removed: 1}) {
		t.Errorf("%+v, %v", did, err)
	}
	if all, err := s.Deliveries(ctx, "s", "ada"); err != nil || len(all) != 1 || all[0].Rule != "r" {
		t.Errorf("%+v, %v", all, err)
	}
	if before, err := s.routesBefore(ctx); err != nil || before["r"] != (store.Place{Source: "s", Target: "mail"}) {
		t.Errorf("%+v, %v", before, err)
	}
}
