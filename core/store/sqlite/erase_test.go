package sqlite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// TestErasedLeavesNoBytes erases people out of a crowd whose states were written over and moved about many
// times, and looks for their words in the store's files.
func TestErasedLeavesNoBytes(t *testing.T) {
	const people, erased, rounds = 300, 40, 12
	path := filepath.Join(t.TempDir(), "consentd.db")
	s := open1(t, path)
	defer s.Close()
	chance := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	mark := func(person int) string { return fmt.Sprintf("person-%04d-secret", person) }
	for round := range rounds {
		for person := range people {
			at := start.Add(time.Duration(round) * time.Minute)
			state := consent.State{ApplicationID: "acme", CitizenID: consent.Identifier(mark(person)), SentAt: at, Permissions: []consent.Permission{{
				OptionType: "option", OptionID: "k3Rmx", State: []string{"GRANTED", "DENIED"}[chance.IntN(2)], RecordedAt: at,
			}}}
			for range chance.IntN(120) { // from one page to several
				state.Preferences = append(state.Preferences, consent.Preference{Preference: "likes", Label: mark(person)})
			}
			u := consent.Update{Source: "dataguard", Type: consent.EffectivePermission, Received: at, State: state, Body: consent.Encode(state)}
			if _, err := s.Accept(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			if chance.IntN(50) == 0 {
				q := store.Quarantined{Source: "dataguard", Received: at, Reason: "unknown shape", Body: fmt.Appendf(nil, `{"id":%q,"round":%d}`, mark(person), round)}
				if err := s.Quarantine(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
		}
		claims, err := s.Claim(t.Context(), "mail", start.Add(time.Hour), people, store.AllLanes)
		if err != nil {
			t.Fatal(err)
		}
		var settlements []store.Settlement
		for _, c := range claims {
			settlements = append(settlements, store.Settlement{Claim: c, At: start, Status: store.Settled, Outcome: "delivered", Digest: []byte("d"),
				Receipt: &store.Receipt{Source: c.Source, CitizenID: c.CitizenID, Target: "mail", Version: c.Desired, Outcome: "delivered", Digest: []byte("d"), Reference: "vendor-" + c.CitizenID}})
		}
		if err := s.Settle(t.Context(), settlements); err != nil {
			t.Fatal(err)
		}
	}
	left := func(person int) int {
		n := 0
		for _, suffix := range []string{"", "-wal"} {
			data, err := os.ReadFile(path + suffix)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			n += bytes.Count(data, []byte(mark(person)))
		}
		return n
	}
	ask := func(state consent.State) ([]store.ErasureRequest, error) {
		record, err := json.Marshal(map[string]string{"id": string(state.CitizenID)})
		return []store.ErasureRequest{{Rule: "r", Target: "mail", Records: []json.RawMessage{record}}}, err
	}
	gone := func(person int) {
		if n := left(person); n > 0 {
			t.Errorf("%d traces of erased person %d are left", n, person)
		}
	}
	erase := func(person int, ask func(consent.State) ([]store.ErasureRequest, error)) {
		if left(person) == 0 {
			t.Fatal("nothing was there before: the search finds nothing")
		}
		if _, err := s.Erase(t.Context(), "dataguard", mark(person), start.Add(time.Hour), ask); err != nil {
			t.Fatal(err)
		}
	}
	for person := range erased / 2 {
		erase(person, func(consent.State) ([]store.ErasureRequest, error) { return nil, nil })
		gone(person)
	}
	for person := erased / 2; person < erased; person++ {
		erase(person, ask)
	}
	for range erased / 2 {
		e, err := s.ClaimErasure(t.Context(), "mail", start.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SettleErasure(t.Context(), store.ErasureSettlement{Erasure: e, Receipt: &store.Receipt{Target: "mail", Outcome: "erased"}}); err != nil {
			t.Fatal(err)
		}
	}
	for person := range erased {
		gone(person)
	}
	if left(erased) == 0 {
		t.Error("somebody else was erased too")
	}
}

// TestErasureHoldsNobodyUp erases somebody while the store is being read: updates are committed meanwhile, and the
// erasure ends when the reader does.
func TestErasureHoldsNobodyUp(t *testing.T) {
	s := open1(t, filepath.Join(t.TempDir(), "consentd.db"))
	defer s.Close()
	fillStore(t, s, 3)
	reader, err := s.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := reader.ExecContext(t.Context(), "BEGIN; SELECT count(*) FROM citizen"); err != nil {
		t.Fatal(err)
	}
	erased := make(chan error, 1)
	go func() {
		_, err := s.Erase(t.Context(), "dataguard", "nobody", time.Now(), func(consent.State) ([]store.ErasureRequest, error) { return nil, nil })
		erased <- err
	}()
	for minute := range 50 {
		if verdict, err := s.Accept(t.Context(), message("late", "GRANTED", 100+minute)); err != nil || verdict != consent.Accepted {
			t.Fatalf("%v, %v", verdict, err)
		}
	}
	select {
	case err := <-erased:
		t.Fatalf("the erasure ended while the log was being read: %v", err)
	default:
	}
	if _, err := reader.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := <-erased; err != nil {
		t.Error(err)
	}
}
