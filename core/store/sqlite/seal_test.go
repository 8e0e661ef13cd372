package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
	"github.com/consentd/consentd/core/store/storetest"
)

var (
	oldKey = bytes.Repeat([]byte{1}, 32)
	newKey = bytes.Repeat([]byte{2}, 32)
)

// TestSealedStore holds a store with a key to the suite.
func TestSealedStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		path := filepath.Join(t.TempDir(), "consentd.db")
		return func(t *testing.T) store.Store { return open1(t, path, oldKey) }
	})
}

const secretWord = "a-word-that-nobody-else-says"

// message says the secret word in everything that a sender can say of a person.
func message(citizen, state string, minute int) consent.Update {
	at := time.Date(2026, 3, 2, 9, minute, 0, 0, time.UTC)
	s := consent.State{CitizenID: consent.Identifier(citizen), ExternalRef: secretWord, SentAt: at,
		Permissions: []consent.Permission{{OptionType: "option", OptionID: secretWord, State: state, RecordedAt: at, Campaign: secretWord}},
		Preferences: []consent.Preference{{Preference: secretWord, UpdatedAt: at}},
	}
	return consent.Update{Source: "s", Type: consent.EffectivePermission, Received: at, State: s, Body: consent.Encode(s)}
}

// fillStore leaves citizens, one of them with a held grant, and a quarantined body.
func fillStore(t *testing.T, s *Store, citizens int) {
	t.Helper()
	ctx := context.Background()
	accept := func(u consent.Update) {
		t.Helper()
		if v, err := s.Accept(ctx, u); err != nil || v != consent.Accepted {
			t.Fatal(v, err)
		}
	}
	for n := range citizens {
		accept(message(fmt.Sprint("c", n), "DENIED", 5))
	}
	accept(message("c1", "PENDING", 6)) // written over the one before
	late := message("c0", "GRANTED", 1)
	late.State.SentAt = late.State.SentAt.Add(time.Hour)
	late.Received = late.State.SentAt
	late.Body = consent.Encode(late.State)
	accept(late)
	if n, err := s.Held(ctx); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if err := s.Quarantine(ctx, store.Quarantined{Source: "s", Received: time.Now(), Reason: "x", Body: []byte("{" + secretWord)}); err != nil {
		t.Fatal(err)
	}
}

// readable holds the store to have what fillStore left.
func readable(t *testing.T, s *Store, citizens int) {
	t.Helper()
	ctx := context.Background()
	for n := range citizens {
		c, err := s.Citizen(ctx, "s", fmt.Sprint("c", n))
		if err != nil || !bytes.Contains(c.Body, []byte(secretWord)) || !strings.Contains(c.Grants, secretWord) ||
			(n == 0) != bytes.Contains(c.Held, []byte("GRANTED")) {
			t.Fatalf("citizen %d: %+v, %v", n, c, err)
		}
	}
	q, err := s.ShowQuarantine(ctx, 1)
	if err != nil || string(q.Body) != "{"+secretWord || q.Size != len(q.Body) {
		t.Fatalf("%+v, %v", q, err)
	}
	// A duplicate is known by its digest.
	if v, err := s.Accept(ctx, message("c1", "PENDING", 6)); err != nil || v != consent.Duplicate {
		t.Errorf("%v, %v", v, err)
	}
}

// says is whether a store's files hold a text.
func says(t *testing.T, path, text string) bool {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(text)) {
			return true
		}
	}
	return false
}

// tamper changes a closed store behind its back.
func tamper(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestSealedFileSaysNothing(t *testing.T) {
	for name, keys := range map[string][][]byte{"clear": nil, "sealed": {oldKey}} {
		path := filepath.Join(t.TempDir(), "consentd.db")
		s := open1(t, path, keys...)
		fillStore(t, s, 3)
		readable(t, s, 3)
		key := hex.EncodeToString(s.HashKey())
		if !says(t, path, "c1") {
			t.Error("the citizen's id is not in clear, so this looks for the wrong thing")
		}
		if clear := says(t, path, secretWord); clear != (keys == nil) {
			t.Errorf("%s: personal values in clear: %v", name, clear)
		}
		if clear := says(t, path, string(s.HashKey())); clear != (keys == nil) {
			t.Errorf("%s: hash key in clear: %v", name, clear)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open1(t, path, keys...)
		readable(t, s, 3)
		if hex.EncodeToString(s.HashKey()) != key {
			t.Error("the hash key changed")
		}
		s.Close()
	}
}

// TestRotation goes from no key to one, and on to another, and takes each away when it may.
func TestRotation(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "consentd.db")
	const citizens = 20
	s := open1(t, path)
	fillStore(t, s, citizens)
	hashKey := bytes.Clone(s.HashKey())
	steps := []struct {
		with, later [][]byte
	}{
		{[][]byte{oldKey}, [][]byte{oldKey}},
		{[][]byte{newKey, oldKey}, [][]byte{newKey}},
	}
	for n, step := range steps {
		s.Close()
		s = open1(t, path, step.with...)
		readable(t, s, citizens) // before any of it is sealed anew
		if more, err := s.Reseal(ctx, 7); err != nil || !more {
			t.Fatal(more, err)
		}
		s.Close()
		if n == 1 { // too early: half of it is sealed with the old one
			if s, err := Open(ctx, path, step.later...); !errors.Is(err, seal.ErrKeyMissing) {
				t.Fatalf("opened without the old key: %v, %v", s, err)
			}
		}
		s = open1(t, path, step.with...)
		for passes := 0; ; passes++ {
			more, err := s.Reseal(ctx, 7)
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				if passes != citizens/7 {
					t.Errorf("%d passes", passes)
				}
				break
			}
		}
		var others int
		first := s.seal.First()
		if err := s.db.QueryRow(`SELECT count(*) FROM (SELECT digest AS v FROM citizen UNION ALL SELECT grants FROM citizen UNION ALL
			SELECT held FROM citizen WHERE held IS NOT NULL UNION ALL SELECT body FROM citizen UNION ALL SELECT body FROM quarantine UNION ALL
			SELECT value FROM meta WHERE name = 'hash_key') WHERE substr(v, 2, 4) <> ?`, first[:]).Scan(&others); err != nil || others != 0 {
			t.Errorf("%d values are not sealed with the first key, %v", others, err)
		}
		s.Close()
		s = open1(t, path, step.later...)
		readable(t, s, citizens)
		if !bytes.Equal(s.HashKey(), hashKey) {
			t.Error("the hash key changed")
		}
		if more, err := s.Reseal(ctx, 1); err != nil || more {
			t.Errorf("a pass begins though all is sealed: %v, %v", more, err)
		}
	}
	s.Close()
}

