package marketo

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/marketo/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// The codes of calls, in an answer with status 200.
func TestCallErrors(t *testing.T) {
	for code, kind := range map[string]sdk.Kind{
		"601": sdk.KindUnauthorized, "602": sdk.KindUnauthorized, "603": sdk.KindUnauthorized,
		"600": sdk.KindUnauthorized, "605": sdk.KindUnauthorized, "610": sdk.KindUnauthorized, "612": sdk.KindUnauthorized, "616": sdk.KindUnauthorized, "703": sdk.KindUnauthorized,
		"606": sdk.KindThrottled, "607": sdk.KindThrottled, "615": sdk.KindThrottled,
		"500": sdk.KindRetry, "502": sdk.KindRetry, "604": sdk.KindRetry, "608": sdk.KindRetry, "611": sdk.KindRetry, "614": sdk.KindRetry, "713": sdk.KindRetry, "719": sdk.KindRetry,
		"609": sdk.KindRejected, "701": sdk.KindRejected, "702": sdk.KindRejected, "704": sdk.KindRejected,
		"1001": sdk.KindRejected, "1002": sdk.KindRejected, "1003": sdk.KindRejected, "1007": sdk.KindRejected,
		"1004": sdk.KindRetry, "1016": sdk.KindRetry, "1019": sdk.KindRetry, "1029": sdk.KindRetry,
		"1006": sdk.KindUnauthorized, "1008": sdk.KindUnauthorized, "1009": sdk.KindUnauthorized, "1010": sdk.KindUnauthorized, "1011": sdk.KindUnauthorized, "1013": sdk.KindUnauthorized,
	} {
		for _, path := range []string{"/leads.json", "/leads/describe2.json"} {
			t.Run(code+path, func(t *testing.T) {
				a := newAccount(t)
				target := a.target(t, nil)
				a.Inject(sim.Fault{Times: -1, Path: path, Code: code, Message: "no way for " + ada})
				var o sdk.Outcome
				if path == "/leads.json" {
					o = want(t, target, kind, "MARKETO_"+code, lead(ada, fields{"unsubscribed": false}))
				} else if o = target.Check(t.Context()); o.Kind != kind {
					t.Errorf("check: %+v", o)
				}
				switch {
				case strings.Contains(o.Message, "no way"):
					t.Errorf("the vendor's own text gets through: %s", o.Message)
				case code == "606" && o.RetryAfter != 20*time.Second:
					t.Errorf("606 waits for %v", o.RetryAfter)
				case code == "607" && (o.RetryAfter <= 0 || o.RetryAfter > 24*time.Hour):
					t.Errorf("607 waits for %v", o.RetryAfter)
				}
			})
		}
	}
}

func TestUntilMidnight(t *testing.T) {
	for now, wait := range map[string]time.Duration{
		"2026-11-23T23:00:00Z": 7 * time.Hour,
		"2026-11-24T05:59:00Z": time.Minute,
		"2026-11-24T06:00:00Z": 24 * time.Hour,
	} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := untilMidnight(at); got != wait {
			t.Errorf("%s: %v, want %v", now, got, wait)
		}
	}
}

// What stands before the API, or is none.
func TestOtherErrors(t *testing.T) {
	for _, tc := range []struct {
		fault sim.Fault
		kind  sdk.Kind
		code  string
	}{
		{sim.Fault{Status: 200, Message: "hello"}, sdk.KindRetry, "UNEXPECTED_ANSWER"},
		{sim.Fault{Status: 404}, sdk.KindUnauthorized, "HTTP_404"},
		{sim.Fault{Status: 413}, sdk.KindRejected, "HTTP_413"},
		{sim.Fault{Status: 503}, sdk.KindRetry, "HTTP_503"},
		{sim.Fault{Status: 429}, sdk.KindThrottled, "HTTP_429"},
	} {
		s := sim.New(nil) // not held to the description: it knows of nothing but 200
		a := &account{Server: s, URL: plugintest.Serve(t, s.ServeHTTP)}
		tc.fault.Times = -1
		s.Inject(tc.fault)
		want(t, a.target(t, nil), tc.kind, tc.code, lead(ada, fields{"unsubscribed": false}))
	}
}

func TestCutOff(t *testing.T) {
	s := sim.New(nil)
	target := (&account{Server: s, URL: plugintest.Serve(t, s.ServeHTTP)}).target(t, nil)
	s.Inject(sim.Fault{Times: 1, Method: http.MethodPost, Path: "/leads.json", Cut: true})
	record := lead(ada, fields{"unsubscribed": false})
	want(t, target, sdk.KindRetry, "NETWORK", record)
	want(t, target, sdk.KindUnchanged, "", record)
	if s.Leads("email", ada) != 1 {
		t.Errorf("%d leads", s.Leads("email", ada))
	}
}

