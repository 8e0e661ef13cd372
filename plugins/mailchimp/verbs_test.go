package mailchimp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/internal/vendorspec"
	"github.com/consentd/consentd/plugins/mailchimp"
	"github.com/consentd/consentd/plugins/mailchimp/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestConfig(t *testing.T) {
	good := fields{"api_key": "0123456789abcdef-us21", "list_id": "a1b2c3d4e5"}
	for _, tc := range []struct {
		name  string
		set   fields
		paths []string
	}{
		{"from the key's end", nil, nil},
		{"base_url in place of it", fields{"api_key": "token", "base_url": "http://127.0.0.1:1/3.0"}, nil},
		{"no key", fields{"api_key": ""}, []string{"api_key"}},
		{"key with a line end", fields{"api_key": "0123-us21\n"}, []string{"api_key"}},
		{"key without a data centre", fields{"api_key": "0123456789abcdef"}, []string{"api_key"}},
		{"key with another host in it", fields{"api_key": "0123-evil.example/us1"}, []string{"api_key"}},
		{"base_url without a scheme", fields{"base_url": "api.mailchimp.com"}, []string{"base_url"}},
		{"no list", fields{"list_id": ""}, []string{"list_id"}},
		{"a path for a list", fields{"list_id": "../ping"}, []string{"list_id"}},
		{"resubscribe", fields{"resubscribe": "always"}, []string{"resubscribe"}},
		{"two mistakes", fields{"list_id": "", "resubscribe": "always"}, []string{"list_id", "resubscribe"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := maps.Clone(good)
			maps.Copy(config, tc.set)
			_, err := newTarget(t, config)
			if err != nil && strings.Contains(err.Error(), "0123") {
				t.Errorf("the error holds the key: %v", err)
			}
			if paths := pathsOf(err); !slices.Equal(paths, tc.paths) {
				t.Errorf("mistakes at %v, want %v (%v)", paths, tc.paths, err)
			}
		})
	}
}

func pathsOf(err error) []string {
	var paths []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			paths = append(paths, pathsOf(e)...)
		}
		return paths
	}
	var one *sdk.ConfigError
	if errors.As(err, &one) {
		paths = append(paths, strings.Join(one.Path, "."))
	}
	return paths
}

// A key goes as Basic, which the vendor describes, and a token without a data centre as Bearer.
func TestCredentials(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); ok {
			got = "basic " + user + " " + password
		} else {
			got = r.Header.Get("Authorization")
		}
		_, _ = w.Write([]byte(`{"id":"a1b2c3d4e5"}`))
	}))
	defer server.Close()
	for key, want := range map[string]string{"0123-us21": "basic consentd 0123-us21", "token": "Bearer token"} {
		target, err := newTarget(t, fields{"api_key": key, "list_id": "a1b2c3d4e5", "base_url": server.URL})
		if err != nil {
			t.Fatal(err)
		}
		if o := target.(sdk.Checker).Check(t.Context()); o.Kind != sdk.KindDelivered || got != want {
			t.Errorf("check %+v with %q, want %q", o, got, want)
		}
		_ = target.(sdk.Closer).Close()
	}
}

func TestCheck(t *testing.T) {
	a := newAccount(t)
	if o := a.target(t, nil).(sdk.Checker).Check(t.Context()); o.Kind != sdk.KindDelivered {
		t.Errorf("check: %+v", o)
	}
	if o := a.target(t, fields{"api_key": "other-us1"}).(sdk.Checker).Check(t.Context()); o.Kind != sdk.KindUnauthorized || o.Code != "API_KEY_INVALID" {
		t.Errorf("check with another key: %+v", o)
	}
	if writes := a.writes(); len(writes) > 0 || a.Len() > 0 {
		t.Errorf("a check wrote %v", writes)
	}
}

// Reading gives what a delivery gave.
func TestRead(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	given := fields{
		"email": ada, "status": "subscribed", "language": "de",
		"merge_fields": fields{"FNAME": "Ada"}, "interests": fields{"jazz": true},
		"tags": fields{"vip": true}, "marketing_permissions": fields{"caa8": true},
	}
	want(t, target, sdk.KindDelivered, "", given)
	a.Put(sim.Member{Email: "archived@example.org", Status: "archived"})
	readings := target.(sdk.Reader).Read(t.Context(), []sdk.Record{
		plugintest.Record(t, fields{"email": "ADA.Lovelace@example.org"}),
		plugintest.Record(t, fields{"email": "nobody@example.org"}),
		plugintest.Record(t, fields{"email": "archived@example.org"}),
		plugintest.Record(t, fields{"email": "not an address"}),
	})
	if readings[3].Outcome.Kind != sdk.KindRejected {
		t.Errorf("reading of no address: %+v", readings[3])
	}
	for i, found := range []bool{true, false, true} {
		if r := readings[i]; r.Outcome.Kind != sdk.KindDelivered || r.Found != found {
			t.Errorf("reading %d is %+v, want found %v", i, r, found)
		}
	}
	if status := readings[2].Fields["status"]; status != "unsubscribed" {
		t.Errorf("archived reads as %v", status)
	}
	var got fields
	if err := json.Unmarshal(plugintest.Encode(t, readings[0].Fields), &got); err != nil {
		t.Fatal(err)
	}
	got["merge_fields"] = fields{"FNAME": got["merge_fields"].(fields)["FNAME"]}
	got["email"] = ada
	if !reflect.DeepEqual(got, given) {
		t.Errorf("read\n%v, given\n%v", got, given)
	}
	for name := range got {
		if _, known := mailchimp.Plugin().Record.Attributes[name]; !known {
			t.Errorf("%s is not in the record's schema", name)
		}
	}
}

