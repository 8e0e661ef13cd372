package brevo_test

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/brevo/sim"
	"github.com/consentd/consentd/plugins/internal/vendorspec"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// undescribed are answers of which the vendor's description says nothing.
var undescribed = []vendorspec.Exception{
	{Error: `Content-Type has unexpected value: "text/html"`, Reason: "guards and proxies before the API answer in HTML"},
	{Error: "value is not one of the allowed values", Reason: "the codes that the description gives are not all there are"},
	{Error: "not described", Reason: "the test sends the plugin to a wrong address"},
}

// One row for each answer that means something of its own. Each meets a grant of somebody unknown.
func TestErrors(t *testing.T) {
	post := func(p *sim.Problem) sim.Fault { return sim.Fault{Method: "POST", Problem: p} }
	get := func(p *sim.Problem) sim.Fault { return sim.Fault{Method: "GET", Problem: p} }
	for _, tc := range []struct {
		name  string
		fault sim.Fault
		kind  sdk.Kind
		code  string
		after time.Duration
		text  string // part of the message
	}{
		{name: "address", fault: post(sim.Refuse(400, "invalid_parameter", "Invalid email address %s", ada)), kind: sdk.KindRejected, code: "INVALID_EMAIL"},
		{name: "telephone number", fault: post(sim.Refuse(400, "invalid_parameter", "Invalid phone number")), kind: sdk.KindRejected, code: "INVALID_PHONE"},
		{name: "list", fault: post(sim.Refuse(400, "invalid_parameter", "List ID does not exist")), kind: sdk.KindUnauthorized, code: "LIST_NOT_FOUND"},
		{name: "made in between", fault: post(sim.Taken("email")), kind: sdk.KindRetry, code: "CONTACT_EXISTS"},
		{name: "made in between, in old words", fault: post(sim.Refuse(400, "invalid_parameter", "Contact already exist")), kind: sdk.KindRetry, code: "CONTACT_EXISTS"},
		{name: "number of another", fault: post(sim.Taken("SMS")), kind: sdk.KindRejected, code: "DUPLICATE_IDENTIFIER"},
		{name: "of another kind", fault: post(sim.Refuse(400, "out_of_range", "%s", ada)), kind: sdk.KindRejected, code: "out_of_range"},
		{name: "may not, with 400", fault: post(sim.Refuse(400, "permission_denied", "no")), kind: sdk.KindUnauthorized, code: "permission_denied"},
		{name: "no sentence for a code", fault: post(&sim.Problem{Status: 400, Code: "about " + ada, Message: "x"}), kind: sdk.KindUnauthorized, code: "HTTP_400"},

		{name: "key", fault: get(sim.Refuse(401, "unauthorized", "Key not found")), kind: sdk.KindUnauthorized, code: "unauthorized", text: "API key"},
		{name: "machine", fault: get(sim.Refuse(401, "unauthorized", "We have detected you are using an unrecognised IP address 192.0.2.1")), kind: sdk.KindUnauthorized, code: "unauthorized", text: "authorized IPs"},
		{name: "credits", fault: post(sim.Refuse(402, "not_enough_credits", "no")), kind: sdk.KindUnauthorized, code: "not_enough_credits"},
		{name: "forbidden", fault: post(sim.Refuse(403, "permission_denied", "no")), kind: sdk.KindUnauthorized, code: "permission_denied"},
		{name: "unknown address", fault: sim.Fault{Status: 404}, kind: sdk.KindUnauthorized, code: "HTTP_404", text: "base_url"},
		{name: "unknown address, in JSON", fault: get(sim.Refuse(404, "method_not_allowed", "no")), kind: sdk.KindUnauthorized, code: "method_not_allowed"},
		{name: "redirect", fault: sim.Fault{Status: 302, Header: http.Header{"Location": {"https://example.org"}}}, kind: sdk.KindUnauthorized, code: "HTTP_302"},

		{name: "429", fault: sim.Fault{Method: "POST", Problem: sim.Refuse(429, "too_many_requests", "no"), Header: http.Header{"X-Sib-Ratelimit-Reset": {"7"}}}, kind: sdk.KindThrottled, code: "TOO_MANY_REQUESTS", after: 7 * time.Second},
		{name: "500", fault: sim.Fault{Method: "POST", Status: 500}, kind: sdk.KindRetry, code: "HTTP_500"},
		{name: "502 in HTML", fault: sim.Fault{Status: 502, Body: "<h1>Bad gateway</h1>"}, kind: sdk.KindRetry, code: "HTTP_502"},
		{name: "200 in HTML", fault: sim.Fault{Status: 200, Body: "<h1>Welcome</h1>"}, kind: sdk.KindRetry, code: "UNEXPECTED_ANSWER"},
		{name: "cut", fault: sim.Fault{Method: "POST", Drop: true}, kind: sdk.KindRetry, code: "NETWORK"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t, undescribed...)
			tc.fault.Times = 1
			a.Inject(tc.fault)
			target := a.target(t, nil)
			grant := fields{"email": ada, "email_blacklisted": false}
			o := want(t, target, tc.kind, tc.code, grant)
			if o.RetryAfter != tc.after {
				t.Errorf("wait %v, want %v", o.RetryAfter, tc.after)
			}
			if !strings.Contains(o.Message, tc.text) {
				t.Errorf("message %q, want a part %q", o.Message, tc.text)
			}
			// What passes leaves nothing behind.
			if again := target.Deliver(t.Context(), []sdk.Record{plugintest.Record(t, grant)})[0]; !again.Kind.Done() {
				t.Errorf("afterwards %+v", again)
			}
			if _, known := a.Contact(ada); !known {
				t.Error("not delivered in the end")
			}
		})
	}
}

