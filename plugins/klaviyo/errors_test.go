package klaviyo

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/klaviyo/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestErrors(t *testing.T) {
	const read, write, join = "/profiles", "/profile-import", "/profile-subscription-bulk-create-jobs"
	for _, tc := range []struct {
		name  string
		fault sim.Fault
		kind  sdk.Kind
		code  string
	}{
		{"no such key", sim.Fault{Path: read, Status: 401, Code: "authentication_failed"}, sdk.KindUnauthorized, "AUTHENTICATION_FAILED"},
		{"no key", sim.Fault{Path: read, Status: 401, Code: "not_authenticated"}, sdk.KindUnauthorized, "NOT_AUTHENTICATED"},
		{"no scope to read", sim.Fault{Path: read, Status: 403, Code: "permission_denied"}, sdk.KindUnauthorized, "PERMISSION_DENIED"},
		{"no scope to subscribe", sim.Fault{Path: join, Status: 403, Code: "permission_denied"}, sdk.KindUnauthorized, "PERMISSION_DENIED"},
		{"a guard before the API", sim.Fault{Path: read, Status: 403, Detail: "Just a moment..."}, sdk.KindThrottled, "FORBIDDEN_WITHOUT_REASON"},
		{"no such list, by the path", sim.Fault{Path: join, Status: 404, Code: "not_found", Pointer: "/data/relationships/list/data/id"}, sdk.KindUnauthorized, "LIST_NOT_FOUND"},
		{"no such list, as an invalid body", sim.Fault{Path: join, Status: 400, Code: "invalid", Pointer: "/data/relationships/list/data/id"}, sdk.KindUnauthorized, "LIST_NOT_FOUND"},
		{"no such call", sim.Fault{Path: join, Status: 404, Detail: "nginx"}, sdk.KindUnauthorized, "HTTP_404"},
		{"not this method", sim.Fault{Path: join, Status: 405, Code: "method_not_allowed"}, sdk.KindUnauthorized, "METHOD_NOT_ALLOWED"},
		{"revision gone", sim.Fault{Path: read, Status: 410, Code: "gone"}, sdk.KindUnauthorized, "GONE"},
		{"revision not known", sim.Fault{Path: read, Status: 400, Code: "invalid", Parameter: "revision"}, sdk.KindUnauthorized, "INVALID"},
		{"another profile", sim.Fault{Path: write, Status: 409, Code: "duplicate_profile", Pointer: "/data/attributes"}, sdk.KindRejected, "DUPLICATE_PROFILE"},
		{"another conflict", sim.Fault{Path: write, Status: 409, Code: "conflict"}, sdk.KindRetry, "CONFLICT"},
		{"bad value", sim.Fault{Path: write, Status: 400, Code: "invalid", Pointer: "/data/attributes/locale"}, sdk.KindRejected, "INVALID"},
		{"bad row", sim.Fault{Path: join, Status: 400, Code: "invalid", Pointer: "/data/attributes/profiles/data/0/attributes/email"}, sdk.KindRejected, "INVALID"},
		{"a row that was not sent", sim.Fault{Path: join, Status: 400, Code: "invalid", Pointer: "/data/attributes/profiles/data/7"}, sdk.KindRejected, "INVALID"},
		{"an identifier left out", sim.Fault{Path: write, Status: 200, Code: "x", Header: http.Header{"X-Klaviyo-Partial-Failure": {"phone_number"}}}, sdk.KindRejected, "PARTIAL_FAILURE"},
		{"slow down", sim.Fault{Path: read, Status: 429, Code: "throttled", Header: http.Header{"Retry-After": {"7"}}}, sdk.KindThrottled, "THROTTLED"},
		{"slow down for jobs", sim.Fault{Path: join, Status: 429, Code: "throttled", Header: http.Header{"Retry-After": {"7"}}}, sdk.KindThrottled, "THROTTLED"},
		{"broken", sim.Fault{Path: read, Status: 500, Code: "error"}, sdk.KindRetry, "ERROR"},
		{"broken for writing", sim.Fault{Path: write, Status: 503, Detail: "down"}, sdk.KindRetry, "HTTP_503"},
		{"not the API", sim.Fault{Path: read, Status: 200, Detail: "hello"}, sdk.KindRetry, "UNEXPECTED_ANSWER"},
		{"not the API for writing", sim.Fault{Path: write, Status: 200, Detail: "hello"}, sdk.KindRetry, "UNEXPECTED_ANSWER"},
		{"a job that is answered with something else", sim.Fault{Path: join, Status: 200, Detail: "hello"}, sdk.KindRetry, "UNEXPECTED_ANSWER"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := sim.New(nil) // not held to the description: it does not know what a guard or a proxy says
			a := &account{Server: s, URL: plugintest.Serve(t, s.ServeHTTP)}
			if tc.fault.Detail == "" {
				tc.fault.Detail = "no way for " + ada
			}
			tc.fault.Times = -1
			s.Inject(tc.fault)
			target := a.target(t, fields{"list_id": sim.ListID})
			record := mail(true)
			record["first_name"] = "Ada"
			o := want(t, target, tc.kind, tc.code, record)
			if tc.fault.Header.Get("Retry-After") != "" && o.RetryAfter != 7*time.Second {
				t.Errorf("told to wait for %v, want 7s", o.RetryAfter)
			}
			if strings.Contains(o.Message, "Ada") || strings.Contains(o.Message, "no way") {
				t.Errorf("the vendor's own text gets through: %s", o.Message)
			}
			s.ClearFaults()
			want(t, target, sdk.KindDelivered, "", record)
		})
	}
}