func TestSignIn(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	grant := lead(ada, fields{"unsubscribed": false})
	want(t, target, sdk.KindDelivered, "", grant)
	a.ExpireToken()
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			if o := target.Deliver(t.Context(), []sdk.Record{plugintest.Record(t, grant)})[0]; o.Kind != sdk.KindUnchanged {
				t.Errorf("%+v", o)
			}
		})
	}
	workers.Wait()
	if n := a.SignIns(); n != 2 {
		t.Errorf("signed in %d times, want once for all workers after the token ended", n)
	}
	wrong := sim.New(nil) // a refusal to sign in is not described
	o := (&account{URL: plugintest.Serve(t, wrong.ServeHTTP)}).target(t, fields{"client_secret": "other"}).Check(t.Context())
	if o.Kind != sdk.KindUnauthorized || strings.Contains(o.Message, "other") {
		t.Errorf("%+v", o)
	}
}

func TestRecords(t *testing.T) {
	target := (&account{URL: "http://127.0.0.1:9"}).target(t, nil) // nobody is there, and nobody is asked
	for _, tc := range []struct {
		record fields
		kind   sdk.Kind
		code   string
	}{
		{lead("ada", nil), sdk.KindRejected, "INVALID_EMAIL"},
		{lead("a,b@example.org", nil), sdk.KindRejected, "INVALID_LOOKUP_VALUE"},
		{lead(ada, nil), sdk.KindRejected, "INVALID_RECORD"},
		{lead(ada, fields{"unsubscribed": "yes"}), sdk.KindRejected, "INVALID_RECORD"},
		{lead(ada, fields{"first name": "Ada"}), sdk.KindUnauthorized, "INVALID_FIELD_NAME"},
		{lead(ada, fields{"email": bob}), sdk.KindUnauthorized, "LOOKUP_FIELD_IN_FIELDS"},
	} {
		want(t, target, tc.kind, tc.code, tc.record)
	}
}

func TestConfig(t *testing.T) {
	good := fields{"munchkin_id": "123-ABC-456", "client_id": "id", "client_secret": "s3cret"}
	for path, set := range map[string]fields{
		"munchkin_id":   {"munchkin_id": "abc.mktorest.com/x"},
		"base_url":      {"base_url": "http://example.org"},
		"client_secret": {"client_secret": "s3cret\n"},
		"lookup_field":  {"lookup_field": "a,b"},
		"resubscribe":   {"resubscribe": "confirm"},
		"":              {},
	} {
		config := fields{}
		for _, part := range []fields{good, set} {
			for name, value := range part {
				config[name] = value
			}
		}
		made, err := plugintest.New(t, Plugin(), config)
		if path == "" {
			if err != nil {
				t.Error(err)
			} else if err := made.(sdk.Closer).Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		var mistake *sdk.ConfigError
		if !errors.As(err, &mistake) || strings.Join(mistake.Path, ".") != path || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestVerbs(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	if o := target.Check(t.Context()); o.Kind != sdk.KindDelivered {
		t.Errorf("check: %+v", o)
	}
	if o := a.target(t, fields{"lookup_field": "city"}).Check(t.Context()); o.Kind != sdk.KindUnauthorized || o.Code != "LOOKUP_FIELD" {
		t.Errorf("check of a field that cannot be searched: %+v", o)
	}
	a.Put(fields{"email": ada, "firstName": "Ada", "doNotCall": true})
	readings := target.Read(t.Context(), []sdk.Record{plugintest.Record(t, lead(ada, fields{"firstName": "x"})), plugintest.Record(t, fields{"lookup_value": bob})})
	if got := string(plugintest.Encode(t, readings[0].Fields)); !readings[0].Found ||
		got != `{"fields":{"blackListed":false,"doNotCall":true,"firstName":"Ada","marketingSuspended":false,"unsubscribed":false},"lookup_value":"`+ada+`"}` {
		t.Errorf("read %v %s", readings[0].Outcome, got)
	}
	if readings[1].Found || readings[1].Outcome.Kind != sdk.KindDelivered {
		t.Errorf("read of nobody: %+v", readings[1])
	}
	a.Put(fields{"email": ada})
	if r := target.Read(t.Context(), []sdk.Record{plugintest.Record(t, fields{"lookup_value": ada})})[0]; r.Outcome.Code != "MULTIPLE_LEADS" {
		t.Errorf("read of two: %+v", r)
	}
}
