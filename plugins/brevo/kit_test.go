package brevo_test

import (
	"testing"

	"github.com/consentd/consentd/plugins/brevo"
	"github.com/consentd/consentd/plugins/brevo/sim"
	"github.com/consentd/consentd/sdk/sdktest"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestConformance(t *testing.T) {
	sdktest.Run(t, sdktest.Suite{
		Plugin: brevo.Plugin,
		Config: fields{"api_key": sim.APIKey, "base_url": sdktest.URL + sim.BasePath, "resubscribe": "force"},
		Vendor: func(string) sdktest.Vendor {
			server := sim.New(nil)
			return sdktest.Vendor{Handler: server, State: func() any { return server.People() }}
		},
		Record: func(person string, allowed bool) fields {
			return fields{"email": person + "@example.org", "email_blacklisted": !allowed, "lists": fields{"36": allowed}, "attributes": fields{"CITY": "London"}}
		},
		Rejected: func(person string) fields { return fields{"email": person + "@nowhere", "email_blacklisted": false} },
		Presence: func(person string) sdktest.Presence {
			with := func(more fields) fields {
				more["email"] = person + "@example.org"
				return more
			}
			// Lists have no third state, so a null is told apart in an attribute.
			return sdktest.Presence{
				Set:    with(fields{"lists": fields{"36": true}, "attributes": fields{"CITY": "London"}}),
				Null:   with(fields{"attributes": fields{"CITY": nil}}),
				Absent: with(fields{}),
				False:  with(fields{"lists": fields{"36": false}}),
			}
		},
		WrongConfig: fields{"api_key": "two words", "base_url": "not a URL"},
		ErrorBody: func(_ int, request string) string {
			return string(plugintest.Encode(t, fields{"code": "invalid_parameter", "message": request}))
		},
	})
}