// damageC1 changes the last byte of what is sealed of c1, which may be any.
const damageC1 = `UPDATE citizen SET body = CAST(substr(body, 1, length(body) - 1) ||
	CASE substr(body, -1) WHEN x'00' THEN x'01' ELSE x'00' END AS BLOB) WHERE citizen_id = 'c1'`

// TestKeyOfDamagedValueStays: a value that does not open is said to be left, and its key does not count as out of use.
func TestKeyOfDamagedValueStays(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "consentd.db")
	s := open1(t, path, oldKey)
	fillStore(t, s, 4)
	s.Close()
	tamper(t, path, damageC1)
	s = open1(t, path, newKey, oldKey)
	if more, err := s.Reseal(ctx, 100); more || err == nil || !strings.Contains(err.Error(), "store verify") {
		t.Errorf("%v, %v", more, err)
	}
	s.Close()
	if s, err := Open(ctx, path, newKey); !errors.Is(err, seal.ErrKeyMissing) {
		t.Errorf("opened without the old key: %v, %v", s, err)
	}
}

// TestOpenRefusesKeys: without the key of what is sealed a store is not opened, and stays as it is.
func TestOpenRefusesKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consentd.db")
	s := open1(t, path, oldKey)
	fillStore(t, s, 2)
	id := s.seal.First().String()
	s.Close()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string][][]byte{"none": nil, "another": {newKey}} {
		if s, err := Open(context.Background(), path, keys...); err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		} else if !errors.Is(err, seal.ErrKeyMissing) || !strings.Contains(err.Error(), id) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(after, before) {
		t.Error("the file changed")
	}
	for name, keys := range map[string][][]byte{"short": {oldKey[1:]}, "twice": {oldKey, oldKey}} {
		if s, err := Open(context.Background(), path, keys...); err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		}
	}
	open1(t, path, newKey, oldKey).Close()
}

// TestSealedValueStaysInItsPlace: what is sealed opens nowhere but where it belongs, and one that does not open
// harms nobody else.
func TestSealedValueStaysInItsPlace(t *testing.T) {
	ctx := context.Background()
	for name, statement := range map[string]string{
		"of another":      `UPDATE citizen SET body = (SELECT body FROM citizen WHERE citizen_id = 'c2') WHERE citizen_id = 'c1'`,
		"another column":  `UPDATE citizen SET body = held WHERE citizen_id = 'c0'; UPDATE citizen SET body = grants WHERE citizen_id = 'c1'`,
		"changed":         damageC1,
		"cut":             `UPDATE citizen SET body = substr(body, 1, 20) WHERE citizen_id = 'c1'`,
		"unknown storage": `UPDATE citizen SET body = x'07' WHERE citizen_id = 'c1'`,
	} {
		path := filepath.Join(t.TempDir(), "consentd.db")
		s := open1(t, path, oldKey)
		fillStore(t, s, 4)
		s.Close()
		tamper(t, path, statement)
		s = open1(t, path, oldKey)
		if _, err := s.Citizen(ctx, "s", "c1"); err == nil || strings.Contains(err.Error(), secretWord) {
			t.Errorf("%s: %v", name, err)
		}
		claims, err := s.Claim(ctx, "mail", time.Now(), 10, store.AllLanes)
		if err != nil || len(claims) != 4 {
			t.Fatalf("%s: %d claims, %v", name, len(claims), err)
		}
		for _, c := range claims {
			if c.CitizenID == "c1" && c.Body != nil || c.CitizenID == "c3" && !bytes.Contains(c.Body, []byte(secretWord)) {
				t.Errorf("%s: %s has the body %q", name, c.CitizenID, c.Body)
			}
		}
		s.Close()
	}
}