func TestErase(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	want(t, target, sdk.KindDelivered, "", grant)
	for range 2 {
		o := target.(sdk.Eraser).Erase(t.Context(), []sdk.Record{plugintest.Record(t, fields{"email": ada})})
		if o[0].Kind != sdk.KindDelivered {
			t.Errorf("erase: %+v", o[0])
		}
	}
	a.wantStatus(t, ada, "")
	a.Inject(sim.Fault{Times: 1, Method: "POST", Problem: sim.InternalServerError()})
	if o := target.(sdk.Eraser).Erase(t.Context(), []sdk.Record{plugintest.Record(t, grant)}); o[0].Kind != sdk.KindRetry {
		t.Errorf("erase: %+v", o[0])
	}
}

// Many at once, through several calls of Deliver: each person gets their own outcome, and the vendor
// never sees more than it allows.
func TestConcurrentDeliveries(t *testing.T) {
	const calls, each = 8, 15
	a := newAccount(t)
	a.Inject(sim.Fault{Times: -1, Delay: time.Millisecond})
	target := a.target(t, fields{"create": true})
	var deliveries sync.WaitGroup
	for call := range calls {
		deliveries.Go(func() {
			var records []sdk.Record
			for i := range each {
				status := []string{"subscribed", "unsubscribed", "cleaned"}[i%3]
				records = append(records, plugintest.Record(t, fields{"email": fmt.Sprintf("p%d-%d@example.org", call, i), "status": status}))
			}
			for i, o := range target.Deliver(t.Context(), records) {
				expected := sdk.KindDelivered
				if i%3 == 2 {
					expected = sdk.KindRejected
				}
				if o.Kind != expected {
					t.Errorf("outcome %d is %+v", i, o)
				}
			}
		})
	}
	deliveries.Wait()
	if peak := a.Peak(); peak > 10 {
		t.Errorf("%d requests at once", peak)
	}
	for call := range calls {
		for i := range each {
			a.wantStatus(t, fmt.Sprintf("p%d-%d@example.org", call, i), []string{"subscribed", "unsubscribed", ""}[i%3])
		}
	}
}

// When the call is cut short, every record has its outcome at once, also those that wait for a place.
func TestCancel(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	want(t, target, sdk.KindDelivered, "", grant)
	a.Inject(sim.Fault{Times: -1, Delay: time.Hour})
	records := []sdk.Record{}
	for i := range 30 {
		records = append(records, plugintest.Record(t, fields{"email": fmt.Sprintf("p%d@example.org", i), "status": "subscribed"}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []sdk.Outcome, 1)
	go func() { done <- target.Deliver(ctx, records) }()
	for a.Peak() < 10 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	select {
	case outcomes := <-done:
		if len(outcomes) != len(records) {
			t.Fatalf("%d outcomes for %d records", len(outcomes), len(records))
		}
		for _, o := range outcomes {
			if o.Kind != sdk.KindRetry || o.Code != "CANCELED" {
				t.Errorf("outcome %+v", o)
			}
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Deliver goes on after its context ended")
	}
}

// The description of the type is a page for users and the contract of validate.
func TestDescription(t *testing.T) {
	p := mailchimp.Plugin()
	if p.Type != "mailchimp" || p.Doc == "" || p.Limits.MaxInFlight > 10 {
		t.Errorf("described as %+v", p)
	}
	for name, schema := range map[string]sdk.Schema{"config": p.Config, "record": p.Record} {
		for attribute, a := range schema.Attributes {
			if !strings.HasSuffix(a.Doc, ".") {
				t.Errorf("%s.%s: the doc is no sentence: %q", name, attribute, a.Doc)
			}
		}
	}
	if !p.Config.Attributes["api_key"].Sensitive {
		t.Error("the key would be printed")
	}
}

// Everything above is held to the vendor's description where it is at hand; this says so where not.
func TestVendorDescription(t *testing.T) {
	spec := vendorspec.Need(t, vendor)
	finds := &findings{TB: t}
	server := httptest.NewServer(spec.Hold(finds, sim.New(nil), exceptions...))
	defer server.Close()
	for _, wrong := range []struct{ path, body, finding string }{
		{"/3.0/lists/" + sim.ListID + "/members/0", `{"email_address":"a@example.org","status_if_new":"subscribed","statuss":"x"}`, "statuss"},
		{"/3.0/lists/" + sim.ListID + "/members/0", `{"email_address":"a@example.org"}`, "status_if_new"},
		{"/3.0/lists/" + sim.ListID + "/members/0", `{"email_address":"a@example.org","status_if_new":"archived"}`, "status_if_new"},
		{"/3.0/lists/" + sim.ListID + "/members/0?skip=1", `{"email_address":"a@example.org","status_if_new":"pending"}`, "skip"},
		{"/3.0/lists/" + sim.ListID + "/nowhere", `{}`, "not described"},
	} {
		finds.texts = nil
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+wrong.path, strings.NewReader(wrong.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if !strings.Contains(strings.Join(finds.texts, "\n"), wrong.finding) {
			t.Errorf("%s %s passes: %q", wrong.path, wrong.body, finds.texts)
		}
	}
}

// findings collects what would fail a test.
type findings struct {
	testing.TB
	texts []string
}

func (f *findings) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}
