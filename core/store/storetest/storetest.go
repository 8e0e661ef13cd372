// Package storetest is the suite that every store passes. It holds a store to the comments of package
// store, one subtest a promise.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// Opener opens the store of one test. Called again, it opens the same store again, after the one before was
// closed.
type Opener func(t *testing.T) store.Store

// Run runs the suite. New is called once a subtest and gives an Opener of a store of its own.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for _, tc := range []struct {
		name string
		run  func(*suite)
	}{
		{"AcceptMakesDeliveriesDue", (*suite).acceptMakesDeliveriesDue},
		{"OlderUpdateChangesNothing", (*suite).olderUpdateChangesNothing},
		{"DuplicateChangesNothing", (*suite).duplicateChangesNothing},
		{"NewerUpdateReplacesPending", (*suite).newerUpdateReplacesPending},
		{"NewerUpdateDuringAttempt", (*suite).newerUpdateDuringAttempt},
		{"OneInFlightForTargetAndCitizen", (*suite).oneInFlight},
		{"WithdrawalsFirst", (*suite).withdrawalsFirst},
		{"WithdrawalStaysUntilConfirmed", (*suite).withdrawalStays},
		{"RetryWaits", (*suite).retryWaits},
		{"WaitingIsCounted", (*suite).waiting},
		{"SurveyFindsWhatIsOwed", (*suite).survey},
		{"ForwardAfterAWrongClock", (*suite).forward},
		{"Fuse", (*suite).fuse},
		{"GrantedAreCounted", (*suite).granted},
		{"CitizensInPages", (*suite).citizens},
		{"DeadLetters", (*suite).deadLetters},
		{"DeadLettersInParts", (*suite).deadInParts},
		{"OldDeadLettersEnd", (*suite).oldDead},
		{"NewerUpdateClosesDeadLetter", (*suite).newerUpdateClosesDead},
		{"ReceiptsMerge", (*suite).receiptsMerge},
		{"LapsedPermissionStays", (*suite).lapsedStays},
		{"Reroute", (*suite).reroute},
		{"RerouteInterrupted", (*suite).rerouteInterrupted},
		{"DiscardedInFlightStaysSo", (*suite).discardedInFlight},
		{"WindowsBeginAndEnd", (*suite).windows},
		{"HeldGrant", (*suite).held},
		{"HeldAreListed", (*suite).heldOnes},
		{"Resend", (*suite).resend},
		{"Marks", (*suite).marks},
		{"ReceiptsAreChained", (*suite).receiptsChained},
		{"Erase", (*suite).erase},
		{"ErasedStaysSo", (*suite).erasedStays},
		{"ErasureRequests", (*suite).erasureRequests},
		{"EraseInFlight", (*suite).eraseInFlight},
		{"Quarantine", (*suite).quarantine},
		{"ReceiptsArePruned", (*suite).receiptsPruned},
		{"QuarantineIsPruned", (*suite).quarantinePruned},
		{"UpkeepChangesNothing", (*suite).upkept},
		{"SurvivesReopening", (*suite).survivesReopening},
		{"PendingIsDistrustedAfterReopening", (*suite).distrust},
		{"Resync", (*suite).resync},
		{"ResyncOfACitizen", (*suite).resyncCitizen},
		{"ResyncInFlight", (*suite).resyncInFlight},
		{"Pauses", (*suite).pauses},
		{"Conservation", (*suite).conservation},
		{"ConcurrentUse", (*suite).concurrentUse},
		{"ChangedIsNeverLost", (*suite).changed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			open := fresh(t)
			s := &suite{T: t, open: open, Store: open(t)}
			s.route(routes...)
			t.Cleanup(func() { s.Close() })
			tc.run(s)
		})
	}
}

type suite struct {
	*testing.T
	store.Store
	open   Opener
	routes []store.Route // that are in force
}

const source = "dataguard"

var (
	t0     = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	late   = t0.Add(1000 * time.Hour)
	routes = []store.Route{{Rule: "newsletter", Target: "mail"}}
	ctx    = context.Background()
)

