package storetest

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// What law 11 asks of a store.

func askNothing(consent.State) ([]store.ErasureRequest, error) { return nil, nil }

func askMail(state consent.State) ([]store.ErasureRequest, error) {
	record, err := json.Marshal(map[string]string{"email": string(state.CitizenID) + "@example.org"})
	return []store.ErasureRequest{{Rule: "newsletter", Target: "mail", Records: []json.RawMessage{record}}}, err
}

// erasedAt is after the updates of the first minutes and before those of the later ones.
var erasedAt = t0.Add(30 * time.Minute)

func (s *suite) eraseAda(ask func(consent.State) ([]store.ErasureRequest, error)) store.Erased {
	s.Helper()
	done, err := s.Erase(ctx, source, "ada", erasedAt, ask)
	if err != nil {
		s.Fatalf("erase: %v", err)
	}
	return done
}

func (s *suite) erase() {
	s.accept(update("ada", "GRANTED", 1))
	s.settled(s.one())
	s.accept(update("ada", "DENIED", 2))
	s.accept(update("bob", "GRANTED", 2))
	for _, body := range []string{`{"who":"ada"`, `{"who":"\u0061da","then":}`, `{"who":"adalbert"}`, `{"who":"x-bob"}`} {
		if err := s.Quarantine(ctx, store.Quarantined{Source: source, Received: t0, Reason: "malformed JSON", Body: []byte(body)}); err != nil {
			s.Fatal(err)
		}
	}
	refused := errors.New("rule fails")
	if _, err := s.Erase(ctx, source, "ada", erasedAt, func(consent.State) ([]store.ErasureRequest, error) { return nil, refused }); !errors.Is(err, refused) {
		s.Fatalf("erase when the rule fails: %v", err)
	}
	if _, err := s.Citizen(ctx, source, "ada"); err != nil {
		s.Fatalf("a refused erasure took the citizen: %v", err)
	}
	before, err := s.Receipts(ctx, source, "ada")
	if err != nil || len(before) != 1 || before[0].Reference == "" || len(before[0].Transactions) != 2 {
		s.Fatalf("receipts before: %+v, %v", before, err)
	}

	done := s.eraseAda(askNothing)
	if !done.Known || done.Quarantined != 2 || len(done.Asked) != 0 {
		s.Errorf("erased %+v, want two quarantined bodies", done)
	}
	for range 2 { // the same after reopening
		if _, err := s.Citizen(ctx, source, "ada"); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("the citizen is still there: %v", err)
		}
		if all, err := s.Deliveries(ctx, source, "ada"); err != nil || len(all) != 0 {
			s.Errorf("deliveries are still there: %+v, %v", all, err)
		}
		if c := s.peek(); c.CitizenID != "bob" {
			s.Errorf("claimed a delivery of %s", c.CitizenID)
		}
		after, err := s.Receipts(ctx, source, "ada")
		if err != nil || len(after) != 1 || after[0].Reference != "" || after[0].Digest != nil || after[0].Transactions != nil || string(after[0].Hash) != string(before[0].Hash) {
			s.Errorf("receipts after: %+v, %v", after, err)
		}
		if chain, err := s.VerifyReceipts(ctx); err != nil || chain.Broken != 0 {
			s.Errorf("the chain of receipts broke: %+v, %v", chain, err)
		}
		if c := s.balance(); c.Erased != 1 || c.Pending != 1 || c.Withdrawals != 0 {
			s.Errorf("counts %+v", c)
		}
		s.reopen()
	}
	if done := s.eraseAda(askNothing); done.Known {
		s.Error("erased twice, and known the second time")
	}
}

func (s *suite) erasedStays() {
	late := update("ada", "GRANTED", 1)
	s.accept(late)
	s.settled(s.one())
	s.eraseAda(askNothing)
	s.reopen()
	restamped := update("ada", "GRANTED", 1)
	restamped.State.SentAt = erasedAt.Add(time.Hour)
	restamped.Received = erasedAt.Add(time.Hour)
	restamped.Body = consent.Encode(restamped.State)
	fromTheFuture := update("ada", "GRANTED", 100*24*60)
	fromTheFuture.Received = erasedAt.Add(time.Hour)
	undated := update("ada", "GRANTED", 50)
	undated.State.Permissions[0].RecordedAt = time.Time{}
	undated.Body = consent.Encode(undated.State)
	partial := update("ada", "GRANTED", 1)
	partial.Type = consent.ConsentReceipts
	for name, u := range map[string]consent.Update{"late": late, "stamped anew": restamped, "undated": undated, "delta": partial, "future": fromTheFuture} {
		if v := s.accept(u); v != consent.Superseded {
			s.Errorf("%s: %v", name, v)
		}
	}
	if c := s.claim(10); len(c) != 0 {
		s.Fatalf("claimed %d deliveries of the erased", len(c))
	}
	// Somebody nobody ever heard of may be erased before their update comes.
	if done, err := s.Erase(ctx, source, "eve", erasedAt, askNothing); err != nil || done.Known {
		s.Errorf("erase of the unknown: %+v, %v", done, err)
	}
	if v := s.accept(update("eve", "GRANTED", 1)); v != consent.Superseded {
		s.Errorf("update of the unknown who was erased: %v", v)
	}
	s.balance()
	// Whoever comes back is a new person, and nobody else has got their number meanwhile.
	s.accept(update("bob", "GRANTED", 1))
	for _, back := range []string{"ada", "eve"} {
		if v := s.accept(update(back, "GRANTED", 31)); v != consent.Accepted {
			s.Errorf("%s comes back: %v", back, v)
		}
	}
	if c := s.claim(10); len(c) != 3 {
		s.Errorf("claimed %d deliveries, want those of bob and of the two who came back", len(c))
	}
	s.balance()
}