// A contact may go between the look and the write.
func TestGone(t *testing.T) {
	a := newAccount(t)
	a.Put(sim.Contact{Email: ada})
	a.Inject(sim.Fault{Times: 1, Method: "PUT", Problem: sim.Refuse(404, "document_not_found", "Contact does not exist")})
	want(t, a.target(t, nil), sdk.KindRetry, "document_not_found", fields{"email": ada, "email_blacklisted": true})
}

func TestInvalidRecords(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	for code, content := range map[string]fields{
		"INVALID_EMAIL":       {"email": "a b@example.org"},
		"EMAIL_IN_ATTRIBUTES": {"email": ada, "attributes": fields{"Email": "x"}},
		"INVALID_ATTRIBUTE":   {"email": ada, "attributes": fields{"X": fields{"y": 1}}},
		"INVALID_LIST":        {"email": ada, "lists": fields{"newsletter": true}},
		"INVALID_RECORD":      {"email": 7},
	} {
		want(t, target, sdk.KindRejected, code, content)
	}
	if a.count("") != 0 {
		t.Error("Brevo was asked")
	}
}

func TestConfig(t *testing.T) {
	for path, config := range map[string]fields{
		"api_key":     {"api_key": "a\n"},
		"base_url":    {"api_key": "x", "base_url": "http://api.brevo.com/v3"},
		"resubscribe": {"api_key": "x", "resubscribe": "confirm"},
	} {
		_, err := newTarget(t, config)
		var mistake *sdk.ConfigError
		if !errors.As(err, &mistake) || strings.Join(mistake.Path, ".") != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestVerbs(t *testing.T) {
	a := newAccount(t, undescribed...)
	target := a.target(t, nil)
	if o := target.(sdk.Checker).Check(t.Context()); o.Kind != sdk.KindDelivered {
		t.Errorf("check is %+v", o)
	}
	if o := a.target(t, fields{"api_key": "other"}).(sdk.Checker).Check(t.Context()); o.Kind != sdk.KindUnauthorized {
		t.Errorf("check with a wrong key is %+v", o)
	}
	a.Put(sim.Contact{Email: ada, ExtID: "c-1", SMSBlacklist: true, Lists: []int64{7}, Left: []int64{8}, Attributes: fields{"CITY": "London"}})
	erase := func(email string) sdk.Outcome {
		return target.(sdk.Eraser).Erase(t.Context(), []sdk.Record{plugintest.Record(t, fields{"email": email})})[0]
	}
	read := func(email string) sdk.Reading {
		return target.(sdk.Reader).Read(t.Context(), []sdk.Record{plugintest.Record(t, fields{"email": email})})[0]
	}
	expected := fields{
		"email": ada, "ext_id": "c-1", "attributes": fields{"CITY": "London"}, "lists": fields{"7": true, "8": false},
		"email_blacklisted": false, "sms_blacklisted": true,
	}
	if r := read(ada); !r.Found || !reflect.DeepEqual(r.Fields, expected) {
		t.Errorf("read %+v, want %+v", r, expected)
	}
	if r := read("bob@example.org"); r.Found || r.Outcome.Kind != sdk.KindDelivered {
		t.Errorf("of somebody unknown %+v", r)
	}
	a.Inject(sim.Fault{Times: 1, Method: "DELETE", Problem: sim.Refuse(405, "method_not_allowed", "You're not allowed to delete registered email contact with Brevo")})
	if o := erase(ada); o.Kind != sdk.KindRejected {
		t.Errorf("erasing the account's own address is %+v", o)
	}
	for range 2 {
		if o := erase(ada); o.Kind != sdk.KindDelivered {
			t.Errorf("erase is %+v", o)
		}
	}
	if _, known := a.Contact(ada); known {
		t.Error("the contact is still there")
	}
	// The plugin asks somewhere else than Brevo is.
	if o := a.target(t, fields{"base_url": a.URL + "/v4"}).(sdk.Eraser).Erase(t.Context(), []sdk.Record{plugintest.Record(t, fields{"email": ada})})[0]; o.Kind != sdk.KindUnauthorized {
		t.Errorf("erase at a wrong address is %+v", o)
	}
}
