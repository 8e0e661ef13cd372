package hubspot_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/hubspot/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestProperties(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	all := fields{"email": ada, "properties": fields{
		"firstname": "Ada", "age": 36, "member": true, "old": nil, "topics": []any{"jazz", "blues"}, "vip": false,
	}}
	first := want(t, target, sdk.KindDelivered, "", all)
	held, known := a.Contact(ada)
	if !known || first.Reference == "" {
		t.Fatalf("held %v, reference %q", held, first.Reference)
	}
	for name, value := range map[string]string{"firstname": "Ada", "age": "36", "member": "true", "topics": "jazz;blues", "vip": "false"} {
		if held[name] != value {
			t.Errorf("%s is %q, want %q", name, held[name], value)
		}
	}
	a.writes()
	want(t, target, sdk.KindUnchanged, "", all)
	if sent := a.writes(); len(sent) != 0 {
		t.Errorf("sent %v though nothing differs", sent)
	}
	// Null clears, absent is left alone, false is false; only what differs is sent.
	want(t, target, sdk.KindDelivered, "", fields{"email": ada, "properties": fields{"firstname": nil, "member": false, "vip": false}})
	held, _ = a.Contact(ada)
	if _, there := held["firstname"]; there || held["member"] != "false" || held["age"] != "36" {
		t.Errorf("held %v", held)
	}
	if sent := strings.Join(a.writes(), ""); !strings.Contains(sent, `"properties":{"firstname":"","member":"false"}`) {
		t.Errorf("sent %s", sent)
	}
	want(t, target, sdk.KindUnchanged, "", fields{"email": ada, "properties": nil})
}

func TestSubscriptions(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, fields{"resubscribe": "force"})
	for _, step := range []struct {
		content any
		kind    sdk.Kind
		state   string
	}{
		{true, sdk.KindDelivered, "SUBSCRIBED"},
		{true, sdk.KindUnchanged, "SUBSCRIBED"},
		{nil, sdk.KindDelivered, "NOT_SPECIFIED"},
		{nil, sdk.KindUnchanged, "NOT_SPECIFIED"},
		{false, sdk.KindDelivered, "UNSUBSCRIBED"},
		{false, sdk.KindUnchanged, "UNSUBSCRIBED"},
		{nil, sdk.KindUnchanged, "UNSUBSCRIBED"}, // an opt-out is not taken back by a null
		{true, sdk.KindDelivered, "SUBSCRIBED"},
	} {
		want(t, target, step.kind, "", subscription(ada, step.content))
		a.wantState(t, ada, step.state)
	}
	want(t, target, sdk.KindUnchanged, "", fields{"email": ada})
	a.SetSubscription(ada, 7, "UNSUBSCRIBED")
	want(t, target, sdk.KindDelivered, "", fields{"email": ada, "subscriptions": nil})
	a.wantState(t, ada, "NOT_SPECIFIED")
	if got := a.Subscription(ada, 7).State; got != "UNSUBSCRIBED" {
		t.Errorf("the opt-out became %s", got)
	}
}

func TestLegalBasis(t *testing.T) {
	for name, batches := range map[string]bool{"one by one": false, "in batches": true} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.Privacy()
			a.Enterprise()
			target := a.target(t, fields{"batch_subscriptions": batches})
			want(t, target, sdk.KindUnauthorized, "LEGAL_BASIS_REQUIRED", subscription(ada, true))
			with := subscription(ada, true)
			with["legal_basis"], with["legal_basis_explanation"] = "CONSENT_WITH_NOTICE", "asked for it"
			want(t, target, sdk.KindDelivered, "", with)
			if got := a.Subscription(ada, id); got != (sim.Status{State: "SUBSCRIBED", LegalBasis: "CONSENT_WITH_NOTICE", Explanation: "asked for it"}) {
				t.Errorf("held %+v", got)
			}
		})
	}
}

