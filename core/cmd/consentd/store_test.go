package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

func encryption(keys ...string) string {
	return fmt.Sprintf("\nencryption {\n  keys = [\"%s\"]\n}\n", strings.Join(keys, `", "`))
}

var firstKey, secondKey = strings.Repeat("1a", 32), strings.Repeat("2b", 32)

// TestEncryption takes a store from clear to a key and on to another, while it is at work.
func TestEncryption(t *testing.T) {
	s := newSink(t)
	i := configure(t, "")
	base, err := os.ReadFile(i.path("config.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	start := func(keys ...string) {
		text := string(base) + apiKeySource + s.config("sink", "")
		if len(keys) > 0 {
			text += encryption(keys...)
		}
		i.write(text)
		i.log = lockedBuffer{}
		i.start()
	}
	n := 0
	work := func() {
		t.Helper()
		n++
		for _, citizen := range []string{"ada", "bob", fmt.Sprint("new", n)} {
			i.accept(update(citizen, []string{"GRANTED", "DENIED"}[n%2], n))
		}
		i.settled("sink")
		if out, code := i.run("store", "verify", "--config", i.path("config.hcl")); code != 0 {
			t.Errorf("verify ended with %d:\n%s", code, out)
		}
	}
	start()
	work()
	i.stop()
	start(firstKey)
	work()
	i.stop()
	start(secondKey, firstKey)
	work()
	eventually(t, "the old key is said to be needless", func() bool { return strings.Contains(i.log.String(), "not needed any more") })
	i.stop()
	start(secondKey)
	work()
	i.stop()

	// Without the key it does not start, says which, and nothing happens to the store.
	before, err := os.ReadFile(i.path("consentd.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]string{{firstKey}, nil} {
		text := string(base) + apiKeySource
		if keys != nil {
			text += encryption(keys...)
		}
		i.write(text)
		if _, code := i.run("run", "--config", i.path("config.hcl")); code != 3 {
			t.Errorf("run ended with %d", code)
		}
		if out, code := i.run("store", "verify", "--config", i.path("config.hcl")); code != 1 || !strings.Contains(out, "encryption key is missing") {
			t.Errorf("verify ended with %d:\n%s", code, out)
		}
	}
	if after, _ := os.ReadFile(i.path("consentd.db")); string(after) != string(before) {
		t.Error("the store changed")
	}
	if strings.Contains(i.log.String(), firstKey) || strings.Contains(i.log.String(), secondKey) {
		t.Error("a key is in the log")
	}
}

// TestBackupAndRestore copies the store of a running daemon, and starts from the copy.
func TestBackupAndRestore(t *testing.T) {
	s := newSink(t)
	i := configure(t, apiKeySource+s.config("sink", "")+encryption(firstKey))
	i.start()
	i.accept(update("ada", "GRANTED", 1))
	i.settled("sink")
	config, to := i.path("config.hcl"), i.path("copy.db")
	if out, code := i.run("store", "backup", "--config", config, to); code != 0 || !strings.Contains(out, "receipts    ok     1,") {
		t.Fatalf("backup ended with %d:\n%s", code, out)
	}
	if _, code := i.run("store", "backup", "--config", config, to); code != 3 {
		t.Errorf("a second backup to the same name ended with %d", code)
	}
	i.accept(update("ada", "DENIED", 2))
	i.settled("sink")
	i.stop()
	for _, name := range []string{"consentd.db-wal", "consentd.db-shm"} {
		if err := os.RemoveAll(i.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(to, i.path("consentd.db")); err != nil {
		t.Fatal(err)
	}
	i.start()
	i.accept(update("ada", "DENIED", 2)) // what came after the backup is news again
	i.settled("sink")
	var checks []struct{ Check, Found, Problem string }
	out, code := i.run("store", "verify", "--json", "--config", config)
	if err := json.Unmarshal([]byte(out), &checks); err != nil || code != 0 || len(checks) != 7 {
		t.Errorf("verify ended with %d, %v:\n%s", code, err, out)
	}
	i.stop()
	if out, code := i.run("store", "backup", "--config", config, to); code != 0 {
		t.Errorf("of a store that nobody has open: %d\n%s", code, out)
	}
	if out, code := i.run("store", "verify", "--config", config, to); code != 0 {
		t.Errorf("of the copy: %d\n%s", code, out)
	}
	if _, code := i.run("store", "verify", "--config", config, i.path("absent.db")); code != 3 {
		t.Errorf("of no file: %d", code)
	}
	if err := os.WriteFile(i.path("junk.db"), []byte(strings.Repeat("junk", 99)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := i.run("store", "verify", "--config", config, i.path("junk.db")); code != 1 || !strings.Contains(out, "file        WRONG") {
		t.Errorf("of junk: %d\n%s", code, out)
	}
}
