package klaviyo

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/klaviyo/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func mail(yes any) fields {
	return fields{"email": ada, "subscriptions": fields{"email_marketing": yes}}
}

// Somebody whom Klaviyo holds in one way, and what a record does to them.
func TestTransitions(t *testing.T) {
	const yes, no = "SUBSCRIBED", "UNSUBSCRIBED"
	for _, tc := range []struct {
		name         string
		held         sim.Profile
		grant        bool
		never, force sdk.Kind
		code         string // with never
		now, forced  string // consent
	}{
		{"never asked, in", sim.Profile{}, true, sdk.KindDelivered, sdk.KindDelivered, "", yes, yes},
		{"never asked, out", sim.Profile{}, false, sdk.KindDelivered, sdk.KindDelivered, "", no, no},
		{"in, in", sim.Profile{Consent: map[string]string{"email.marketing": yes}}, true, sdk.KindUnchanged, sdk.KindUnchanged, "", yes, yes},
		{"in, out", sim.Profile{Consent: map[string]string{"email.marketing": yes}}, false, sdk.KindDelivered, sdk.KindDelivered, "", no, no},
		{"out, in", sim.Profile{Consent: map[string]string{"email.marketing": no}, Suppressions: []string{"UNSUBSCRIBE"}}, true, sdk.KindRejected, sdk.KindDelivered, "OPTED_OUT", no, yes},
		{"out, out", sim.Profile{Consent: map[string]string{"email.marketing": no}, Suppressions: []string{"UNSUBSCRIBE"}}, false, sdk.KindUnchanged, sdk.KindUnchanged, "", no, no},
		{"complained, in", sim.Profile{Consent: map[string]string{"email.marketing": yes}, Suppressions: []string{"SPAM_COMPLAINT"}}, true, sdk.KindRejected, sdk.KindDelivered, "OPTED_OUT", yes, yes},
		{"suppressed, in", sim.Profile{Suppressions: []string{"USER_SUPPRESSED"}}, true, sdk.KindRejected, sdk.KindDelivered, "OPTED_OUT", "", yes},
		{"suppressed, out", sim.Profile{Suppressions: []string{"USER_SUPPRESSED"}}, false, sdk.KindDelivered, sdk.KindDelivered, "", no, no},
		{"left the list, in", sim.Profile{Consent: map[string]string{"email.marketing": yes}, LeftLists: []string{sim.ListID}}, true, sdk.KindRejected, sdk.KindDelivered, "OPTED_OUT", yes, yes},
		{"left another list, in", sim.Profile{Consent: map[string]string{"email.marketing": yes}, LeftLists: []string{"Other1"}}, true, sdk.KindUnchanged, sdk.KindUnchanged, "", yes, yes},
		{"bounced, in", sim.Profile{Suppressions: []string{"HARD_BOUNCE"}}, true, sdk.KindDelivered, sdk.KindDelivered, "", yes, yes},
		{"a word not known, in", sim.Profile{Consent: map[string]string{"email.marketing": "PENDING"}}, true, sdk.KindRejected, sdk.KindDelivered, "OPTED_OUT", "PENDING", yes},
		{"a word not known, out", sim.Profile{Consent: map[string]string{"email.marketing": "PENDING"}}, false, sdk.KindDelivered, sdk.KindDelivered, "", no, no},
	} {
		for _, policy := range []string{"", "never", "force"} {
			t.Run(tc.name+"/"+policy, func(t *testing.T) {
				a := newAccount(t)
				tc.held.Email = ada
				a.Put(tc.held)
				kind, code, now := tc.never, tc.code, tc.now
				if policy == "force" {
					kind, code, now = tc.force, "", tc.forced
				}
				target := a.target(t, fields{"resubscribe": policy, "list_id": sim.ListID})
				want(t, target, kind, code, mail(tc.grant))
				p := a.held(t, ada)
				if p.Consent["email.marketing"] != now {
					t.Errorf("held as %q, want %q", p.Consent["email.marketing"], now)
				}
				if slices.Contains(tc.held.Suppressions, "HARD_BOUNCE") && !slices.Contains(p.Suppressions, "HARD_BOUNCE") {
					t.Error("the bounce is gone")
				}
			})
		}
	}
}

func TestUnknownPerson(t *testing.T) {
	for _, tc := range []struct {
		name   string
		create bool
		record fields
		kind   sdk.Kind
		code   string
		now    string // consent; empty: nobody
	}{
		{"in", false, mail(true), sdk.KindDelivered, "", "SUBSCRIBED"},
		{"out", false, mail(false), sdk.KindUnchanged, "", ""},
		{"out with a name", false, fields{"email": ada, "first_name": "Ada", "subscriptions": fields{"email_marketing": false}}, sdk.KindUnchanged, "", ""},
		{"out, create", true, mail(false), sdk.KindDelivered, "", "UNSUBSCRIBED"},
		{"suppressed", false, fields{"email": ada, "suppressed": true}, sdk.KindUnchanged, "", ""},
		{"gives without consent", false, fields{"email": ada, "first_name": "Ada"}, sdk.KindRejected, "UNKNOWN_PROFILE", ""},
		{"clears without consent", false, fields{"email": ada, "first_name": nil}, sdk.KindUnchanged, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			want(t, a.target(t, fields{"create": tc.create}), tc.kind, tc.code, tc.record)
			p, found := a.Profile(ada)
			if found != (tc.now != "") || p.Consent["email.marketing"] != tc.now {
				t.Errorf("held %v %+v", found, p)
			}
		})
	}
}

