package mailchimp_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/internal/vendorspec"
	"github.com/consentd/consentd/plugins/mailchimp/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// undescribed are answers of which the vendor's description says nothing: they come from what stands
// before the API.
var undescribed = vendorspec.Exception{
	Error:  `Content-Type has unexpected value: "text/html"`,
	Reason: "guards and proxies before the API answer in HTML",
}

// One row for each answer that means something of its own. Each meets a grant of a new member and is
// given to the first request of the method.
func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault sim.Fault
		kind  sdk.Kind
		code  string
		after time.Duration
		text  string // part of the message
	}{
		{name: "compliance state", fault: put(sim.ComplianceState(ada)), kind: sdk.KindRejected, code: "COMPLIANCE_STATE"},
		{name: "forgotten", fault: put(sim.Forgotten(ada)), kind: sdk.KindRejected, code: "FORGOTTEN_EMAIL"},
		{name: "fake address", fault: put(sim.FakeEmail(ada)), kind: sdk.KindRejected, code: "INVALID_EMAIL"},
		{name: "many sign-ups", fault: put(sim.ManySignups(ada)), kind: sdk.KindRetry, code: "TOO_MANY_SIGNUPS", after: 6 * time.Hour},
		{name: "member exists", fault: put(sim.MemberExists(ada)), kind: sdk.KindRejected, code: "MEMBER_EXISTS"},
		{name: "unknown interest", fault: put(sim.InvalidInterest("9143cf3bd1")), kind: sdk.KindRejected, code: "INVALID_INTEREST"},
		{
			name:  "merge fields",
			fault: put(sim.InvalidMergeFields(sim.FieldError{Field: "BIRTHDAY", Message: "not 1815"}, sim.FieldError{Field: ada, Message: "no tag"})),
			kind:  sdk.KindRejected, code: "INVALID_MERGE_FIELDS", text: "merge fields: BIRTHDAY (instance ",
		},
		{
			name:  "schema",
			fault: put(sim.InvalidResource(sim.FieldError{Field: "interests", Message: "Schema describes object, array found instead"})),
			kind:  sdk.KindRejected, code: "INVALID_RESOURCE", text: "the record: interests",
		},
		{name: "not allowed", fault: put(sim.MethodNotAllowed()), kind: sdk.KindRejected, code: "METHOD_NOT_ALLOWED"},
		{name: "gone between", fault: put(sim.NotFound()), kind: sdk.KindRetry, code: "NOT_FOUND"},

		{name: "key", fault: get(sim.APIKeyInvalid()), kind: sdk.KindUnauthorized, code: "API_KEY_INVALID"},
		{name: "data centre", fault: get(sim.WrongDatacenter()), kind: sdk.KindUnauthorized, code: "WRONG_DATACENTER"},
		{name: "forbidden", fault: get(sim.Forbidden()), kind: sdk.KindUnauthorized, code: "FORBIDDEN"},
		{name: "disabled", fault: put(sim.UserDisabled()), kind: sdk.KindUnauthorized, code: "USER_DISABLED"},
		{name: "redirect", fault: sim.Fault{Times: 1, Status: 302, Header: http.Header{"Location": {"https://example.org"}}}, kind: sdk.KindUnauthorized, code: "REDIRECTED"},

		{name: "429", fault: get(sim.TooManyRequests()), kind: sdk.KindThrottled, code: "TOO_MANY_REQUESTS"},
		{name: "429 with a wait", fault: sim.Fault{Times: 1, Method: "PUT", Problem: sim.TooManyRequests(), Header: http.Header{"Retry-After": {"7"}}}, kind: sdk.KindThrottled, code: "TOO_MANY_REQUESTS", after: 7 * time.Second},
		{name: "403 in HTML", fault: sim.Fault{Times: 1, Status: 403, Body: "<h1>Access denied</h1>"}, kind: sdk.KindThrottled, code: "FORBIDDEN_WITHOUT_REASON"},
		{name: "403 without a body", fault: sim.Fault{Times: 1, Method: "PUT", Status: 403}, kind: sdk.KindThrottled, code: "FORBIDDEN_WITHOUT_REASON"},

		{name: "500", fault: put(sim.InternalServerError()), kind: sdk.KindRetry, code: "HTTP_500"},
		{name: "502 in HTML", fault: sim.Fault{Times: 1, Status: 502, Body: "<h1>Bad gateway</h1>"}, kind: sdk.KindRetry, code: "HTTP_502"},
		{name: "200 in HTML", fault: sim.Fault{Times: 1, Status: 200, Body: "<h1>Welcome</h1>"}, kind: sdk.KindRetry, code: "UNEXPECTED_ANSWER"},
		{name: "connection cut", fault: sim.Fault{Times: 1, Method: "PUT", Drop: true}, kind: sdk.KindRetry, code: "NETWORK"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t, undescribed)
			a.Inject(tc.fault)
			target := a.target(t, nil)
			o := want(t, target, tc.kind, tc.code, grant)
			if o.RetryAfter != tc.after {
				t.Errorf("wait %v, want %v", o.RetryAfter, tc.after)
			}
			if !strings.Contains(o.Message, tc.text) || strings.Contains(o.Message, "1815") {
				t.Errorf("message %q, want a part %q and no values", o.Message, tc.text)
			}
			if tc.kind == sdk.KindRejected {
				return
			}
			// What passes leaves nothing behind.
			if again := deliver(t, target, grant); !again.Kind.Done() {
				t.Errorf("afterwards %+v", again)
			}
			a.wantStatus(t, ada, "subscribed")
		})
	}
}

