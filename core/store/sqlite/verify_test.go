package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/store"
)

// problems are those that Verify finds, by the names of the checks.
func problems(t *testing.T, path string, keys ...[]byte) map[string]string {
	t.Helper()
	checks, err := Verify(context.Background(), path, keys...)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, c := range checks {
		if strings.Contains(c.Problem+c.Found, secretWord) {
			t.Errorf("%s says %q", c.Name, c.Problem)
		}
		if c.Problem != "" {
			found[c.Name] = c.Problem
		}
	}
	return found
}

// deliver settles everything that is due, with receipts.
func deliver(t *testing.T, s *Store) {
	t.Helper()
	claims, err := s.Claim(context.Background(), "mail", time.Now(), 100, store.AllLanes)
	if err != nil || len(claims) == 0 {
		t.Fatal(len(claims), err)
	}
	var all []store.Settlement
	for _, c := range claims {
		all = append(all, store.Settlement{Claim: c, At: time.Now(), Status: store.Settled, Outcome: "delivered", Digest: []byte("d"),
			Receipt: &store.Receipt{Source: c.Source, CitizenID: c.CitizenID, Rule: c.Rule, Target: c.Target, Digest: []byte("d")}})
	}
	if err := s.Settle(context.Background(), all); err != nil {
		t.Fatal(err)
	}
}

// TestVerify: whatever is not as it should be is found under its name, and nothing else.
func TestVerify(t *testing.T) {
	for name, tc := range map[string]struct {
		tamper string
		keys   [][]byte
		wrong  []string
	}{
		"all is well":         {"", nil, nil},
		"ledger":              {"UPDATE ledger SET n = n + 1 WHERE entry = 'accepted'", nil, []string{"ledger"}},
		"receipt gone":        {"DELETE FROM receipt WHERE id = 2", nil, []string{"receipts"}},
		"last receipt gone":   {"DELETE FROM receipt WHERE id = (SELECT max(id) FROM receipt)", nil, []string{"receipts"}},
		"first receipt gone":  {"DELETE FROM receipt WHERE id = 1", nil, []string{"receipts"}},
		"newer schema":        {"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)", nil, []string{"schema"}},
		"delivery of nobody":  {"DELETE FROM citizen WHERE citizen_id = 'c1'", nil, []string{"references"}},
		"value":               {"UPDATE citizen SET body = x'07' WHERE citizen_id = 'c1'", nil, []string{"values"}},
		"held value":          {"UPDATE citizen SET held = body WHERE citizen_id = 'c1'", nil, []string{"values"}},
		"body is no message":  {"UPDATE citizen SET body = x'007B' WHERE citizen_id = 'c1'", nil, []string{"values"}},
		"quarantined value":   {"UPDATE quarantine SET body = CAST(body || x'00' AS BLOB)", nil, []string{"values"}},
		"quarantined, longer": {"UPDATE quarantine SET size = 1", nil, []string{"values"}},
		"canary":              {"UPDATE meta SET value = x'0000' WHERE name LIKE 'key %'", nil, []string{"keys"}},
		"no list of keys":     {"DELETE FROM meta WHERE name LIKE 'key %'", nil, []string{"keys"}},
		"no key":              {"", [][]byte{newKey}, []string{"keys", "values"}},
	} {
		path := filepath.Join(t.TempDir(), "consentd.db")
		s := open1(t, path, oldKey)
		fillStore(t, s, 4)
		deliver(t, s)
		s.Close()
		if tc.tamper != "" {
			tamper(t, path, tc.tamper)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		keys := tc.keys
		if keys == nil {
			keys = [][]byte{oldKey}
		}
		found := problems(t, path, keys...)
		for _, want := range tc.wrong {
			if found[want] == "" {
				t.Errorf("%s: nothing wrong with %s", name, want)
			}
			delete(found, want)
		}
		if len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, before) {
			t.Errorf("%s: the file changed", name)
		}
	}
}

func TestVerifyDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consentd.db")
	if _, err := Verify(context.Background(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	s := open1(t, path)
	fillStore(t, s, 200)
	s.Close()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 64<<10), 96<<10); err != nil {
		t.Fatal(err)
	}
	if found := problems(t, path); found["file"] == "" {
		t.Errorf("%v", found)
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if found := problems(t, path); found["file"] == "" {
		t.Errorf("%v", found)
	}
}

// TestBackup copies an open store, twice, and goes on from the copy.
func TestBackup(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	path, to := filepath.Join(dir, "consentd.db"), filepath.Join(dir, "copy.db")
	s := open1(t, path, oldKey)
	fillStore(t, s, 5)
	deliver(t, s)
	if _, err := Backup(ctx, path, to, oldKey); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(ctx, path, to, oldKey); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("over another: %v", err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := s.Accept(ctx, message("later", "GRANTED", 9)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if says(t, to, secretWord) {
		t.Error("the copy is in clear")
	}
	copied := open1(t, to, oldKey)
	readable(t, copied, 5)
	if _, err := copied.Citizen(ctx, "s", "later"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what came later is in it: %v", err)
	}
	copied.Close()

	// One that does not verify gets no name, and leaves nothing behind.
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("DELETE FROM receipt WHERE id = 2"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Backup(ctx, path, to+"2", oldKey); err == nil || !strings.Contains(err.Error(), "receipts") {
		t.Errorf("of a broken chain: %v", err)
	}
	if left, _ := filepath.Glob(to + "2*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
