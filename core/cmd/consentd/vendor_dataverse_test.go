package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	dataversesim "github.com/consentd/consentd/plugins/dataverse/sim"
)

func dataverseCase(*testing.T) vendorCase {
	vendor := dataversesim.New(nil)
	return vendorCase{
		config: fmt.Sprintf("base_url = \"{url}\"\n    login_url = \"{url}\"\n    tenant_id = %q\n    client_id = %q\n    client_secret = %q\n    resubscribe = \"force\"",
			dataversesim.TenantID, dataversesim.ClientID, dataversesim.ClientSecret),
		record: `
    table = "contacts"
    key   = { acme_cpmid = citizen.id }
    columns = {
      donotemail                 = !permission.newsletter_email.allowed
      address1_city              = preference.city.known ? preference.city.choices[0] : null
      description                = join(",", preference.interests.choices)
      preferredcontactmethodcode = citizen.external_ref == "refused" ? 99 : 2
    }`,
		vendor: vendor,
		holds: func(p person) string {
			row, known := vendor.Row("contacts", "acme_cpmid", p.name)
			if !known {
				return "unknown"
			}
			city, _ := row["address1_city"].(string)
			interests, _ := row["description"].(string)
			if row["donotemail"] != !p.allowed || city != p.city || interests != strings.Join(slices.Sorted(slices.Values(p.interests)), ",") {
				return fmt.Sprintf("do not mail %v, city %q, interests %q", row["donotemail"], city, interests)
			}
			return ""
		},
		absent: func(p person) bool {
			_, known := vendor.Row("contacts", "acme_cpmid", p.name)
			return !known
		},
		refused: "refused",
		expire:  vendor.ExpireTokens,
		signsIn: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/token") },
	}
}
