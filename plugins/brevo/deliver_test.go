package brevo_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/brevo/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestContact(t *testing.T) {
	a := newAccount(t)
	a.Define("AGE", "float")
	target := a.target(t, nil)
	all := fields{
		"email": "Ada.Lovelace@example.org", "ext_id": "c-1", "email_blacklisted": false, "sms_blacklisted": true,
		"lists": fields{"36": true, "7": true, "8": false}, "attributes": fields{"firstname": "Ada", "AGE": 36, "CITY": nil},
	}
	first := want(t, target, sdk.KindDelivered, "", all)
	c, _ := a.Contact(ada)
	c.ID = 0
	expected := sim.Contact{Email: ada, ExtID: "c-1", SMSBlacklist: true, Attributes: fields{"FIRSTNAME": "Ada", "AGE": 36.0}, Lists: []int64{7, 36}}
	if !reflect.DeepEqual(c, expected) || first.Reference == "" {
		t.Fatalf("held %+v, want %+v; reference %q", c, expected, first.Reference)
	}
	a.writes()
	want(t, target, sdk.KindUnchanged, "", all)
	if sent := a.writes(); len(sent) != 0 {
		t.Errorf("sent %v though nothing differs", sent)
	}
	// Null clears, absent is left alone, false is false; only what differs is sent.
	want(t, target, sdk.KindDelivered, "", fields{"email": ada, "lists": fields{"36": false, "7": nil, "9": true}, "attributes": fields{"FIRSTNAME": nil, "AGE": 36}})
	if sent := a.writes(); !slices.Equal(sent, []string{`{"attributes":{"FIRSTNAME":""},"listIds":[9],"unlinkListIds":[7,36]}`}) {
		t.Errorf("sent %v", sent)
	}
	want(t, target, sdk.KindDelivered, "", fields{"email": ada, "lists": nil, "attributes": nil, "email_blacklisted": nil})
	if c, _ = a.Contact(ada); len(c.Lists) != 0 || c.Attributes["AGE"] != 36.0 || !c.SMSBlacklist {
		t.Errorf("held %+v", c)
	}
}

// What a person said at Brevo stands against a grant. The rest of the record does not wait for it.
func TestResubscribe(t *testing.T) {
	for name, tc := range map[string]struct {
		held  sim.Contact
		grant fields
		still func(sim.Contact) bool
	}{
		"email": {sim.Contact{EmailBlacklisted: true}, fields{"email_blacklisted": false}, func(c sim.Contact) bool { return c.EmailBlacklisted }},
		"sms":   {sim.Contact{SMSBlacklist: true}, fields{"sms_blacklisted": false}, func(c sim.Contact) bool { return c.SMSBlacklist }},
		"list":  {sim.Contact{Left: []int64{7}}, fields{"lists": fields{"7": true}}, func(c sim.Contact) bool { return slices.Contains(c.Left, 7) }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			tc.held.Email = ada
			a.Put(tc.held)
			tc.grant["email"], tc.grant["attributes"] = ada, fields{"CITY": "London"}
			want(t, a.target(t, nil), sdk.KindRejected, "OPTED_OUT", tc.grant)
			if c, _ := a.Contact(ada); !tc.still(c) || c.Attributes["CITY"] != "London" {
				t.Fatalf("held %+v", c)
			}
			want(t, a.target(t, fields{"resubscribe": "force"}), sdk.KindDelivered, "", tc.grant)
			if c, _ := a.Contact(ada); tc.still(c) {
				t.Errorf("held %+v though it is forced", c)
			}
		})
	}
}

