package braze_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/braze/sim"
	"github.com/consentd/consentd/plugins/internal/vendorspec"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// undescribed are answers of which the vendor's description says nothing.
var undescribed = []vendorspec.Exception{
	{Error: `Content-Type has unexpected value: "text/html"`, Reason: "what stands before the API answers in HTML"},
	{Error: "status is not supported", Reason: "202 in maintenance, 413 and 5xx are in the documentation's text alone"},
	{Error: `property "errors" is unsupported`, Reason: "recorded answers have it"},
}

var grant = fields{"external_id": "u1", "email_subscribe": "opted_in", "subscription_groups": fields{jazz: true}, "attributes": fields{"city": "Utrecht"}}

// One row for each answer to a whole call that means something of its own. Each meets the write, and then the
// look-up before it.
func TestErrors(t *testing.T) {
	soon := fmt.Sprint(time.Now().Add(20 * time.Second).Unix())
	for _, tc := range []struct {
		name  string
		fault sim.Fault
		kind  sdk.Kind
		code  string
		after time.Duration
	}{
		{name: "key", fault: sim.Fault{Status: 401, Message: "Invalid API key"}, kind: sdk.KindUnauthorized, code: "API_KEY_INVALID"},
		{name: "plan", fault: sim.Fault{Status: 403, Message: "Forbidden"}, kind: sdk.KindUnauthorized, code: "FORBIDDEN"},
		{name: "unknown key", fault: sim.Fault{Status: 404, Message: "Not Found"}, kind: sdk.KindUnauthorized, code: "NOT_FOUND"},
		{name: "redirect", fault: sim.Fault{Status: 302, Page: "elsewhere", Header: http.Header{"Location": {"https://example.org"}}}, kind: sdk.KindUnauthorized, code: "HTTP_302"},
		{name: "rate", fault: sim.Fault{Status: 429, Message: "Rate Limited", Header: http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {soon}}}, kind: sdk.KindThrottled, code: "RATE_LIMITED", after: 20 * time.Second},
		{name: "rate without a time", fault: sim.Fault{Status: 429, Message: "Rate Limited", Header: http.Header{"X-Ratelimit-Reset": {""}}}, kind: sdk.KindThrottled, code: "RATE_LIMITED"},
		{name: "refused", fault: sim.Fault{Status: 400, Message: "Bad Request"}, kind: sdk.KindRejected, code: "BAD_REQUEST"},
		{name: "400 in HTML", fault: sim.Fault{Status: 400, Page: "<h1>Bad request</h1>"}, kind: sdk.KindRetry, code: "HTTP_400"},
		{name: "too large", fault: sim.Fault{Status: 413, Page: "<h1>Too large</h1>"}, kind: sdk.KindRejected, code: "HTTP_413"},
		{name: "500", fault: sim.Fault{Status: 500, Message: "Internal Server Error"}, kind: sdk.KindRetry, code: "HTTP_500"},
		{name: "502 in HTML", fault: sim.Fault{Status: 502, Page: "<h1>Bad gateway</h1>"}, kind: sdk.KindRetry, code: "HTTP_502"},
		{name: "no success", fault: sim.Fault{Status: 201, Message: "something else"}, kind: sdk.KindRetry, code: "NOT_SUCCESS"},
		{name: "200 in HTML", fault: sim.Fault{Status: 200, Page: "<h1>Sign in</h1>"}, kind: sdk.KindRetry, code: "UNEXPECTED_ANSWER"},
		{name: "cut", fault: sim.Fault{}, kind: sdk.KindRetry, code: "NETWORK"},
		{name: "cut after", fault: sim.Fault{After: true}, kind: sdk.KindRetry, code: "NETWORK"},
	} {
		for _, path := range []string{track, export, status} {
			t.Run(tc.name+path, func(t *testing.T) {
				w := newWorkspace(t, undescribed...)
				if path == status {
					w.Put(sim.User{ExternalID: "u1"})
				}
				target := w.target(t, nil)
				tc.fault.Times, tc.fault.Path = 1, path
				w.Inject(tc.fault)
				o := want(t, target, tc.kind, tc.code, grant)
				if d := (tc.after - o.RetryAfter).Abs(); d > 2*time.Second {
					t.Errorf("wait %v, want %v", o.RetryAfter, tc.after)
				}
				if tc.after > 0 {
					return // calls wait until then
				}
				// What passes leaves nothing behind.
				want(t, target, sdk.KindAccepted, "", grant)
				if u := w.user(t, "u1"); u.EmailSubscribe != "opted_in" || u.Groups[jazz] != "subscribed" {
					t.Errorf("held %+v", u)
				}
			})
		}
	}
}

