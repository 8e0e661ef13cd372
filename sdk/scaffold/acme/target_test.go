package main

import (
	"testing"

	"github.com/consentd/consentd/sdk/scaffold/acme/fake"
	"github.com/consentd/consentd/sdk/sdktest"
)

// TestPlugin runs the plugin as consentd does, against a fake of Acme that the kit makes fail in every way in
// which an HTTP API fails. One check alone: go test -run TestPlugin/http/429
func TestPlugin(t *testing.T) {
	of := func(person string, fields map[string]any) map[string]any {
		fields["email"] = person + "@example.com"
		return fields
	}
	sdktest.Run(t, sdktest.Suite{
		Plugin: plugin,
		Config: map[string]any{"base_url": sdktest.URL, "token": fake.Token},
		Vendor: func(string) sdktest.Vendor {
			vendor := fake.New()
			return sdktest.Vendor{Handler: vendor, State: vendor.People}
		},
		// What a rule renders for somebody who allows it, and for somebody who withdraws.
		Record: func(person string, allowed bool) map[string]any {
			return of(person, map[string]any{"newsletter": allowed})
		},
		Rejected: func(string) map[string]any { return map[string]any{"email": "nobody", "newsletter": true} },
		Presence: func(person string) sdktest.Presence {
			return sdktest.Presence{
				Set:    of(person, map[string]any{"newsletter": true}),
				Null:   of(person, map[string]any{"newsletter": nil}),
				Absent: of(person, map[string]any{}),
				False:  of(person, map[string]any{"newsletter": false}),
			}
		},
		WrongConfig: map[string]any{"base_url": "ftp://example.com", "token": "two words"},
	})
}
