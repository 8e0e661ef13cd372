package hubspot_test

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/consentd/consentd/plugins/hubspot/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func oauth(a *account) fields {
	return fields{"access_token": nil, "client_id": sim.ClientID, "client_secret": sim.ClientSecret, "refresh_token": sim.RefreshToken, "base_url": a.URL + "/"}
}

// One sign-in serves all workers, and one more when the token ends.
func TestOAuth(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, oauth(a))
	all := func() {
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() { want(t, target, sdk.KindUnchanged, "", subscription(ada, false)) })
		}
		workers.Wait()
	}
	all()
	if n := a.SignIns(); n != 1 {
		t.Errorf("%d sign-ins", n)
	}
	a.ExpireTokens()
	all()
	if n := a.SignIns(); n != 2 {
		t.Errorf("%d sign-ins after the token ended", n)
	}
	wrong := oauth(a)
	wrong["refresh_token"] = "another"
	want(t, a.target(t, wrong), sdk.KindUnauthorized, "invalid_grant", subscription(ada, true))
}

func TestConfig(t *testing.T) {
	for path, config := range map[string]fields{
		"access_token":  {},
		"access_token ": {"access_token": "x", "client_id": "x", "client_secret": "x", "refresh_token": "x"},
		"client_secret": {"client_id": "x", "refresh_token": "x"},
		"refresh_token": {"client_id": "x", "client_secret": "x"},
		"client_id":     {"client_id": "a b", "client_secret": "x", "refresh_token": "x"},
		"base_url":      {"access_token": "x", "base_url": "http://api.hubapi.com"},
		"resubscribe":   {"access_token": "x", "resubscribe": "confirm"},
	} {
		_, err := newTarget(t, config)
		var mistake *sdk.ConfigError
		if !errors.As(err, &mistake) || strings.Join(mistake.Path, ".") != strings.TrimSpace(path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestCheck(t *testing.T) {
	a := newAccount(t)
	check := func(kind sdk.Kind, code string, set fields) {
		t.Helper()
		if o := a.target(t, set).(sdk.Checker).Check(t.Context()); o.Kind != kind || o.Code != code {
			t.Errorf("check is %+v, want %v %s", o, kind, code)
		}
	}
	check(sdk.KindDelivered, "", nil)
	check(sdk.KindUnauthorized, "INVALID_AUTHENTICATION", fields{"access_token": "other"})
	a.Inject(sim.Fault{Times: 1, Path: "definitions", Problem: sim.Refuse(403, "MISSING_SCOPES", "x")})
	check(sdk.KindUnauthorized, "MISSING_SCOPES", nil)
	a.Inject(sim.Fault{Times: 1, Status: 200, Body: "{}"})
	check(sdk.KindRetry, "UNEXPECTED_ANSWER", nil)
	if len(a.writes()) != 0 {
		t.Error("the check writes")
	}
}

func TestRead(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	a.Put(ada, map[string]string{"firstname": "Ada", "city": "London"})
	a.SetSubscription(ada, 1, "SUBSCRIBED")
	a.SetSubscription(ada, 2, "UNSUBSCRIBED")
	a.SetSubscription(ada, 3, "NOT_SPECIFIED")
	read := func() []sdk.Reading {
		return target.(sdk.Reader).Read(t.Context(), []sdk.Record{
			plugintest.Record(t, fields{"email": "bob@example.org"}),
			plugintest.Record(t, fields{"email": ada, "properties": fields{"firstname": "x", "lastname": "x"}}),
			plugintest.Record(t, fields{"email": "nobody"}),
		})
	}
	readings := read()
	if readings[0].Found || readings[0].Outcome.Kind != sdk.KindDelivered {
		t.Errorf("of somebody unknown %+v", readings[0])
	}
	expected := fields{
		"email": ada, "properties": fields{"firstname": "Ada", "lastname": ""}, "subscriptions": fields{"1": true, "2": false, "3": nil},
	}
	if !readings[1].Found || !reflect.DeepEqual(readings[1].Fields, expected) {
		t.Errorf("read %+v, want %+v", readings[1], expected)
	}
	if readings[2].Outcome.Code != "INVALID_EMAIL" {
		t.Errorf("of no address %+v", readings[2])
	}
	a.OptOutOfAll(ada)
	if got := read()[1].Fields["subscriptions"]; !reflect.DeepEqual(got, fields{"1": false, "2": false, "3": false}) {
		t.Errorf("of who left all e-mail %+v", got)
	}
	a.Inject(sim.Fault{Times: 1, Status: 500})
	if r := read()[1]; r.Found || r.Outcome.Kind != sdk.KindRetry {
		t.Errorf("of a broken vendor %+v", r)
	}
}

func TestErase(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	want(t, target, sdk.KindDelivered, "", subscription(ada, true))
	for range 2 {
		o := target.(sdk.Eraser).Erase(t.Context(), []sdk.Record{plugintest.Record(t, subscription(ada, false))})[0]
		if o.Kind != sdk.KindDelivered {
			t.Fatalf("erase is %+v", o)
		}
	}
	if _, known := a.Contact(ada); known {
		t.Error("the contact is still there")
	}
	want(t, target, sdk.KindRejected, "VALIDATION_ERROR", subscription(ada, true))
	a.Inject(sim.Fault{Times: 1, Path: "gdpr-delete", Problem: sim.Refuse(403, "MISSING_SCOPES", "x")})
	if o := target.(sdk.Eraser).Erase(t.Context(), []sdk.Record{plugintest.Record(t, subscription(ada, false))})[0]; o.Kind != sdk.KindUnauthorized {
		t.Errorf("without the scope %+v", o)
	}
}
