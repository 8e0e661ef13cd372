package hubspot_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/hubspot/sim"
	"github.com/consentd/consentd/sdk"
)

func contextWithin(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 5*time.Second)
}

func policy(p *sim.Problem, name string) *sim.Problem {
	p.Policy = name
	return p
}

func detailed(p *sim.Problem, details ...sim.Detail) *sim.Problem {
	p.Errors = details
	return p
}

// One row for each answer that means something of its own. Each meets a grant of somebody unknown.
func TestErrors(t *testing.T) {
	const upsert, statuses = "batch/upsert", "v4/statuses/"
	invalid := func(code, name string) *sim.Problem { return sim.InvalidProperty(code, name, ada+" secretvalue") }
	for _, tc := range []struct {
		name  string
		fault sim.Fault
		kind  sdk.Kind
		code  string
		after time.Duration
		text  string // part of the message
	}{
		{name: "unknown property", fault: sim.Fault{Path: upsert, Problem: invalid("PROPERTY_DOESNT_EXIST", "frstname")}, kind: sdk.KindUnauthorized, code: "PROPERTY_DOESNT_EXIST", text: ": frstname"},
		{name: "read-only property", fault: sim.Fault{Path: upsert, Problem: invalid("READ_ONLY_VALUE", "hs_email_optout")}, kind: sdk.KindUnauthorized, code: "READ_ONLY_VALUE"},
		{name: "unknown property, as a list", fault: sim.Fault{Path: upsert, Problem: detailed(sim.Refuse(400, "VALIDATION_ERROR", "%s", ada), sim.Detail{Message: ada, Code: "PROPERTY_DOESNT_EXIST", Context: map[string][]string{"propertyName": {"frstname", ada}}})}, kind: sdk.KindUnauthorized, code: "PROPERTY_DOESNT_EXIST", text: ": frstname"},
		{name: "option", fault: sim.Fault{Path: upsert, Problem: invalid("INVALID_OPTION", "topics")}, kind: sdk.KindRejected, code: "INVALID_OPTION", text: ": topics"},
		{name: "address", fault: sim.Fault{Path: upsert, Problem: invalid("INVALID_EMAIL", "email")}, kind: sdk.KindRejected, code: "INVALID_EMAIL"},
		{name: "of another kind", fault: sim.Fault{Path: upsert, Problem: sim.Refuse(400, "VALIDATION_ERROR", "%s", ada)}, kind: sdk.KindRejected, code: "VALIDATION_ERROR"},
		{name: "unknown subscription", fault: sim.Fault{Method: "POST", Path: statuses, Problem: sim.Refuse(400, "VALIDATION_ERROR", "subscription 39644612 does not exist")}, kind: sdk.KindUnauthorized, code: "SUBSCRIPTION_DOESNT_EXIST"},
		{name: "no legal basis", fault: sim.Fault{Method: "POST", Path: statuses, Problem: sim.Refuse(400, "VALIDATION_ERROR", "legalBasis is required")}, kind: sdk.KindUnauthorized, code: "LEGAL_BASIS_REQUIRED"},
		{name: "conflict", fault: sim.Fault{Path: upsert, Problem: sim.Refuse(409, "CONFLICT", "Contact already exists. Existing ID: 7")}, kind: sdk.KindRetry, code: "HTTP_409"},
		{name: "locked", fault: sim.Fault{Path: upsert, Problem: sim.Refuse(423, "LOCKED", "locked")}, kind: sdk.KindRetry, code: "HTTP_423"},
		{name: "gone", fault: sim.Fault{Path: upsert, Problem: sim.Refuse(404, "OBJECT_NOT_FOUND", "%s", ada)}, kind: sdk.KindRetry, code: "OBJECT_NOT_FOUND"},

		{name: "token", fault: sim.Fault{Problem: sim.Refuse(401, "INVALID_AUTHENTICATION", "no")}, kind: sdk.KindUnauthorized, code: "INVALID_AUTHENTICATION"},
		{name: "token expired", fault: sim.Fault{Problem: sim.Refuse(401, "EXPIRED_AUTHENTICATION", "no")}, kind: sdk.KindUnauthorized, code: "EXPIRED_AUTHENTICATION"},
		{name: "scopes", fault: sim.Fault{Path: statuses, Problem: detailed(sim.Refuse(403, "MISSING_SCOPES", "no"), sim.Detail{Context: map[string][]string{"requiredGranularScopes": {"communication_preferences.write"}}})}, kind: sdk.KindUnauthorized, code: "MISSING_SCOPES", text: ": communication_preferences.write"},
		{name: "unknown address", fault: sim.Fault{Status: 404}, kind: sdk.KindUnauthorized, code: "HTTP_404", text: "base_url"},
		{name: "somebody else's 400", fault: sim.Fault{Status: 400, Body: "<h1>no</h1>"}, kind: sdk.KindUnauthorized, code: "HTTP_400", text: "base_url"},
		{name: "redirect", fault: sim.Fault{Status: 302, Header: http.Header{"Location": {"https://example.org"}}}, kind: sdk.KindUnauthorized, code: "HTTP_302"},

		{name: "secondly", fault: sim.Fault{Path: upsert, Problem: sim.Refuse(429, "RATE_LIMITS", "You have reached your secondly limit.")}, kind: sdk.KindThrottled, code: "RATE_LIMITS"},
		{name: "secondly, with the interval", fault: sim.Fault{Path: upsert, Problem: sim.Refuse(429, "RATE_LIMITS", "no"), Header: http.Header{"X-Hubspot-Ratelimit-Interval-Milliseconds": {"10000"}}}, kind: sdk.KindThrottled, code: "RATE_LIMITS", after: 10 * time.Second},
		{name: "with a wait", fault: sim.Fault{Status: 429, Header: http.Header{"Retry-After": {"7"}}}, kind: sdk.KindThrottled, code: "RATE_LIMITS", after: 7 * time.Second},
		{name: "daily", fault: sim.Fault{Path: upsert, Problem: policy(sim.Refuse(429, "RATE_LIMITS", "no"), "DAILY")}, kind: sdk.KindThrottled, code: "DAILY_LIMIT", after: 15 * time.Minute},
		{name: "migration", fault: sim.Fault{Status: 477, Header: http.Header{"Retry-After": {"60"}}}, kind: sdk.KindThrottled, code: "MIGRATION", after: time.Minute},

		{name: "500", fault: sim.Fault{Path: statuses, Status: 500}, kind: sdk.KindRetry, code: "HTTP_500"},
		{name: "502 in HTML", fault: sim.Fault{Status: 502, Body: "<h1>Bad gateway</h1>"}, kind: sdk.KindRetry, code: "HTTP_502"},
		{name: "200 in HTML", fault: sim.Fault{Path: upsert, Status: 200, Body: "<h1>Welcome</h1>"}, kind: sdk.KindRetry, code: "UNREADABLE_ANSWER"},
		{name: "cut", fault: sim.Fault{Path: upsert, Drop: true}, kind: sdk.KindRetry, code: "NETWORK"},
		{name: "cut after a subscription", fault: sim.Fault{Method: "POST", Path: statuses, Drop: true}, kind: sdk.KindRetry, code: "NETWORK"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			tc.fault.Times = 1
			a.Inject(tc.fault)
			target := a.target(t, nil)
			grant := subscription(ada, true)
			o := want(t, target, tc.kind, tc.code, grant)
			if o.RetryAfter != tc.after {
				t.Errorf("wait %v, want %v", o.RetryAfter, tc.after)
			}
			if !strings.Contains(o.Message, tc.text) || strings.Contains(o.Message, "secretvalue") {
				t.Errorf("message %q, want a part %q and no values", o.Message, tc.text)
			}
			// What passes leaves nothing behind.
			if again := deliverAll(t, target, grant)[0]; !again.Kind.Done() {
				t.Errorf("afterwards %+v", again)
			}
			a.wantState(t, ada, "SUBSCRIBED")
		})
	}
}

