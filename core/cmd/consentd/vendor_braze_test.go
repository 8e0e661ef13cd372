package main

import (
	"fmt"
	"slices"
	"testing"

	brazesim "github.com/consentd/consentd/plugins/braze/sim"
)

func brazeCase(*testing.T) vendorCase {
	const group = "504e09e6-ffa4-4b31-96c3-c05d50d903cf"
	vendor := brazesim.New(nil)
	vendor.DefineGroups(group)
	return vendorCase{
		config: fmt.Sprintf("api_key = %q\n    base_url = \"{url}\"", brazesim.APIKey),
		record: fmt.Sprintf(`
    external_id         = citizen.id
    email               = citizen.external_ref
    email_subscribe     = permission.newsletter_email.allowed ? "opted_in" : "unsubscribed"
    subscription_groups = { %q = permission.newsletter_email.allowed }
    attributes = {
      jazz      = contains(preference.interests.choices, "jazz")
      blues     = contains(preference.interests.choices, "blues")
      home_city = preference.city.known ? preference.city.choices[0] : null
    }`, group),
		vendor: vendor,
		holds: func(p person) string {
			u, known := vendor.User(p.name)
			if !known {
				return "unknown"
			}
			email, state := "unsubscribed", "unsubscribed"
			if p.allowed {
				email, state = "opted_in", "subscribed"
			}
			city, _ := u.Attributes["home_city"].(string)
			if u.EmailSubscribe != email || u.Groups[group] != state || u.Email != p.ref || city != p.city {
				return fmt.Sprintf("email %s, group %s, city %q; want %s, %s, %q", u.EmailSubscribe, u.Groups[group], city, email, state, p.city)
			}
			for _, c := range []string{"jazz", "blues"} {
				if u.Attributes[c] != slices.Contains(p.interests, c) {
					return "attribute " + c
				}
			}
			return ""
		},
		absent: func(p person) bool {
			_, known := vendor.User(p.name)
			return !known
		},
		refused: "no address",
	}
}