// After the withdrawal the rest of the record fails, and comes again.
func TestCutOff(t *testing.T) {
	for _, path := range []string{"/profiles", "/profile-import", "/profile-subscription-bulk-create-jobs", "/profile-subscription-bulk-delete-jobs"} {
		s := sim.New(nil)
		a := &account{Server: s, URL: plugintest.Serve(t, s.ServeHTTP)}
		s.Put(sim.Profile{Email: ada, PhoneNumber: "+441632960961", Consent: map[string]string{"sms.marketing": "SUBSCRIBED"}})
		s.Inject(sim.Fault{Times: 1, Path: path, Cut: true})
		record := fields{"email": ada, "first_name": "Ada", "subscriptions": fields{"email_marketing": true, "sms_marketing": false}}
		target := a.target(t, nil)
		if o := target.deliverAll(t, record)[0]; o.Kind != sdk.KindRetry {
			t.Errorf("%s: %+v", path, o)
		}
		if o := target.deliverAll(t, record)[0]; !o.Kind.Done() {
			t.Errorf("%s again: %+v", path, o)
		}
		if p := a.held(t, ada); p.Consent["email.marketing"] != "SUBSCRIBED" || p.Consent["sms.marketing"] != "UNSUBSCRIBED" || p.Attributes["first_name"] != "Ada" {
			t.Errorf("%s: held %+v", path, p)
		}
	}
}

func TestRecords(t *testing.T) {
	target := (&account{URL: "http://127.0.0.1:9"}).target(t, nil) // nobody is there, and nobody is asked
	for code, record := range map[string]fields{
		"NO_IDENTIFIER":        {"first_name": "Ada"},
		"INVALID_EMAIL":        {"email": "ada"},
		"INVALID_PHONE_NUMBER": {"phone_number": "0163 2960961"},
		"INVALID_EXTERNAL_ID":  {"external_id": `a"b`},
		"INVALID_RECORD":       {"email": ada, "subscriptions": "all"},
	} {
		want(t, target, sdk.KindRejected, code, record)
	}
	want(t, target, sdk.KindRejected, "INVALID_EMAIL", fields{"email": `a"b@example.org`})
}

func TestConfig(t *testing.T) {
	for path, config := range map[string]fields{
		"api_key":       {"api_key": "pk_1\n"},
		"client_secret": {"api_key": "", "client_id": "id", "client_secret": "pk_1\n", "refresh_token": "pk_1"},
		"list_id":       {"list_id": "../x"},
		"base_url":      {"base_url": "http://example.org/api"},
		"resubscribe":   {"resubscribe": "confirm"},
	} {
		if config["api_key"] == nil {
			config["api_key"] = sim.APIKey
		}
		_, err := plugintest.New(t, Plugin(), config)
		var mistake *sdk.ConfigError
		if !errors.As(err, &mistake) || strings.Join(mistake.Path, ".") != path || strings.Contains(err.Error(), "pk_1") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWrongKey(t *testing.T) {
	a := newAccount(t)
	want(t, a.target(t, fields{"api_key": "pk_other"}), sdk.KindUnauthorized, "AUTHENTICATION_FAILED", mail(true))
}

func TestTwoWaysToSignIn(t *testing.T) {
	_, err := plugintest.New(t, Plugin(), fields{"api_key": sim.APIKey, "client_id": "id"})
	var mistake *sdk.ConfigError
	if !errors.As(err, &mistake) || mistake.Path[0] != "api_key" {
		t.Errorf("%v", err)
	}
}

func TestApp(t *testing.T) {
	a := newAccount(t)
	app := fields{"api_key": "", "client_id": sim.ClientID, "client_secret": sim.ClientSecret, "refresh_token": sim.RefreshToken}
	target := a.target(t, app)
	want(t, target, sdk.KindDelivered, "", mail(true))
	a.ExpireToken()
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			if o := target.Deliver(t.Context(), []sdk.Record{plugintest.Record(t, mail(true))})[0]; o.Kind != sdk.KindUnchanged {
				t.Errorf("%+v", o)
			}
		})
	}
	workers.Wait()
	if n := a.SignIns(); n != 2 {
		t.Errorf("signed in %d times, want once for all workers after the token ended", n)
	}
	app["refresh_token"] = "other"
	want(t, a.target(t, app), sdk.KindUnauthorized, "invalid_grant", mail(true))
}
