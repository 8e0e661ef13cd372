package braze_test

import (
	"testing"

	"github.com/consentd/consentd/plugins/braze"
	"github.com/consentd/consentd/plugins/braze/sim"
	"github.com/consentd/consentd/sdk/sdktest"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestConformance(t *testing.T) {
	suite := sdktest.Suite{
		Plugin: braze.Plugin,
		Config: fields{"api_key": sim.APIKey, "base_url": sdktest.URL, "resubscribe": "force"},
		Vendor: func(string) sdktest.Vendor {
			s := sim.New(nil)
			return sdktest.Vendor{Handler: s, State: func() any {
				held := fields{}
				for _, u := range s.Users() {
					u.BrazeID = ""
					held[u.ExternalID] = u
				}
				return held
			}}
		},
		Record: func(person string, allowed bool) fields {
			state := "unsubscribed"
			if allowed {
				state = "opted_in"
			}
			return fields{
				"external_id": person, "email": person + "@example.org", "email_subscribe": state,
				"subscription_groups": fields{news: allowed}, "attributes": fields{"first_name": person},
			}
		},
		Rejected: func(person string) fields { return fields{"external_id": person, "email": person} },
		Presence: func(person string) sdktest.Presence {
			// Of a group a null and false are the same, so a null is told apart in an attribute.
			return sdktest.Presence{
				Set:    fields{"external_id": person, "email_subscribe": "opted_in", "attributes": fields{"city": "Utrecht", "vip": true}},
				Null:   fields{"external_id": person, "attributes": fields{"city": nil}},
				Absent: fields{"external_id": person},
				False:  fields{"external_id": person, "attributes": fields{"vip": false}},
			}
		},
		WrongConfig: fields{"api_key": "two words", "base_url": "http://rest.example.org"},
		ErrorBody: func(_ int, request string) string {
			return string(plugintest.Encode(t, fields{"message": request, "errors": []string{request}}))
		},
	}
	t.Run("force", func(t *testing.T) { sdktest.Run(t, suite) })
	// With never, every grant is looked up first, so the failures meet that.
	suite.Config = fields{"api_key": sim.APIKey, "base_url": sdktest.URL}
	suite.Skip = map[string]string{"converge": "a second grant is not to overrule the withdrawal"}
	t.Run("never", func(t *testing.T) { sdktest.Run(t, suite) })
}
