package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	klaviyosim "github.com/consentd/consentd/plugins/klaviyo/sim"
)

func klaviyoCase(*testing.T) vendorCase {
	vendor := klaviyosim.New(nil)
	return vendorCase{
		config: fmt.Sprintf("api_key = %q\n    list_id = %q\n    base_url = \"{url}%s\"", klaviyosim.APIKey, klaviyosim.ListID, klaviyosim.BasePath),
		record: `
    email         = citizen.external_ref
    subscriptions = { email_marketing = permission.newsletter_email.allowed }
    location      = { city = preference.city.known ? preference.city.choices[0] : null }
    properties    = { interests = join(",", preference.interests.choices) }`,
		vendor: vendor,
		holds: func(p person) string {
			is, known := vendor.Profile(p.ref)
			if !known {
				return "unknown"
			}
			consent := "UNSUBSCRIBED"
			if p.allowed {
				consent = "SUBSCRIBED"
			}
			location, _ := is.Attributes["location"].(map[string]any)
			city, _ := location["city"].(string)
			interests, _ := is.Properties["interests"].(string)
			if is.Consent["email.marketing"] != consent || city != p.city || interests != strings.Join(slices.Sorted(slices.Values(p.interests)), ",") {
				return fmt.Sprintf("consent %s, city %q, interests %q", is.Consent["email.marketing"], city, interests)
			}
			return ""
		},
		absent: func(p person) bool {
			_, known := vendor.Profile(p.ref)
			return !known
		},
		refused: "no address",
	}
}
