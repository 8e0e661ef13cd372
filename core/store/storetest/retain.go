package storetest

import (
	"fmt"
	"time"

	"github.com/consentd/consentd/core/store"
)

// What is kept for a while only.

func (s *suite) receiptsPruned() {
	for minute := range 6 {
		s.accept(update("ada", []string{"GRANTED", "DENIED"}[minute%2], minute))
		c := s.one()
		r := &store.Receipt{
			Source: c.Source, CitizenID: c.CitizenID, Rule: c.Rule, Target: c.Target, Version: c.Desired,
			Confirmed: t0.Add(time.Duration(minute) * time.Minute), Outcome: "delivered", Digest: []byte("d"),
		}
		s.settle(store.Settlement{Claim: c, At: late, Status: store.Settled, Outcome: "delivered", Digest: []byte("d"), Given: true, Receipt: r})
	}
	prune := func(before time.Time, limit, want int) {
		s.Helper()
		if n, err := s.PruneReceipts(ctx, before, limit); err != nil || n != want {
			s.Fatalf("pruned %d, %v, want %d", n, err, want)
		}
	}
	verifies := func(pruned int64) {
		s.Helper()
		s.reopen()
		chain, err := s.VerifyReceipts(ctx)
		if err != nil || chain.Broken != 0 || chain.Pruned != pruned || chain.Receipts != 6 {
			s.Fatalf("chain %+v, %v", chain, err)
		}
		all, err := s.Receipts(ctx, source, "ada")
		if err != nil || int64(len(all)) != 6-pruned {
			s.Fatalf("%d receipts, %v", len(all), err)
		}
	}
	verifies(0)
	prune(t0, 10, 0)
	prune(t0.Add(3*time.Minute), 2, 2)
	prune(t0.Add(3*time.Minute), 2, 1)
	prune(t0.Add(3*time.Minute), 2, 0)
	verifies(3)

	// The chain that is left is a chain: whoever removes its first receipt is found.
	chain, err := s.VerifyReceipts(ctx)
	if err != nil {
		s.Fatal(err)
	}
	left, err := s.ListReceipts(ctx, 0, 10)
	if err != nil || len(left) != 3 || left[0].ID != 4 {
		s.Fatalf("%d receipts, %v", len(left), err)
	}
	cut := store.Chain{Pruned: chain.Pruned, Receipts: chain.Pruned}
	if cut.Add(s.HashKey(), left[1]) || cut.Broken == 0 {
		s.Error("a receipt is missing at the beginning, and that is not found")
	}

	prune(late, 10, 3)
	verifies(6)
	s.accept(update("ada", "GRANTED", 7))
	s.settled(s.one())
	if chain, err := s.VerifyReceipts(ctx); err != nil || chain.Broken != 0 || chain.Receipts != 7 || chain.Pruned != 6 {
		s.Errorf("chain %+v, %v", chain, err)
	}
	s.balance()
}

func (s *suite) quarantinePruned() {
	for n := range 5 {
		if err := s.Quarantine(ctx, store.Quarantined{Source: source, Received: t0.Add(time.Duration(n) * time.Hour), Reason: "x", Body: fmt.Append(nil, n)}); err != nil {
			s.Fatal(err)
		}
	}
	for _, want := range []int{2, 1, 0} {
		if n, err := s.PruneQuarantine(ctx, t0.Add(3*time.Hour), 2); err != nil || n != want {
			s.Errorf("pruned %d, %v, want %d", n, err, want)
		}
	}
	left, err := s.ListQuarantine(ctx, store.QuarantineFilter{})
	if err != nil || len(left) != 2 || left[0].Received.Before(t0.Add(3*time.Hour)) {
		s.Errorf("left %+v, %v", left, err)
	}
}

// upkept: what upkeep does changes nothing that anybody sees, and comes to an end.
func (s *suite) upkept() {
	for n := range 30 {
		s.accept(update(fmt.Sprint("c", n), "GRANTED", 1))
	}
	for n := 0; ; n++ {
		more, err := s.Reseal(ctx, 7)
		if err != nil || n > 30 {
			s.Fatalf("reseal: %v", err)
		}
		if !more {
			break
		}
	}
	for n := 0; ; n++ {
		more, err := s.Shrink(ctx)
		if err != nil || n > 30 {
			s.Fatalf("shrink: %v", err)
		}
		if !more {
			break
		}
	}
	size, err := s.Size(ctx)
	if err != nil || size.Bytes <= 0 || size.Free < 0 || size.Free > size.Bytes {
		s.Errorf("size %+v, %v", size, err)
	}
	if got := s.claim(100); len(got) != 30 || s.state(got[7]).Permissions[0].State != "GRANTED" {
		s.Errorf("%d deliveries", len(got))
	}
	s.balance()
}