// What a person said at HubSpot stands against a grant, by whichever way they left.
func TestResubscribe(t *testing.T) {
	leave := map[string]func(*account){
		"one":                func(a *account) { a.SetSubscription(ada, id, "UNSUBSCRIBED") },
		"all":                func(a *account) { a.OptOutOfAll(ada) },
		"all but subscribed": func(a *account) { a.SetSubscription(ada, id, "SUBSCRIBED"); a.OptOutOfAll(ada) },
		"between the two calls": func(a *account) {
			a.BeforeWrite(func() { a.SetSubscription(ada, id, "UNSUBSCRIBED") })
		},
	}
	for name, leave := range leave {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.Put(ada, nil)
			leave(a)
			grant := fields{"email": ada, "subscriptions": fields{news: true, "7": true}}
			o := want(t, a.target(t, nil), sdk.KindRejected, "OPTED_OUT", grant)
			if !o.Individual {
				t.Error("the outcome is not this record's own")
			}
			if got := a.Subscription(ada, id).State; got == "SUBSCRIBED" && name != "all but subscribed" {
				t.Fatalf("subscribed again: %s", got)
			}
			want(t, a.target(t, fields{"resubscribe": "force"}), sdk.KindDelivered, "", subscription(ada, true))
			a.wantState(t, ada, "SUBSCRIBED")
			want(t, a.target(t, nil), sdk.KindUnchanged, "", subscription(ada, true)) // nothing stands against it any more
		})
	}
	t.Run("the rest is written", func(t *testing.T) {
		a := newAccount(t)
		a.SetSubscription(ada, id, "UNSUBSCRIBED")
		a.Put(ada, nil)
		want(t, a.target(t, nil), sdk.KindRejected, "OPTED_OUT", fields{
			"email": ada, "subscriptions": fields{news: true, "7": true}, "properties": fields{"firstname": "Ada"},
		})
		if held, _ := a.Contact(ada); held["firstname"] != "Ada" || a.Subscription(ada, 7).State != "SUBSCRIBED" {
			t.Errorf("held %v", held)
		}
	})
	t.Run("somebody who is no contact", func(t *testing.T) {
		a := newAccount(t)
		a.SetSubscription(ada, id, "UNSUBSCRIBED")
		want(t, a.target(t, nil), sdk.KindRejected, "OPTED_OUT", subscription(ada, true))
		if _, known := a.Contact(ada); known {
			t.Error("a contact was made for nothing")
		}
	})
}

// Who is made a contact, and who is not.
func TestCreate(t *testing.T) {
	withdrawal := plugintest.Record(t, fields{"email": ada, "properties": fields{"newsletter": false}})
	withdrawal.Withdrawal = true
	for name, tc := range map[string]struct {
		record        sdk.Record
		never, create bool // known afterwards
	}{
		"opt-out":               {plugintest.Record(t, subscription(ada, false)), false, true},
		"null":                  {plugintest.Record(t, subscription(ada, nil)), false, true},
		"null for all":          {plugintest.Record(t, fields{"email": ada, "subscriptions": nil}), false, true},
		"opt-out of properties": {withdrawal, false, true},
		"grant":                 {plugintest.Record(t, subscription(ada, true)), true, true},
		"properties":            {plugintest.Record(t, fields{"email": ada, "properties": fields{"newsletter": true}}), true, true},
		"address alone":         {plugintest.Record(t, fields{"email": ada}), true, true},
	} {
		for _, create := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, create = %t", name, create), func(t *testing.T) {
				a := newAccount(t)
				o := a.target(t, fields{"create": create}).Deliver(t.Context(), []sdk.Record{tc.record})[0]
				_, known := a.Contact(ada)
				expected := tc.never
				if create {
					expected = tc.create
				}
				if known != expected || !o.Kind.Done() || known != (o.Kind == sdk.KindDelivered) {
					t.Errorf("known %t, outcome %+v", known, o)
				}
				if name == "opt-out" && create {
					a.wantState(t, ada, "UNSUBSCRIBED")
				}
			})
		}
	}
}

func crowd(n int, state bool) []fields {
	var all []fields
	for i := range n {
		c := subscription(fmt.Sprintf("Crowd%d@example.org", i), state)
		c["properties"] = fields{"number": i}
		all = append(all, c)
	}
	return all
}