// update of a citizen, sent and recorded at t0 plus so many minutes.
func update(citizen, state string, minute int) consent.Update {
	at := t0.Add(time.Duration(minute) * time.Minute)
	s := consent.State{
		ApplicationID: "acme", CitizenID: consent.Identifier(citizen), SentAt: at,
		Permissions: []consent.Permission{{OptionType: "option", OptionID: "k3Rmx", Justification: "consent", State: state, RecordedAt: at}},
	}
	return consent.Update{Source: source, Type: consent.EffectivePermission, Received: at, State: s, Body: consent.Encode(s)}
}

// route puts routes in force, also after the next reopen.
func (s *suite) route(r ...store.Route) {
	s.Helper()
	s.routes = r
	if err := s.Route(ctx, map[string][]store.Route{source: r}); err != nil {
		s.Fatalf("route: %v", err)
	}
}

func (s *suite) accept(u consent.Update) consent.Verdict {
	s.Helper()
	v, err := s.Accept(ctx, u)
	if err != nil {
		s.Fatalf("accept: %v", err)
	}
	return v
}

func (s *suite) claim(limit int) []store.Claimed {
	s.Helper()
	return s.claimAt(late, limit)
}

func (s *suite) claimAt(now time.Time, limit int) []store.Claimed {
	s.Helper()
	c, err := s.Claim(ctx, "mail", now, limit, store.AllLanes)
	if err != nil {
		s.Fatalf("claim: %v", err)
	}
	return c
}

// one claims exactly one delivery.
func (s *suite) one() store.Claimed {
	s.Helper()
	c := s.claim(10)
	if len(c) != 1 {
		s.Fatalf("claimed %d deliveries, want 1", len(c))
	}
	return c[0]
}

// peek claims one delivery and releases it again.
func (s *suite) peek() store.Claimed {
	s.Helper()
	c := s.one()
	s.Release([]store.Claimed{c})
	return c
}

func (s *suite) settle(st store.Settlement) {
	s.Helper()
	if err := s.Settle(ctx, []store.Settlement{st}); err != nil {
		s.Fatalf("settle: %v", err)
	}
}

func (s *suite) settled(c store.Claimed) {
	s.Helper()
	s.settle(store.Settlement{Claim: c, At: late, Status: store.Settled, Outcome: "delivered", Digest: []byte("d"), Given: true, Receipt: &store.Receipt{
		Source: c.Source, CitizenID: c.CitizenID, Rule: c.Rule, Target: c.Target, Version: c.Desired, SentAt: c.SentAt,
		Received: c.Received, Confirmed: late, Withdrawal: c.Withdrawal, Outcome: "delivered", Digest: []byte("d"),
		Plugin: "file 1", Reference: "ref", Transactions: []string{"t-1", "t-2"}, Config: "abc",
	}})
}

func (s *suite) state(c store.Claimed) consent.State {
	s.Helper()
	if c.State != nil {
		return *c.State
	}
	st, err := consent.Decode(c.Body)
	if err != nil {
		s.Fatalf("stored body: %v", err)
	}
	return st
}

func (s *suite) reopen() {
	s.Helper()
	if err := s.Close(); err != nil {
		s.Fatalf("close: %v", err)
	}
	s.Store = s.open(s.T)
	s.route(s.routes...)
}

func (s *suite) delivery(citizen string) store.Delivery {
	s.Helper()
	all, err := s.Deliveries(ctx, source, citizen)
	if err != nil || len(all) != 1 {
		s.Fatalf("deliveries of %s: %d, %v", citizen, len(all), err)
	}
	return all[0]
}

// balance checks law 12 on what the ledger says.
func (s *suite) balance() store.Counts {
	s.Helper()
	counts, err := s.Counts(ctx)
	if err != nil {
		s.Fatalf("counts: %v", err)
	}
	c := counts["mail"]
	if c.Accepted != c.Delivered+c.Superseded+c.Erased+c.Pending+c.Dead+c.Discarded {
		s.Errorf("accepted %d, but delivered %d + superseded %d + erased %d + pending %d + dead %d + discarded %d",
			c.Accepted, c.Delivered, c.Superseded, c.Erased, c.Pending, c.Dead, c.Discarded)
	}
	off, err := s.Audit(ctx)
	if err != nil {
		s.Fatalf("audit: %v", err)
	}
	for target, n := range off {
		if n != 0 {
			s.Errorf("the audit finds %s off by %d", target, n)
		}
	}
	return c
}