func (s *suite) erasureRequests() {
	s.accept(update("ada", "GRANTED", 1))
	s.settled(s.one())
	if done := s.eraseAda(askMail); len(done.Asked) != 1 || done.Asked[0] != "mail" {
		s.Fatalf("asked %v", done.Asked)
	}
	s.accept(update("ada", "GRANTED", 31))
	s.accept(update("bob", "GRANTED", 31))
	s.reopen()
	// Until the target has erased the old person, it is told nothing of the new one.
	if c := s.peek(); c.CitizenID != "bob" {
		s.Errorf("claimed a delivery of %s while the target has not erased them", c.CitizenID)
	}
	if next, err := s.NextDue(ctx, "mail"); err != nil || !next.Equal(t0.Add(31*time.Minute)) {
		s.Errorf("next due %v, %v", next, err)
	}
	e := s.claimErasure(late)
	if e.Rule != "newsletter" || len(e.Records) != 1 || string(e.Records[0]) != `{"email":"ada@example.org"}` {
		s.Fatalf("request %+v", e)
	}
	again := late.Add(time.Minute)
	s.settleErasure(store.ErasureSettlement{Erasure: e, Attempts: 1, NextAttempt: again, Error: "not now"})
	if _, err := s.ClaimErasure(ctx, "mail", late); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("claimed before its time: %v", err)
	}
	if open, err := s.Erasures(ctx); err != nil || open["mail"].N != 1 || open["mail"].Error != "not now" || !open["mail"].Oldest.Equal(erasedAt) {
		s.Errorf("open %+v, %v", open, err)
	}
	e = s.claimErasure(again)
	if e.Attempts != 1 {
		s.Errorf("attempts %d", e.Attempts)
	}
	s.settleErasure(store.ErasureSettlement{Erasure: e, Receipt: &store.Receipt{
		Rule: e.Rule, Target: e.Target, Confirmed: again, Outcome: "erased", Plugin: "file 1", Config: "abc",
	}})
	if open, err := s.Erasures(ctx); err != nil || len(open) != 0 {
		s.Errorf("open %+v, %v", open, err)
	}
	if c := s.claim(10); len(c) != 2 {
		s.Errorf("claimed %d deliveries, want that of the new person too", len(c))
	}
	receipts, err := s.Receipts(ctx, source, "ada")
	if err != nil || len(receipts) != 2 || receipts[1].Outcome != "erased" {
		s.Errorf("receipts %+v, %v", receipts, err)
	}
	if chain, err := s.VerifyReceipts(ctx); err != nil || chain.Broken != 0 {
		s.Errorf("chain %+v, %v", chain, err)
	}
	// What no target is there for any more can be given up.
	if _, err := s.Erase(ctx, source, "bob", erasedAt.Add(time.Hour), askMail); err != nil {
		s.Fatal(err)
	}
	if n, err := s.DropErasures(ctx, []string{"mail"}); err != nil || n != 0 {
		s.Errorf("dropped %d requests of a target that is there, %v", n, err)
	}
	if n, err := s.DropErasures(ctx, []string{"other"}); err != nil || n != 1 {
		s.Errorf("dropped %d requests, %v", n, err)
	}
	if _, err := s.ClaimErasure(ctx, "mail", again); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("claimed what was given up: %v", err)
	}
}

func (s *suite) eraseInFlight() {
	s.accept(update("ada", "GRANTED", 1))
	flying := s.one()
	s.eraseAda(askMail)
	if _, err := s.ClaimErasure(ctx, "mail", late); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("the target is asked to erase while a delivery is in flight: %v", err)
	}
	s.accept(update("ada", "GRANTED", 31))
	s.accept(update("bob", "GRANTED", 31))
	s.settled(flying)
	if receipts, err := s.Receipts(ctx, source, "ada"); err != nil || len(receipts) != 0 {
		s.Errorf("receipts of what was erased in flight: %+v, %v", receipts, err)
	}
	for _, who := range []string{"ada", "bob"} {
		if d := s.delivery(who); d.Status != store.Pending || d.Delivered != 0 || d.Digest != nil {
			s.Errorf("the attempt before the erasure changed %s's delivery: %+v", who, d)
		}
	}
	if e := s.claimErasure(late); e.Target != "mail" {
		s.Errorf("request %+v", e)
	}
	s.balance()
}

func (s *suite) claimErasure(now time.Time) store.Erasure {
	s.Helper()
	e, err := s.ClaimErasure(ctx, "mail", now)
	if err != nil {
		s.Fatalf("claim erasure: %v", err)
	}
	return e
}

func (s *suite) settleErasure(st store.ErasureSettlement) {
	s.Helper()
	if err := s.SettleErasure(ctx, st); err != nil {
		s.Fatalf("settle erasure: %v", err)
	}
}