// An opt-out is never about a list: Klaviyo would take that for its members only.
func TestOptOutIsGlobal(t *testing.T) {
	a := newAccount(t)
	a.Put(sim.Profile{Email: ada, Consent: map[string]string{"email.marketing": "SUBSCRIBED"}, Lists: []string{sim.ListID}})
	want(t, a.target(t, fields{"list_id": sim.ListID}), sdk.KindDelivered, "", mail(false))
	if p := a.held(t, ada); p.Consent["email.marketing"] != "UNSUBSCRIBED" {
		t.Errorf("held %+v", p)
	}
}

func TestChannels(t *testing.T) {
	const phone = "+441632960961"
	a := newAccount(t)
	target := a.target(t, fields{"list_id": sim.ListID})
	all := func(yes bool) fields {
		subscriptions := fields{}
		for name := range channels {
			subscriptions[name] = yes
		}
		return fields{"email": ada, "phone_number": phone, "subscriptions": subscriptions}
	}
	want(t, target, sdk.KindDelivered, "", all(true))
	p := a.held(t, ada)
	if len(p.Consent) != len(channels) || p.PhoneNumber != phone || !slices.Equal(p.Lists, []string{sim.ListID}) {
		t.Errorf("held %+v", p)
	}
	want(t, target, sdk.KindUnchanged, "", all(true))
	want(t, target, sdk.KindDelivered, "", fields{"phone_number": phone, "subscriptions": fields{"sms_marketing": false}})
	p = a.held(t, phone)
	if p.Consent["sms.marketing"] != "UNSUBSCRIBED" || p.Consent["sms.transactional"] != "SUBSCRIBED" || p.Consent["email.marketing"] != "SUBSCRIBED" {
		t.Errorf("one channel's withdrawal made %v", p.Consent)
	}
	a.calls()
	want(t, target, sdk.KindDelivered, "", all(false))
	for _, c := range a.calls() {
		if strings.Contains(c.Body, sim.ListID) {
			t.Errorf("an opt-out names the list: %s", c.Body)
		}
	}
	for name, consent := range a.held(t, ada).Consent {
		if consent != "UNSUBSCRIBED" {
			t.Errorf("%s is %s", name, consent)
		}
	}

	a.Put(sim.Profile{Email: bob})
	want(t, target, sdk.KindRejected, "NO_PHONE_NUMBER", fields{"email": bob, "subscriptions": fields{"sms_marketing": true}})
	want(t, target, sdk.KindUnchanged, "", fields{"email": bob, "subscriptions": fields{"sms_marketing": false}})
	want(t, target, sdk.KindUnauthorized, "UNKNOWN_CHANNEL", fields{"email": bob, "subscriptions": fields{"email": true}})
}

func TestSuppression(t *testing.T) {
	for _, tc := range []struct {
		policy string
		held   []string
		record fields
		kind   sdk.Kind
		code   string
		now    []string
	}{
		{"never", nil, fields{"suppressed": true}, sdk.KindDelivered, "", []string{"USER_SUPPRESSED"}},
		{"never", []string{"USER_SUPPRESSED"}, fields{"suppressed": true}, sdk.KindUnchanged, "", []string{"USER_SUPPRESSED"}},
		{"never", nil, fields{"suppressed": false}, sdk.KindUnchanged, "", nil},
		{"never", []string{"USER_SUPPRESSED"}, fields{"suppressed": false}, sdk.KindRejected, "OPTED_OUT", []string{"USER_SUPPRESSED"}},
		{"force", []string{"USER_SUPPRESSED"}, fields{"suppressed": false}, sdk.KindDelivered, "", nil},
		{"force", []string{"USER_SUPPRESSED"}, fields{"suppressed": nil}, sdk.KindDelivered, "", nil},
		{"force", []string{"HARD_BOUNCE"}, fields{"suppressed": false}, sdk.KindUnchanged, "", []string{"HARD_BOUNCE"}},
		{"force", nil, fields{"suppressed": true, "subscriptions": fields{"email_marketing": true}}, sdk.KindRejected, "CONTRADICTION", []string{"USER_SUPPRESSED"}},
	} {
		a := newAccount(t)
		a.Put(sim.Profile{Email: ada, Suppressions: tc.held})
		tc.record["email"] = ada
		want(t, a.target(t, fields{"resubscribe": tc.policy}), tc.kind, tc.code, tc.record)
		if p := a.held(t, ada); !slices.Equal(p.Suppressions, tc.now) {
			t.Errorf("%v of %v: suppressions are %v, want %v", tc.record, tc.held, p.Suppressions, tc.now)
		}
	}
}

