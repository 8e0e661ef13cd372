// Package storetest is the suite that every store passes. It holds a store to the comments of package
// store, one subtest a promise.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
		{"DeadLetters", (*suite).deadLetters},
		{"OldDeadLettersEnd", (*suite).oldDead},
		{"NewerUpdateClosesDeadLetter", (*suite).newerUpdateClosesDead},
		{"ReceiptsMerge", (*suite).receiptsMerge},
		{"LapsedPermissionStays", (*suite).lapsedStays},
		{"WindowsBeginAndEnd", (*suite).windows},
		{"HeldGrant", (*suite).held},
		{"Quarantine", (*suite).quarantine},
		{"SurvivesReopening", (*suite).survivesReopening},
		{"PendingIsDistrustedAfterReopening", (*suite).distrust},
		{"Conservation", (*suite).conservation},
		{"ConcurrentUse", (*suite).concurrentUse},
		{"ChangedIsNeverLost", (*suite).changed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			open := fresh(t)
			s := &suite{T: t, open: open, Store: open(t)}
			t.Cleanup(func() { s.Close() })
			tc.run(s)
		})
	}
}

type suite struct {
	*testing.T
	store.Store
	open Opener
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

func (s *suite) accept(u consent.Update, r ...store.Route) consent.Verdict {
	s.Helper()
	if r == nil {
		r = routes
	}
	v, err := s.Accept(ctx, u, r)
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
	c, err := s.Claim(ctx, "mail", now, limit, false)
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
	s.settle(store.Settlement{Claim: c, At: late, Status: store.Settled, Outcome: "delivered", Digest: []byte("d"), Receipt: &store.Receipt{
		Source: c.Source, CitizenID: c.CitizenID, Rule: c.Rule, Target: c.Target, Version: c.Desired, SentAt: c.SentAt,
		Received: c.Received, Confirmed: late, Withdrawal: c.Withdrawal, Outcome: "delivered", Digest: []byte("d"),
		Plugin: "file 1", Reference: "ref", Config: "abc",
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
	if c.Accepted != c.Delivered+c.Superseded+c.Pending+c.Dead+c.Discarded {
		s.Errorf("accepted %d, but delivered %d + superseded %d + pending %d + dead %d + discarded %d",
			c.Accepted, c.Delivered, c.Superseded, c.Pending, c.Dead, c.Discarded)
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

func (s *suite) acceptMakesDeliveriesDue() {
	u := update("ada", "GRANTED", 1)
	if v := s.accept(u); v != consent.Accepted {
		s.Fatalf("verdict %v", v)
	}
	if early := s.claimAt(u.Received.Add(-time.Second), 10); len(early) != 0 {
		s.Error("claimed before it was due")
	}
	c := s.one()
	if c.Rule != "newsletter" || c.Target != "mail" || c.Source != source || c.CitizenID != "ada" || string(consent.Encode(s.state(c))) != string(u.Body) {
		s.Errorf("claimed %+v", c.Delivery)
	}
	if !c.SentAt.Equal(u.State.SentAt) || !c.Received.Equal(u.Received) || !c.Since.Equal(u.Received) {
		s.Errorf("times: %v %v %v", c.SentAt, c.Received, c.Since)
	}
	s.settled(c)
	if d := s.delivery("ada"); d.Status != store.Settled || d.Delivered != d.Desired || !d.NextAttempt.IsZero() {
		s.Errorf("settled as %+v", d)
	}
	if again := s.claim(10); len(again) != 0 {
		s.Error("claimed again after it was settled")
	}
	receipts, err := s.Receipts(ctx, source, "ada")
	if err != nil || len(receipts) != 1 || receipts[0].Version != c.Desired || receipts[0].Reference != "ref" {
		s.Errorf("receipts %+v, %v", receipts, err)
	}
}

func (s *suite) olderUpdateChangesNothing() {
	s.accept(update("ada", "DENIED", 5))
	s.settled(s.one())
	if v := s.accept(update("ada", "GRANTED", 4)); v != consent.Superseded {
		s.Errorf("verdict %v", v)
	}
	if c := s.claim(10); len(c) != 0 {
		s.Error("an older update made a delivery due")
	}
}

func (s *suite) duplicateChangesNothing() {
	s.accept(update("ada", "GRANTED", 5))
	s.settled(s.one())
	if v := s.accept(update("ada", "GRANTED", 5)); v != consent.Duplicate {
		s.Errorf("verdict %v", v)
	}
	if c := s.claim(10); len(c) != 0 {
		s.Error("a duplicate made a delivery due")
	}
}

func (s *suite) newerUpdateReplacesPending() {
	s.accept(update("ada", "GRANTED", 1))
	s.settled(s.one())
	s.accept(update("ada", "DENIED", 2))
	s.accept(update("ada", "GRANTED", 3))
	c := s.one()
	if got := s.state(c).Permissions[0].State; got != "GRANTED" {
		s.Errorf("claimed state %s", got)
	}
	if c.Digest != nil {
		s.Error("what was pending may have been attempted, yet the target is trusted to hold the older record")
	}
	if !c.Since.Equal(t0.Add(2 * time.Minute)) {
		s.Errorf("since %v, want the first update that the target does not hold", c.Since)
	}
	s.settled(c)
	s.balance()
}

func (s *suite) newerUpdateDuringAttempt() {
	s.accept(update("ada", "GRANTED", 1))
	c := s.one()
	s.accept(update("ada", "DENIED", 2))
	if more := s.claim(10); len(more) != 0 {
		s.Fatal("claimed while the citizen is in flight")
	}
	s.settled(c)
	d := s.delivery("ada")
	if d.Status != store.Pending || d.Delivered != c.Desired || d.Desired <= c.Desired {
		s.Fatalf("after the older version was delivered: %+v", d)
	}
	c = s.one()
	if got := s.state(c).Permissions[0].State; got != "DENIED" || string(c.Digest) != "d" {
		s.Errorf("claimed %s, digest %q", got, c.Digest)
	}
	s.settled(c)
	s.balance()
}

func (s *suite) oneInFlight() {
	s.accept(update("ada", "GRANTED", 1), store.Route{Rule: "a", Target: "mail"}, store.Route{Rule: "b", Target: "mail"}, store.Route{Rule: "c", Target: "other"})
	first := s.one()
	if c := s.claim(10); len(c) != 0 {
		s.Error("two deliveries of one target and citizen in flight")
	}
	if c, err := s.Claim(ctx, "other", late, 10, false); err != nil || len(c) != 1 {
		s.Errorf("another target waits: %d, %v", len(c), err)
	}
	s.settled(first)
	second := s.one()
	if second.Rule == first.Rule {
		s.Error("the same delivery twice")
	}
	s.Release([]store.Claimed{second})
	if again := s.one(); again.ID != second.ID {
		s.Error("a released delivery is not due")
	}
}

func (s *suite) withdrawalsFirst() {
	for i := range 50 {
		s.accept(update(fmt.Sprint("grant", i), "GRANTED", i))
	}
	s.accept(update("ada", "GRANTED", 100))
	for _, c := range s.claim(100) {
		if c.CitizenID == "ada" {
			s.settled(c)
		} else {
			s.Release([]store.Claimed{c})
		}
	}
	s.accept(update("ada", "DENIED", 200))
	c, err := s.Claim(ctx, "mail", late, 10, true)
	if err != nil || len(c) != 1 || c[0].CitizenID != "ada" || !c[0].Withdrawal {
		s.Fatalf("withdrawals alone: %d, %v", len(c), err)
	}
	s.Release(c)
	if c := s.claim(3); len(c) != 3 || c[0].CitizenID != "ada" || c[1].CitizenID != "grant0" || c[2].CitizenID != "grant1" {
		s.Errorf("the withdrawal did not come first, or the grants not in order")
	}
}

func (s *suite) withdrawalStays() {
	s.accept(update("ada", "GRANTED", 1))
	s.settled(s.one())
	s.accept(update("ada", "DENIED", 2))
	u := update("ada", "DENIED", 3)
	u.State.Permissions[0].Channel = "web"
	u.Body = consent.Encode(u.State)
	s.accept(u)
	if c := s.balance(); c.Withdrawals != 1 || !c.OldestWithdrawal.Equal(t0.Add(2*time.Minute)) {
		s.Errorf("counts %+v", c)
	}
	c := s.one()
	if !c.Withdrawal {
		s.Error("a newer update took the withdrawal's place in the lane")
	}
	s.settled(c)
	if c := s.balance(); c.Withdrawals != 0 || !c.OldestWithdrawal.IsZero() {
		s.Errorf("counts after the confirmation %+v", c)
	}
}

func (s *suite) retryWaits() {
	s.accept(update("ada", "GRANTED", 1))
	c := s.one()
	next := late.Add(time.Hour)
	s.settle(store.Settlement{Claim: c, At: late, Status: store.Pending, NextAttempt: next, Attempts: 1, FailingSince: late, Outcome: "retry", Error: "HTTP_500"})
	if c := s.claimAt(next.Add(-time.Second), 10); len(c) != 0 {
		s.Error("claimed before its next attempt")
	}
	if at, err := s.NextDue(ctx, "mail"); err != nil || !at.Equal(next) {
		s.Errorf("next due %v, %v", at, err)
	}
	again := s.claimAt(next, 10)
	if len(again) != 1 || again[0].Attempts != 1 || !again[0].FailingSince.Equal(late) || again[0].Error != "HTTP_500" {
		s.Fatalf("claimed %+v", again)
	}
}

func (s *suite) bury(c store.Claimed, next time.Time) {
	s.Helper()
	s.settle(store.Settlement{Claim: c, At: late, Status: store.Dead, NextAttempt: next, Attempts: 1, Outcome: "rejected", Reason: store.ReasonRejected, Error: "INVALID_EMAIL"})
}

func (s *suite) deadLetters() {
	for _, name := range []string{"ada", "bob", "eve"} {
		s.accept(update(name, "GRANTED", 1))
		s.bury(s.one(), late.Add(time.Hour))
	}
	dead, err := s.ListDead(ctx, store.DeadFilter{})
	if err != nil || len(dead) != 3 || dead[0].Reason != store.ReasonRejected || dead[0].Error != "INVALID_EMAIL" {
		s.Fatalf("dead letters %+v, %v", dead, err)
	}
	if page, err := s.ListDead(ctx, store.DeadFilter{After: dead[0].ID, Limit: 1}); err != nil || len(page) != 1 || page[0].CitizenID != "bob" {
		s.Errorf("page %+v, %v", page, err)
	}
	if none, _ := s.ListDead(ctx, store.DeadFilter{Reason: store.ReasonCrash}); len(none) != 0 {
		s.Error("the reason does not filter")
	}
	if c := s.claim(10); len(c) != 0 {
		s.Error("a dead letter was claimed before its own retry")
	}
	if c := s.claimAt(late.Add(time.Hour), 1); len(c) != 1 || c[0].Status != store.Dead {
		s.Errorf("its own retry did not come: %+v", c)
	} else {
		s.Release(c)
	}
	if n, err := s.ReplayDead(ctx, store.DeadFilter{CitizenID: "ada"}, late); err != nil || n != 1 {
		s.Errorf("replayed %d, %v", n, err)
	}
	if n, err := s.DiscardDead(ctx, store.DeadFilter{ID: dead[1].ID}); err != nil || n != 1 {
		s.Errorf("discarded %d, %v", n, err)
	}
	c := s.one()
	if c.CitizenID != "ada" || c.Status != store.Pending || c.Attempts != 0 {
		s.Errorf("claimed %+v", c.Delivery)
	}
	s.settled(c)
	if c := s.balance(); c.Dead != 1 || c.Discarded != 1 || c.Delivered != 1 {
		s.Errorf("counts %+v", c)
	}
	if n, err := s.ReplayDead(ctx, store.DeadFilter{ID: dead[1].ID}, late); err != nil || n != 0 {
		s.Errorf("replayed what was discarded: %d, %v", n, err)
	}
}

func (s *suite) oldDead() {
	for name, state := range map[string]string{"ada": "GRANTED", "bob": "DENIED"} {
		s.accept(update(name, state, 1))
		s.bury(s.one(), time.Time{})
	}
	if n, err := s.DiscardDead(ctx, store.DeadFilter{StoppedBefore: late}); n != 0 || err != nil {
		s.Errorf("not old yet: %d, %v", n, err)
	}
	if n, err := s.DiscardDead(ctx, store.DeadFilter{StoppedBefore: late.Add(1)}); n != 0 || err != nil {
		s.Errorf("a nanosecond is less than a store keeps: %d, %v", n, err)
	}
	if n, err := s.DiscardDead(ctx, store.DeadFilter{StoppedBefore: late.Add(time.Second)}); n != 1 || err != nil {
		s.Errorf("old: %d, %v", n, err)
	}
	dead, err := s.ListDead(ctx, store.DeadFilter{})
	if err != nil || len(dead) != 1 || dead[0].CitizenID != "bob" || !dead[0].Withdrawal {
		s.Errorf("left: %+v, %v", dead, err)
	}
}

func (s *suite) newerUpdateClosesDead() {
	s.accept(update("ada", "GRANTED", 1))
	s.bury(s.one(), time.Time{})
	s.accept(update("ada", "DENIED", 2))
	if dead, _ := s.ListDead(ctx, store.DeadFilter{}); len(dead) != 0 {
		s.Error("a newer update left the dead letter")
	}
	c := s.one()
	if s.state(c).Permissions[0].State != "DENIED" || c.Attempts != 0 || c.Reason != "" {
		s.Errorf("claimed %+v", c.Delivery)
	}
	s.balance()
}

func (s *suite) receiptsMerge() {
	receipt := func(option, state string, minute int) consent.Update {
		u := update("ada", state, minute)
		u.Type = consent.ConsentReceipts
		u.State.Permissions[0].OptionID = option
		u.Body = consent.Encode(u.State)
		return u
	}
	s.accept(receipt("email", "GRANTED", 5))
	if v := s.accept(receipt("post", "GRANTED", 3)); v != consent.Accepted {
		s.Errorf("an older change of another option: %v", v)
	}
	if v := s.accept(receipt("email", "DENIED", 4)); v != consent.Superseded {
		s.Errorf("an older change of the same option: %v", v)
	}
	states := map[string]string{}
	for _, p := range s.state(s.one()).Permissions {
		states[p.OptionID] = p.State
	}
	if states["email"] != "GRANTED" || states["post"] != "GRANTED" || len(states) != 2 {
		s.Errorf("merged %v", states)
	}
}

func (s *suite) lapsedStays() {
	s.accept(update("ada", "GRANTED", 1))
	s.settled(s.one())
	u := update("ada", "GRANTED", 2)
	u.State.Permissions = nil
	u.Body = consent.Encode(u.State)
	s.accept(u)
	c := s.one()
	p := s.state(c).Permissions
	if !c.Withdrawal || len(p) != 1 || p[0].OptionID != "k3Rmx" || p[0].State != "" {
		s.Errorf("a permission that the sender left out: withdrawal %v, %+v", c.Withdrawal, p)
	}
}

func (s *suite) windows() {
	until := t0.Add(30 * 24 * time.Hour)
	u := update("ada", "GRANTED", 1)
	u.State.Permissions[0].ValidUntil = until
	u.Body = consent.Encode(u.State)
	s.accept(u)
	s.accept(update("bob", "GRANTED", 1))
	for _, c := range s.claim(10) {
		s.settled(c)
	}
	all := map[string][]store.Route{source: routes}
	if at, err := s.NextTick(ctx); err != nil || !at.Equal(until) {
		s.Fatalf("next tick at %v, %v", at, err)
	}
	if n, err := s.Tick(ctx, until.Add(-time.Second), 10, all); n != 0 || err != nil {
		s.Errorf("a second early: %d, %v", n, err)
	}
	s.reopen() // what is to come survives
	if n, err := s.Tick(ctx, until, 10, all); n != 1 || err != nil {
		s.Fatalf("when it ends: %d, %v", n, err)
	}
	c := s.one()
	if c.CitizenID != "ada" || !c.Withdrawal || !c.Since.Equal(until) || s.state(c).Permissions[0].Allowed(until) {
		s.Errorf("claimed %+v", c.Delivery)
	}
	if n, err := s.Tick(ctx, late, 10, all); n != 0 || err != nil {
		s.Errorf("again: %d, %v", n, err)
	}
	if at, err := s.NextTick(ctx); err != nil || !at.IsZero() {
		s.Errorf("next tick at %v, %v", at, err)
	}
	s.settled(c)
	s.balance()
}

func (s *suite) held() {
	s.accept(update("ada", "DENIED", 10))
	s.settled(s.one())
	u := update("ada", "GRANTED", 5)
	u.State.SentAt = t0.Add(20 * time.Minute)
	u.Body = consent.Encode(u.State)
	s.accept(u)
	c := s.one()
	if got := s.state(c).Permissions[0].State; got != "DENIED" {
		s.Errorf("a grant on older evidence became %s", got)
	}
	s.settled(c)
	s.reopen()
	if n, err := s.Held(ctx); n != 1 || err != nil {
		s.Errorf("held: %d, %v", n, err)
	}
	if k, err := s.Citizen(ctx, source, "ada"); err != nil || k.Held == nil || len(k.Body) == 0 {
		s.Errorf("citizen %+v, %v", k, err)
	}
	if _, err := s.Citizen(ctx, source, "nobody"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("nobody: %v", err)
	}
	if err := s.ReleaseHeld(ctx, source, "bob", late, routes); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("release of nobody: %v", err)
	}
	if err := s.ReleaseHeld(ctx, source, "ada", late, routes); err != nil {
		s.Fatal(err)
	}
	c = s.one()
	if got := s.state(c).Permissions[0].State; got != "GRANTED" {
		s.Errorf("released as %s", got)
	}
	s.settled(c)
	if err := s.ReleaseHeld(ctx, source, "ada", late, routes); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("release twice: %v", err)
	}
	s.balance()
}

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
				if _, err := s.Accept(ctx, update(fmt.Sprint("c", c), "GRANTED", i), routes); err != nil {
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
				claims, err := s.Claim(ctx, "mail", late, 7, false)
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
