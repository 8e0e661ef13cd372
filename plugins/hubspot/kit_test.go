package hubspot_test

import (
	"testing"

	"github.com/consentd/consentd/plugins/hubspot"
	"github.com/consentd/consentd/plugins/hubspot/sim"
	"github.com/consentd/consentd/sdk/sdktest"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestConformance(t *testing.T) {
	for name, batches := range map[string]bool{"one by one": false, "in batches": true} {
		t.Run(name, func(t *testing.T) {
			sdktest.Run(t, sdktest.Suite{
				Plugin: hubspot.Plugin,
				Config: fields{"access_token": sim.AccessToken, "base_url": sdktest.URL, "resubscribe": "force", "batch_subscriptions": batches},
				Vendor: func(string) sdktest.Vendor {
					server := sim.New(nil)
					server.Enterprise()
					return sdktest.Vendor{Handler: server, State: func() any {
						people := fields{}
						for _, email := range server.People() {
							properties, _ := server.Contact(email)
							people[email] = fields{"properties": properties, "subscriptions": server.Subscriptions(email)}
						}
						return people
					}}
				},
				Record: func(person string, allowed bool) fields {
					return fields{
						"email": person + "@example.org", "subscriptions": fields{news: allowed},
						"properties": fields{"newsletter": allowed}, "legal_basis": "CONSENT_WITH_NOTICE", "legal_basis_explanation": "asked for it",
					}
				},
				Rejected: func(person string) fields { return subscription(person+"@nowhere", true) },
				Presence: func(person string) sdktest.Presence {
					return sdktest.Presence{
						Set:    subscription(person+"@example.org", true),
						Null:   subscription(person+"@example.org", nil),
						Absent: fields{"email": person + "@example.org"},
						False:  subscription(person+"@example.org", false),
					}
				},
				WrongConfig: fields{"access_token": "two words", "base_url": "not a URL"},
				ErrorBody: func(status int, request string) string {
					return string(plugintest.Encode(t, fields{"status": "error", "category": "VALIDATION_ERROR", "message": request, "correlationId": "aeb5f871"}))
				},
			})
		})
	}
}