func TestNullAbsentFalse(t *testing.T) {
	before := sim.Profile{
		Email:      ada,
		Attributes: fields{"first_name": "Ada", "location": fields{"city": "London", "zip": "SW1Y"}},
		Properties: fields{"vip": true, "children": 3},
		Consent:    map[string]string{"email.marketing": "SUBSCRIBED", "email.open_tracking": "SUBSCRIBED"},
	}
	for _, tc := range []struct {
		name   string
		record fields
		expect func(p *sim.Profile)
	}{
		{"absent", fields{}, func(*sim.Profile) {}},
		{"empty", fields{"properties": fields{}, "location": fields{}, "subscriptions": fields{}}, func(*sim.Profile) {}},
		{"text null", fields{"first_name": nil}, func(p *sim.Profile) { delete(p.Attributes, "first_name") }},
		{"text empty", fields{"first_name": ""}, func(p *sim.Profile) { p.Attributes["first_name"] = "" }},
		{"same", fields{"first_name": "Ada", "location": fields{"city": "London"}, "properties": fields{"children": 3}}, func(*sim.Profile) {}},
		{"property null", fields{"properties": fields{"vip": nil, "unheard": nil}}, func(p *sim.Profile) { delete(p.Properties, "vip") }},
		{"property false", fields{"properties": fields{"vip": false}}, func(p *sim.Profile) { p.Properties["vip"] = false }},
		{"properties null", fields{"properties": nil}, func(p *sim.Profile) { p.Properties = fields{} }},
		{"part of the place null", fields{"location": fields{"city": nil}}, func(p *sim.Profile) {
			p.Attributes["location"] = fields{"city": nil, "zip": "SW1Y"}
		}},
		{"place null", fields{"location": nil}, func(p *sim.Profile) { p.Attributes["location"] = fields{"city": nil, "zip": nil} }},
		{"channel false", fields{"subscriptions": fields{"email_open_tracking": false}}, func(p *sim.Profile) { p.Consent["email.open_tracking"] = "UNSUBSCRIBED" }},
		{"channel null", fields{"subscriptions": fields{"email_open_tracking": nil}}, func(p *sim.Profile) { p.Consent["email.open_tracking"] = "UNSUBSCRIBED" }},
		{"channels null", fields{"subscriptions": nil}, func(p *sim.Profile) {
			p.Consent = map[string]string{"email.marketing": "UNSUBSCRIBED", "email.open_tracking": "UNSUBSCRIBED"}
			p.Suppressions = []string{"UNSUBSCRIBE"}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			a.Put(before)
			expected := a.held(t, ada)
			tc.expect(&expected)
			kind := sdk.KindDelivered
			if reflect.DeepEqual(a.held(t, ada), expected) {
				kind = sdk.KindUnchanged
			}
			tc.record["email"] = ada
			target := a.target(t, nil)
			want(t, target, kind, "", tc.record)
			if got := a.held(t, ada); string(plugintest.Encode(t, got)) != string(plugintest.Encode(t, expected)) {
				t.Errorf("held\n%+v, want\n%+v", got, expected)
			}
			a.calls()
			want(t, target, sdk.KindUnchanged, "", tc.record)
			if writes := a.calls(); len(writes) > 0 {
				t.Errorf("the second time sent %v", writes)
			}
		})
	}
}

// What a record takes away gets through, whatever Klaviyo says to the rest of it.
func TestTakingAwayIsNotHeldBack(t *testing.T) {
	held := sim.Profile{Email: ada, PhoneNumber: "+441632960961", Consent: map[string]string{"email.marketing": "SUBSCRIBED", "sms.marketing": "UNSUBSCRIBED"}}
	for _, tc := range []struct {
		name string
		more fields
		code string
	}{
		{"a grant against an opt-out", fields{"subscriptions": fields{"email_marketing": false, "sms_marketing": true}}, "OPTED_OUT"},
		{"a number of another profile", fields{"phone_number": "+441632960962"}, "DUPLICATE_PROFILE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			a.Put(held)
			a.Put(sim.Profile{PhoneNumber: "+441632960962"})
			record := mail(false)
			maps.Copy(record, tc.more)
			want(t, a.target(t, nil), sdk.KindRejected, tc.code, record)
			if p := a.held(t, ada); p.Consent["email.marketing"] != "UNSUBSCRIBED" {
				t.Errorf("held %+v", p)
			}
		})
	}
}

// The address is known in lower case, and a rule writes it otherwise.
func TestCaseOfTheAddress(t *testing.T) {
	a := newAccount(t)
	a.Put(sim.Profile{Email: ada, Consent: map[string]string{"email.marketing": "SUBSCRIBED"}})
	record := mail(false)
	record["email"] = "Ada.Lovelace@Example.org"
	want(t, a.target(t, nil), sdk.KindDelivered, "", record)
}