// Who is made a contact, and who is not.
func TestCreate(t *testing.T) {
	withdrawal := plugintest.Record(t, fields{"email": ada, "attributes": fields{"CITY": "x"}})
	withdrawal.Withdrawal = true
	for name, tc := range map[string]struct {
		record sdk.Record
		never  bool // known afterwards
	}{
		"opt-out":               {plugintest.Record(t, fields{"email": ada, "email_blacklisted": true}), false},
		"opt-out of SMS":        {plugintest.Record(t, fields{"email": ada, "sms_blacklisted": true}), false},
		"off a list":            {plugintest.Record(t, fields{"email": ada, "lists": fields{"7": false}}), false},
		"off all lists":         {plugintest.Record(t, fields{"email": ada, "lists": nil}), false},
		"opt-out in attributes": {withdrawal, false},
		"mixed":                 {plugintest.Record(t, fields{"email": ada, "email_blacklisted": false, "sms_blacklisted": true}), true},
		"on a list":             {plugintest.Record(t, fields{"email": ada, "lists": fields{"7": true}}), true},
		"attributes":            {plugintest.Record(t, fields{"email": ada, "attributes": fields{"CITY": "x"}}), true},
	} {
		for _, create := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, create = %t", name, create), func(t *testing.T) {
				a := newAccount(t)
				o := a.target(t, fields{"create": create}).Deliver(t.Context(), []sdk.Record{tc.record})[0]
				c, known := a.Contact(ada)
				if known != (tc.never || create) || !o.Kind.Done() || known != (o.Kind == sdk.KindDelivered) {
					t.Errorf("known %t, outcome %+v", known, o)
				}
				if name == "opt-out" && create && !c.EmailBlacklisted {
					t.Error("not blacklisted")
				}
			})
		}
	}
}

// A withdrawal reaches Brevo whatever else is wrong with the record.
func TestTakesWhateverElse(t *testing.T) {
	for name, tc := range map[string]struct {
		more fields
		kind sdk.Kind
		code string
	}{
		"unknown attribute":          {fields{"attributes": fields{"FRSTNAME": "Ada"}}, sdk.KindUnauthorized, "UNKNOWN_ATTRIBUTE"},
		"unknown attribute to clear": {fields{"attributes": fields{"FRSTNAME": nil}}, sdk.KindUnauthorized, "UNKNOWN_ATTRIBUTE"},
		"telephone number":           {fields{"attributes": fields{"SMS": "7"}}, sdk.KindRejected, "INVALID_PHONE"},
		"list":                       {fields{"lists": fields{"99": true, "7": false}}, sdk.KindUnauthorized, "LIST_NOT_FOUND"},
		"opt-out elsewhere":          {fields{"sms_blacklisted": false}, sdk.KindRejected, "OPTED_OUT"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.DefineLists(7)
			a.Put(sim.Contact{Email: ada, Lists: []int64{7}, SMSBlacklist: true})
			content := fields{"email": ada, "email_blacklisted": true}
			for k, v := range tc.more {
				content[k] = v
			}
			want(t, a.target(t, nil), tc.kind, tc.code, content)
			if c, _ := a.Contact(ada); !c.EmailBlacklisted || name == "list" && len(c.Lists) != 0 {
				t.Errorf("held %+v", c)
			}
		})
	}
}

// Brevo confirms values that it ignores.
func TestIgnoredValues(t *testing.T) {
	a := newAccount(t)
	a.Define("AGE", "float")
	target := a.target(t, nil)
	content := fields{"email": ada, "attributes": fields{"AGE": "old", "CITY": "London"}}
	for range 2 { // of somebody new, and of a contact
		o := want(t, target, sdk.KindRejected, "NOT_APPLIED", content)
		if !strings.Contains(o.Message, "AGE") {
			t.Errorf("the message does not name the attribute: %s", o.Message)
		}
	}
	if c, _ := a.Contact(ada); c.Attributes["CITY"] != "London" {
		t.Errorf("held %+v", c)
	}
}

// The attributes are read once, and again for a name that was not among them.
func TestAttributesAreKept(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	for n := range 3 {
		want(t, target, sdk.KindDelivered, "", fields{"email": ada, "attributes": fields{"CITY": fmt.Sprint("city ", n)}})
	}
	if n := a.count("GET /v3/contacts/attributes"); n != 1 {
		t.Errorf("the attributes were read %d times", n)
	}
	want(t, target, sdk.KindUnauthorized, "UNKNOWN_ATTRIBUTE", fields{"email": ada, "attributes": fields{"CLUB": "x"}})
	a.Define("CLUB", "text")
	want(t, target, sdk.KindDelivered, "", fields{"email": ada, "attributes": fields{"CLUB": "x"}})
}

// The account is not asked while it says that no call is left.
func TestQuota(t *testing.T) {
	a := newAccount(t)
	a.CallsLeft("0")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	o := a.target(t, nil).Deliver(ctx, []sdk.Record{plugintest.Record(t, fields{"email": ada})})[0]
	if o.Kind != sdk.KindThrottled || o.RetryAfter <= 0 || a.count("") != 1 {
		t.Errorf("outcome %+v after %d calls", o, a.count(""))
	}
}
