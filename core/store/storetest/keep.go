package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// What is kept over restarts and under concurrent use.

func (s *suite) quarantine() {
	q := store.Quarantined{Source: source, Received: t0, Reason: "malformed JSON at byte 3", Body: []byte("{x}")}
	for range 2 {
		if err := s.Quarantine(ctx, q); err != nil {
			s.Fatal(err)
		}
	}
	all, err := s.ListQuarantine(ctx, store.QuarantineFilter{})
	if err != nil || len(all) != 1 || all[0].Size != 3 || all[0].Reason != q.Reason || !all[0].Received.Equal(t0) {
		s.Fatalf("list %+v, %v", all, err)
	}
	one, err := s.ShowQuarantine(ctx, all[0].ID)
	if err != nil || string(one.Body) != "{x}" {
		s.Errorf("show %+v, %v", one, err)
	}
	if err := s.DiscardQuarantine(ctx, all[0].ID); err != nil {
		s.Error(err)
	}
	if err := s.DiscardQuarantine(ctx, all[0].ID); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("discard twice: %v", err)
	}
	if _, err := s.ShowQuarantine(ctx, all[0].ID); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("show after discard: %v", err)
	}
}

func (s *suite) survivesReopening() {
	s.accept(update("ada", "GRANTED", 1))
	s.accept(update("bob", "GRANTED", 1))
	before := s.claim(1)[0]
	s.settled(before)
	key := slices.Clone(s.HashKey())
	s.reopen()
	if got := s.state(s.peek()); got.CitizenID == "" || got.Permissions[0].State != "GRANTED" {
		s.Errorf("state after reopening: %+v", got)
	}
	if string(key) != string(s.HashKey()) {
		s.Error("the hash key changed")
	}
	if v := s.accept(update("ada", "DENIED", 0)); v != consent.Superseded {
		s.Errorf("older update after reopening: %v", v)
	}
	after := s.one()
	if after.CitizenID == before.CitizenID {
		s.Error("a settled delivery came again")
	}
	s.accept(update("eve", "GRANTED", 1))
	if d := s.delivery("eve"); d.Desired <= after.Desired {
		s.Error("versions started again")
	}
	s.balance()
}

func (s *suite) distrust() {
	s.accept(update("ada", "GRANTED", 1))
	s.settled(s.one())
	s.accept(update("ada", "DENIED", 2))
	if c := s.one(); string(c.Digest) != "d" {
		s.Errorf("digest %q while it is open", c.Digest)
	}
	s.reopen() // as after a crash in mid-attempt
	c := s.one()
	if c.Digest != nil {
		s.Error("the target is trusted to hold what it was given before an attempt nobody knows of")
	}
	s.settled(c)
	s.accept(update("ada", "GRANTED", 3))
	if c := s.one(); string(c.Digest) != "d" {
		s.Errorf("digest %q after a delivery in this process", c.Digest)
	}
}

func (s *suite) conservation() {
	for i := range 30 {
		for minute := range 4 {
			s.accept(update(fmt.Sprint("c", i), []string{"GRANTED", "DENIED", "PENDING", "GRANTED"}[(i+minute)%4], (minute*7+i)%5))
		}
		for _, c := range s.claim(1 + i%3) {
			switch c.Citizen % 4 {
			case 0:
				s.bury(c, time.Time{})
			case 1:
				s.settle(store.Settlement{Claim: c, At: late, Status: store.Pending, NextAttempt: late, Attempts: 1})
			default:
				s.settled(c)
			}
		}
		s.balance()
	}
	if _, err := s.DiscardDead(ctx, store.DeadFilter{}); err != nil {
		s.Fatal(err)
	}
	before := s.balance()
	s.reopen()
	if after := s.balance(); after != before {
		s.Errorf("counts %+v before reopening, %+v after", before, after)
	}
}