// The errors of single inputs in a 207 have no status.
func TestRowErrors(t *testing.T) {
	for code, tc := range map[string]struct {
		problem *sim.Problem
		kind    sdk.Kind
	}{
		"CONFLICT":              {sim.Refuse(0, "CONFLICT", "x"), sdk.KindRetry},
		"INTERNAL_ERROR":        {sim.Refuse(0, "INTERNAL_ERROR", "x"), sdk.KindRetry},
		"NO_CATEGORY":           {sim.Refuse(0, "", "x"), sdk.KindRetry},
		"UNKNOWN_CATEGORY":      {sim.Refuse(0, "a sentence about "+ada, "x"), sdk.KindRetry},
		"RATE_LIMITS":           {sim.Refuse(0, "RATE_LIMITS", "x"), sdk.KindThrottled},
		"PROPERTY_DOESNT_EXIST": {sim.InvalidProperty("PROPERTY_DOESNT_EXIST", "x", "x"), sdk.KindUnauthorized},
		"INVALID_BOOLEAN":       {sim.InvalidProperty("INVALID_BOOLEAN", "x", "x"), sdk.KindRejected},
	} {
		a := newAccount(t)
		a.RefuseRow(ada, tc.problem)
		outcomes := deliverAll(t, a.target(t, nil), subscription(ada, true), subscription("bob@example.org", true))
		if outcomes[0].Kind != tc.kind || outcomes[0].Code != code {
			t.Errorf("%s: %+v", code, outcomes[0])
		}
		if outcomes[1].Kind != sdk.KindDelivered {
			t.Errorf("%s: the other is %+v", code, outcomes[1])
		}
	}
}

// Whoever is not among the results because of a failure is not taken for unknown.
func TestReadFailsInPart(t *testing.T) {
	a := newAccount(t)
	a.Put(ada, nil)
	a.Inject(sim.Fault{Times: 1, Path: "contacts/batch/read", Status: 207, Body: `{"status":"COMPLETE","results":[],"numErrors":1,"errors":[{"status":"error","category":"INTERNAL_ERROR","message":"x"}]}`})
	want(t, a.target(t, nil), sdk.KindRetry, "INTERNAL_ERROR", subscription(ada, false))
}

func TestInvalidRecords(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	for code, content := range map[string]fields{
		"INVALID_EMAIL":        {"email": "a b@example.org"},
		"EMAIL_IN_PROPERTIES":  {"email": ada, "properties": fields{"Email": "x"}},
		"INVALID_PROPERTY":     {"email": ada, "properties": fields{"x": fields{"y": 1}}},
		"INVALID_SUBSCRIPTION": {"email": ada, "subscriptions": fields{"newsletter": true}},
		"INVALID_RECORD":       {"email": 7},
	} {
		want(t, target, sdk.KindRejected, code, content)
	}
	if a.count("") != 0 {
		t.Error("HubSpot was asked")
	}
}
