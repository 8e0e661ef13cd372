package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	hubspotsim "github.com/consentd/consentd/plugins/hubspot/sim"
)

func hubspotCase(*testing.T) vendorCase {
	vendor := hubspotsim.New(nil)
	vendor.DefineProperties("city", "interests")
	vendor.DefineSubscriptions(39644612)
	return vendorCase{
		config: fmt.Sprintf("client_id = %q\n    client_secret = %q\n    refresh_token = %q\n    base_url = \"{url}\"",
			hubspotsim.ClientID, hubspotsim.ClientSecret, hubspotsim.RefreshToken),
		record: `
    email         = citizen.external_ref
    subscriptions = { "39644612" = permission.newsletter_email.allowed }
    properties = {
      interests = join(";", preference.interests.choices)
      city      = preference.city.known ? preference.city.choices[0] : null
    }`,
		vendor: vendor,
		holds: func(p person) string {
			c, known := vendor.Contact(p.ref)
			if !known {
				return "unknown"
			}
			state := "UNSUBSCRIBED"
			if p.allowed {
				state = "SUBSCRIBED"
			}
			got := vendor.Subscription(p.ref, 39644612).State
			interests := strings.Join(slices.Sorted(slices.Values(p.interests)), ";")
			if got != state || c["city"] != p.city || c["interests"] != interests {
				return fmt.Sprintf("%s, city %q, interests %q; want %s, %q, %q", got, c["city"], c["interests"], state, p.city, interests)
			}
			return ""
		},
		absent: func(p person) bool {
			_, known := vendor.Contact(p.ref)
			return !known
		},
		refused: "somebody@nowhere",
		expire:  vendor.ExpireTokens,
		signsIn: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/token") },
	}
}