func (s *suite) concurrentUse() {
	const citizens, updates = 40, 20
	var senders, workers sync.WaitGroup
	done := make(chan struct{})
	for c := range citizens {
		senders.Go(func() {
			for i := range updates {
				if _, err := s.Accept(ctx, update(fmt.Sprint("c", c), "GRANTED", i)); err != nil {
					s.Errorf("accept: %v", err)
				}
			}
		})
	}
	var mu sync.Mutex
	inFlight, newest := map[int64]bool{}, map[int64]int64{}
	for range 4 {
		workers.Go(func() {
			for {
				claims, err := s.Claim(ctx, "mail", late, 7, store.AllLanes)
				if err != nil {
					s.Errorf("claim: %v", err)
					return
				}
				if len(claims) == 0 {
					select {
					case <-done:
						return
					default:
						continue
					}
				}
				mu.Lock()
				for _, c := range claims {
					if inFlight[c.Citizen] {
						s.Errorf("citizen in flight twice")
					}
					if c.Desired <= newest[c.Citizen] {
						s.Errorf("version %d after %d", c.Desired, newest[c.Citizen])
					}
					inFlight[c.Citizen], newest[c.Citizen] = true, c.Desired
				}
				mu.Unlock()
				settlements := make([]store.Settlement, len(claims))
				mu.Lock()
				for i, c := range claims {
					settlements[i] = store.Settlement{Claim: c, At: late, Status: store.Settled, Outcome: "delivered", Digest: []byte("d")}
					delete(inFlight, c.Citizen)
				}
				mu.Unlock()
				if err := s.Settle(ctx, settlements); err != nil {
					s.Errorf("settle: %v", err)
				}
			}
		})
	}
	senders.Wait()
	close(done)
	workers.Wait()
	for c := range citizens {
		d := s.delivery(fmt.Sprint("c", c))
		if d.Status != store.Settled || d.Delivered != d.Desired {
			s.Errorf("citizen %d ended as %+v", c, d)
		}
	}
	s.balance()
}

func (s *suite) changed() {
	c := s.Changed("mail")
	s.accept(update("ada", "GRANTED", 1))
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		s.Fatal("no hint after an accepted update")
	}
	s.settle(store.Settlement{Claim: s.one(), At: late, Status: store.Pending, NextAttempt: late})
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		s.Fatal("no hint after a settlement")
	}
}

func (s *suite) receiptsChained() {
	for minute := range 5 {
		s.accept(update("ada", []string{"GRANTED", "DENIED"}[minute%2], minute))
		s.settled(s.one())
		s.reopen()
	}
	chain, err := s.VerifyReceipts(ctx)
	if err != nil || chain.Broken != 0 || chain.Receipts != 5 || len(chain.Head) != 32 {
		s.Fatalf("chain %+v, %v", chain, err)
	}
	all, err := s.ListReceipts(ctx, 0, 10)
	if err != nil || len(all) != 5 {
		s.Fatalf("%d receipts, %v", len(all), err)
	}
	for i, r := range all {
		if r.CitizenID != "" || string(r.Subject) != string(store.Subject(s.HashKey(), source, "ada")) {
			s.Errorf("receipt %d says who it is of, or not who: %+v", i, r)
		}
	}
	// Whoever changes, removes or cuts is found.
	for name, tamper := range map[string]func([]store.Receipt) []store.Receipt{
		"changed":             func(r []store.Receipt) []store.Receipt { r[2].Outcome = "unchanged"; return r },
		"of another":          func(r []store.Receipt) []store.Receipt { r[0].Subject = []byte("somebody else's"); return r },
		"removed":             func(r []store.Receipt) []store.Receipt { return slices.Delete(r, 1, 2) },
		"cut":                 func(r []store.Receipt) []store.Receipt { return r[:4] },
		"another transaction": func(r []store.Receipt) []store.Receipt { r[4].Transactions = []string{"t-1"}; return r },
		"another reference":   func(r []store.Receipt) []store.Receipt { r[4].Reference = "x"; return r },
		"changed, hashed": func(r []store.Receipt) []store.Receipt {
			r[1].Target = "x"
			r[1].Hash = r[1].Chained(r[0].Hash)
			return r
		},
	} {
		var c store.Chain
		for _, r := range tamper(slices.Clone(all)) {
			if !c.Add(s.HashKey(), r) {
				break
			}
		}
		c.End(chain.Receipts, chain.Head)
		if c.Broken == 0 || c.Problem == "" {
			s.Errorf("%s: not found", name)
		}
	}
}