// HubSpot answers in another order than it was asked in, errors among the results.
func TestBatch(t *testing.T) {
	for name, batches := range map[string]bool{"one by one": false, "in batches": true} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.Enterprise()
			target := a.target(t, fields{"batch_subscriptions": batches})
			a.RefuseRow("crowd7@example.org", sim.InvalidProperty("INVALID_INTEGER", "number", "7 was not a valid number"))
			a.Poison("crowd11@example.org")
			people := crowd(20, true)
			people = append(people, subscription("no address", true), subscription("CROWD3@example.org", true))
			references := map[string]bool{}
			for i, o := range deliverAll(t, target, people...) {
				switch {
				case i == 7 && (o.Kind != sdk.KindRejected || o.Code != "INVALID_INTEGER" || !strings.HasSuffix(o.Message, ": number")),
					i == 11 && (o.Kind != sdk.KindRejected || o.Code != "INVALID_EMAIL"),
					i == 20 && (o.Kind != sdk.KindRejected || o.Code != "INVALID_EMAIL"),
					i == 21 && o.Kind != sdk.KindUnchanged,
					i < 20 && i != 7 && i != 11 && o.Kind != sdk.KindDelivered:
					t.Errorf("record %d: %+v", i, o)
				}
				if i < 20 && o.Kind == sdk.KindDelivered {
					held, _ := a.Contact(fmt.Sprintf("crowd%d@example.org", i))
					if held["number"] != fmt.Sprint(i) || references[o.Reference] {
						t.Errorf("record %d: held %v, reference %s", i, held, o.Reference)
					}
					references[o.Reference] = true
					a.wantState(t, fmt.Sprintf("crowd%d@example.org", i), "SUBSCRIBED")
				}
			}
			a.wantState(t, "crowd7@example.org", "NOT_SPECIFIED")
			a.writes()
			for i, o := range deliverAll(t, target, crowd(7, true)...) {
				if o.Kind != sdk.KindUnchanged {
					t.Errorf("record %d again: %+v", i, o)
				}
			}
			if sent := a.writes(); len(sent) != 0 {
				t.Errorf("sent %v", sent)
			}
			for i, o := range deliverAll(t, target, crowd(7, false)...) {
				if o.Kind != sdk.KindDelivered {
					t.Errorf("withdrawal %d: %+v", i, o)
				}
			}
			if n := a.count("/v4/statuses/"); batches && n != 2 || !batches && n != 14 {
				t.Errorf("%d calls for subscriptions", n)
			}
		})
	}
}

// An error that names no input is found by halves, and those who got through are not written twice.
func TestErrorWithoutATrace(t *testing.T) {
	a := newAccount(t)
	bad := map[int]string{1: "INVALID_DATE", 5: "INVALID_OPTION"}
	for i, code := range bad {
		p := sim.InvalidProperty(code, "number", "x")
		p.Context = map[string][]string{"ids": {"?"}}
		a.RefuseRow(fmt.Sprintf("crowd%d@example.org", i), p)
	}
	for i, o := range deliverAll(t, a.target(t, nil), crowd(8, true)...) {
		if bad[i] != "" && (o.Kind != sdk.KindRejected || o.Code != bad[i]) || bad[i] == "" && o.Kind != sdk.KindDelivered {
			t.Errorf("record %d: %+v", i, o)
		}
	}
	if n := strings.Count(strings.ToLower(strings.Join(a.writes(), "")), `"crowd0@example.org"`); n > 1 {
		t.Errorf("one who got through was written %d times", n)
	}
}

// A withdrawal reaches HubSpot though the rest of the record is not taken.
func TestTakesFirst(t *testing.T) {
	a := newAccount(t)
	a.SetSubscription(ada, id, "SUBSCRIBED")
	a.Put(ada, nil)
	a.DefineProperties("firstname")
	target := a.target(t, nil)
	want(t, target, sdk.KindUnauthorized, "PROPERTY_DOESNT_EXIST", fields{"email": ada, "subscriptions": fields{news: false}, "properties": fields{"frstname": "Ada"}})
	a.wantState(t, ada, "UNSUBSCRIBED")
}

// A person is found by another of their addresses too, and stays one contact.
func TestOtherAddress(t *testing.T) {
	a := newAccount(t)
	a.Put(ada, map[string]string{"hs_additional_emails": "countess@example.org;a@example.org"})
	want(t, a.target(t, nil), sdk.KindDelivered, "", fields{"email": "Countess@example.org", "properties": fields{"firstname": "Ada"}})
	if held, _ := a.Contact(ada); held["firstname"] != "Ada" || len(a.People()) != 1 {
		t.Errorf("held %v, people %v", held, a.People())
	}
}

// The account is not asked while it says that no call is left: here the read says so, and the write waits.
func TestQuota(t *testing.T) {
	a := newAccount(t)
	a.CallsLeft(0)
	target := a.target(t, nil)
	ctx, cancel := contextWithin(t)
	defer cancel()
	o := target.Deliver(ctx, []sdk.Record{plugintest.Record(t, fields{"email": ada})})[0]
	if o.Kind != sdk.KindThrottled || o.RetryAfter <= 0 || a.count("") != 1 {
		t.Errorf("outcome %+v after %d calls", o, a.count(""))
	}
}