func put(p *sim.Problem) sim.Fault { return sim.Fault{Times: 1, Method: "PUT", Problem: p} }
func get(p *sim.Problem) sim.Fault { return sim.Fault{Times: 1, Method: "GET", Problem: p} }

// Tags are a request of their own, and a success of the first is not one of both.
func TestTagErrors(t *testing.T) {
	tagged := fields{"email": ada, "status": "subscribed", "tags": fields{"vip": true}}
	for _, tc := range []struct {
		problem *sim.Problem
		kind    sdk.Kind
		code    string
	}{
		{sim.NotFound(), sdk.KindRetry, "NOT_FOUND"},
		{sim.InternalServerError(), sdk.KindRetry, "HTTP_500"},
		{sim.APIKeyInvalid(), sdk.KindUnauthorized, "API_KEY_INVALID"},
		{sim.InvalidResource(sim.FieldError{Field: "tags"}), sdk.KindRejected, "INVALID_RESOURCE"},
	} {
		a := newAccount(t)
		a.Inject(sim.Fault{Times: 1, Path: "/tags", Problem: tc.problem})
		target := a.target(t, nil)
		want(t, target, tc.kind, tc.code, tagged)
		want(t, target, sdk.KindDelivered, "", tagged)
		if m := a.wantStatus(t, ada, "subscribed"); len(m.Tags) != 1 {
			t.Errorf("held tags %v", m.Tags)
		}
	}
}

// Archived, pending and bounced members may be past leaving.
func TestNotAllowedToLeave(t *testing.T) {
	for held, tc := range map[string]struct {
		kind sdk.Kind
		code string
	}{
		"archived":   {sdk.KindUnchanged, ""},
		"pending":    {sdk.KindUnchanged, ""},
		"subscribed": {sdk.KindRejected, "METHOD_NOT_ALLOWED"},
	} {
		t.Run(held, func(t *testing.T) {
			a := newAccount(t)
			a.Put(sim.Member{Email: ada, Status: held})
			a.Inject(put(sim.MethodNotAllowed()))
			want(t, a.target(t, nil), tc.kind, tc.code, withdraw)
		})
	}
}

// An audience that is not there answers as an unknown member does.
func TestWrongAudience(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, fields{"list_id": "0000000000"})
	for _, content := range []fields{grant, withdraw, {"email": ada, "interests": fields{"jazz": true}}} {
		want(t, target, sdk.KindUnauthorized, "LIST_NOT_FOUND", content)
	}
	if o := target.(sdk.Checker).Check(t.Context()); o.Kind != sdk.KindUnauthorized || o.Code != "LIST_NOT_FOUND" {
		t.Errorf("check: %+v", o)
	}
	if r := target.(sdk.Reader).Read(t.Context(), []sdk.Record{plugintest.Record(t, grant)}); r[0].Outcome.Code != "LIST_NOT_FOUND" {
		t.Errorf("read: %+v", r[0])
	}
	if o := target.(sdk.Eraser).Erase(t.Context(), []sdk.Record{plugintest.Record(t, grant)}); o[0].Code != "LIST_NOT_FOUND" {
		t.Errorf("erase: %+v", o[0])
	}
}

// A write that was made and whose answer was lost is found done.
func TestLostAnswer(t *testing.T) {
	a := newAccount(t)
	a.Inject(sim.Fault{Times: 1, Method: "PUT", Drop: true})
	target := a.target(t, nil)
	want(t, target, sdk.KindRetry, "NETWORK", grant)
	want(t, target, sdk.KindUnchanged, "", grant)
	a.wantStatus(t, ada, "subscribed")
}
