package mailchimp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/mailchimp/sim"
	"github.com/consentd/consentd/sdk"
)

// Whom the account unsubscribed comes back when they opted in later than that, under every policy; whoever
// left by themselves does not.
func TestGrantAfterTheAccountsOwnUnsubscribe(t *testing.T) {
	at := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339Nano) }
	for _, tc := range []struct {
		name   string
		leave  func(a *account)
		status string
		opted  any
		kind   sdk.Kind
		code   string
		now    string
	}{
		{"a later grant", nil, "subscribed", at(time.Hour), sdk.KindDelivered, "", "subscribed"},
		{"a later grant, to be confirmed", nil, "pending", at(time.Hour), sdk.KindDelivered, "", "pending"},
		{"an earlier grant", nil, "subscribed", at(-time.Hour), sdk.KindRejected, "OPTED_OUT", "unsubscribed"},
		{"within the same second", nil, "subscribed", "same", sdk.KindRejected, "OPTED_OUT", "unsubscribed"},
		{"a grant without a time", nil, "subscribed", nil, sdk.KindRejected, "OPTED_OUT", "unsubscribed"},
		{"left by themselves", func(a *account) {
			a.Put(sim.Member{Email: ada, Status: "subscribed"})
			a.Unsubscribe(ada)
		}, "subscribed", at(time.Hour), sdk.KindRejected, "OPTED_OUT", "unsubscribed"},
		{"a reason that is not known", func(a *account) {
			a.Put(sim.Member{Email: ada, Status: "unsubscribed", UnsubscribeReason: "N/A"})
		}, "subscribed", at(time.Hour), sdk.KindRejected, "OPTED_OUT", "unsubscribed"},
		{"bounced", func(a *account) { a.Clean(ada) }, "subscribed", at(time.Hour), sdk.KindRejected, "CLEANED", "cleaned"},
		{"archived since", func(a *account) { a.Archive(ada) }, "subscribed", at(time.Hour), sdk.KindRejected, "ARCHIVED", "archived"},
		{"archived, with the reason still there", func(a *account) {
			a.Put(sim.Member{Email: ada, Status: "archived", UnsubscribeReason: "N/A (Unsubscribed by an admin)"})
		}, "subscribed", at(time.Hour), sdk.KindRejected, "ARCHIVED", "archived"},
		{"in compliance state", func(a *account) {
			a.Inject(sim.Fault{Times: 1, Method: "PUT", Problem: sim.ComplianceState(ada)})
		}, "subscribed", at(time.Hour), sdk.KindRejected, "COMPLIANCE_STATE", "unsubscribed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			target := a.target(t, nil)
			want(t, target, sdk.KindDelivered, "", grant)
			want(t, target, sdk.KindDelivered, "", withdraw)
			if tc.leave != nil {
				tc.leave(a)
			}
			if tc.opted == "same" {
				m, _ := a.Member(ada)
				tc.opted = m.LastChanged.Truncate(time.Second).Add(999 * time.Millisecond).Format(time.RFC3339Nano)
			}
			a.writes()
			want(t, target, tc.kind, tc.code, fields{"email": ada, "status": tc.status, "timestamp_opt": tc.opted})
			m := a.wantStatus(t, ada, tc.now)
			if writes := a.writes(); tc.kind == sdk.KindDelivered && (m.TimestampOpt == "" || len(writes) != 1) {
				t.Errorf("opted in at %q, written %v", m.TimestampOpt, writes)
			}
		})
	}
	for _, resubscribe := range []string{"confirm", "force"} {
		a := newAccount(t)
		target := a.target(t, fields{"resubscribe": resubscribe})
		want(t, target, sdk.KindDelivered, "", grant)
		want(t, target, sdk.KindDelivered, "", withdraw)
		want(t, target, sdk.KindDelivered, "", fields{"email": ada, "status": "subscribed", "timestamp_opt": at(time.Hour)})
		a.wantStatus(t, ada, "subscribed")
	}
	want(t, newAccount(t).target(t, nil), sdk.KindRejected, "INVALID_RECORD", fields{"email": ada, "status": "subscribed", "timestamp_opt": "yesterday"})
}

// The time of opting in is proof of a subscription, and no reason to write somebody who has one.
func TestTimestampOpt(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, fields{"create": true})
	opted := fields{"email": ada, "status": "subscribed", "timestamp_opt": "2026-03-02T10:14:04.123+01:00"}
	want(t, target, sdk.KindDelivered, "", opted)
	if m, _ := a.Member(ada); m.TimestampOpt != "2026-03-02T09:14:04Z" {
		t.Errorf("opted in at %q", m.TimestampOpt)
	}
	a.writes()
	want(t, target, sdk.KindUnchanged, "", opted)
	opted["timestamp_opt"] = "2026-03-03T10:14:04Z"
	want(t, target, sdk.KindUnchanged, "", opted)
	opted["status"] = "unsubscribed"
	want(t, target, sdk.KindDelivered, "", opted)
	for _, w := range a.writes() {
		if strings.Contains(w.Body, "timestamp_opt") {
			t.Errorf("written without a subscription: %s", w.Body)
		}
	}
}