// Errors of one object, as Braze documents them and as they are met.
func TestObjectErrors(t *testing.T) {
	for _, tc := range []struct {
		kind string
		want sdk.Kind
		code string
		text string
	}{
		{"BAD_SUBSCRIPTION_GROUP_ID", sdk.KindUnauthorized, "BAD_SUBSCRIPTION_GROUP_ID", ""},
		{"BAD_SUBSCRIPTION_GROUP_STATE", sdk.KindRejected, "BAD_SUBSCRIPTION_GROUP_STATE", ""},
		{"BAD_SUBSCRIPTION_GROUP_HASH", sdk.KindRejected, "BAD_SUBSCRIPTION_GROUP_HASH", ""},
		{"BAD_EMAIL_SUBSCRIPTION_STATE", sdk.KindRejected, "BAD_EMAIL_SUBSCRIPTION_STATE", ""},
		{"BAD_PUSH_SUBSCRIPTION_STATE", sdk.KindRejected, "BAD_PUSH_SUBSCRIPTION_STATE", ""},
		{"BAD_LOCATION_UPDATE", sdk.KindRejected, "BAD_LOCATION_UPDATE", ""},
		{"EMAIL_BAD_FORMAT", sdk.KindRejected, "EMAIL_BAD_FORMAT", ""},
		{"EXTERNAL_USER_ID_TOO_LARGE", sdk.KindRejected, "EXTERNAL_USER_ID_TOO_LARGE", ""},
		{"'external_id' must be fewer than 988 bytes", sdk.KindRejected, "EXTERNAL_USER_ID_TOO_LARGE", ""},
		{"BLACKLISTED_EXTERNAL_USER_ID", sdk.KindRejected, "BLACKLISTED_EXTERNAL_USER_ID", ""},
		{"provided external_id is blacklisted and disallowed", sdk.KindRejected, "BLACKLISTED_EXTERNAL_USER_ID", ""},
		{"'city' is not valid", sdk.KindRejected, "INVALID_OBJECT", ": city"},
		{"'Utrecht' is not valid", sdk.KindRejected, "INVALID_OBJECT", ""},
		{"Utrecht is a city", sdk.KindRejected, "INVALID_OBJECT", ""},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			w := newWorkspace(t, undescribed...)
			target := w.target(t, nil)
			w.FailObject("u1", 2, tc.kind)
			// Alone the call is refused; beside another it is a success with errors.
			o := want(t, target, tc.want, tc.code, grant)
			both := deliver(t, target, fields{"external_id": "u2", "email_subscribe": "opted_in"}, grant)
			if both[0].Kind != sdk.KindAccepted || both[1] != o {
				t.Errorf("beside another: %v, want the second as %v", both, o)
			}
			if strings.Contains(o.Message, "Utrecht") || !strings.HasSuffix(o.Message, tc.text) {
				t.Errorf("message %q", o.Message)
			}
			want(t, target, sdk.KindAccepted, "", grant)
		})
	}
}

// An unknown group is the rule's fault, and pauses the target.
func TestUnknownGroup(t *testing.T) {
	w := newWorkspace(t)
	w.DefineGroups(news)
	target := w.target(t, nil)
	for _, in := range []any{true, false, nil} {
		want(t, target, sdk.KindUnauthorized, "BAD_SUBSCRIPTION_GROUP_ID", fields{"external_id": "u1", "subscription_groups": fields{jazz: in}})
	}
	want(t, target, sdk.KindAccepted, "", fields{"external_id": "u1", "subscription_groups": fields{news: true}})
}

// In maintenance Braze answers 202 and works on it later.
func TestQueued(t *testing.T) {
	w := newWorkspace(t, undescribed...)
	w.Inject(sim.Fault{Times: 1, Path: track, Status: 202, Message: "queued"})
	want(t, w.target(t, nil), sdk.KindAccepted, "", grant)
}

// Accounts with another plan take 50 objects.
func TestSmallerCalls(t *testing.T) {
	w := newWorkspace(t)
	w.Inject(sim.Fault{Times: 1, Path: track, Status: 400, Message: "Max Input Length Exceeded"})
	for _, o := range deliver(t, w.target(t, fields{"resubscribe": "force"}), people(75)...) {
		if o.Kind != sdk.KindAccepted {
			t.Fatal(o)
		}
	}
	if n := len(w.calls(track)); n != 3 {
		t.Errorf("%d calls", n)
	}
}

// When the reads' rate is used up, grants wait and withdrawals do not: not even those of the same batch.
func TestReadsHoldUpNoWithdrawal(t *testing.T) {
	w := newWorkspace(t)
	w.Put(sim.User{ExternalID: "u2", EmailSubscribe: "opted_in"})
	target := w.target(t, nil)
	w.Inject(sim.Fault{Times: 1, Path: export, Status: 429, Message: "Rate Limited", Header: http.Header{
		"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {fmt.Sprint(time.Now().Add(time.Hour).Unix())},
	}})
	want(t, target, sdk.KindThrottled, "RATE_LIMITED", grant)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan []sdk.Outcome)
	go func() {
		done <- target.Deliver(ctx, []sdk.Record{plugintest.Record(t, grant), plugintest.Record(t, fields{"external_id": "u2", "email_subscribe": "unsubscribed"})})
	}()
	for end := time.Now().Add(20 * time.Second); w.user(t, "u2").EmailSubscribe != "unsubscribed"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a withdrawal waits for the reads' rate")
		}
	}
	cancel()
	if outcomes := <-done; outcomes[0].Kind != sdk.KindRetry || outcomes[1].Kind != sdk.KindAccepted && outcomes[1].Kind != sdk.KindRetry {
		t.Errorf("%v", outcomes)
	}
}
