package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	marketosim "github.com/consentd/consentd/plugins/marketo/sim"
)

func marketoCase(*testing.T) vendorCase {
	vendor := marketosim.New(nil)
	return vendorCase{
		config: fmt.Sprintf("base_url = \"{url}\"\n    client_id = %q\n    client_secret = %q", marketosim.ClientID, marketosim.ClientSecret),
		record: `
    lookup_value = citizen.external_ref
    fields = {
      unsubscribed = !permission.newsletter_email.allowed
      city         = preference.city.known ? preference.city.choices[0] : null
      interests    = join(",", preference.interests.choices)
    }`,
		vendor: vendor,
		holds: func(p person) string {
			lead, known := vendor.Lead("email", p.ref)
			if !known {
				return "unknown"
			}
			city, _ := lead["city"].(string)
			interests, _ := lead["interests"].(string)
			if lead["unsubscribed"] != !p.allowed || city != p.city || interests != strings.Join(slices.Sorted(slices.Values(p.interests)), ",") {
				return fmt.Sprintf("unsubscribed %v, city %q, interests %q", lead["unsubscribed"], city, interests)
			}
			return ""
		},
		absent: func(p person) bool {
			_, known := vendor.Lead("email", p.ref)
			return !known
		},
		refused: "no address",
		expire:  vendor.ExpireToken,
		signsIn: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/identity/") },
	}
}
