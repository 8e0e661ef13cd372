package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	salesforcesim "github.com/consentd/consentd/plugins/salesforce/sim"
)

func salesforceCase(*testing.T) vendorCase {
	vendor := salesforcesim.New(nil)
	return vendorCase{
		config: fmt.Sprintf("login_url = \"{url}\"\n    client_id = %q\n    client_secret = %q", salesforcesim.ClientID, salesforcesim.ClientSecret),
		record: `
    object            = "Contact"
    external_id_field = "CPM_Id__c"
    external_id       = citizen.id
    fields = {
      LastName           = citizen.external_ref == "refused" ? null : "Lovelace"
      HasOptedOutOfEmail = !permission.newsletter_email.allowed
      LeadSource         = preference.city.known ? preference.city.choices[0] : null
      Description        = join(",", preference.interests.choices)
    }`,
		vendor: vendor,
		holds: func(p person) string {
			row, known := vendor.Record("Contact", "CPM_Id__c", p.name)
			if !known {
				return "unknown"
			}
			city, _ := row["LeadSource"].(string)
			interests, _ := row["Description"].(string)
			if row["HasOptedOutOfEmail"] != !p.allowed || city != p.city || interests != strings.Join(slices.Sorted(slices.Values(p.interests)), ",") {
				return fmt.Sprintf("opted out %v, city %q, interests %q", row["HasOptedOutOfEmail"], city, interests)
			}
			return ""
		},
		absent:  func(person) bool { return true },
		refused: "refused",
		expire:  vendor.ExpireSessions,
		signsIn: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/token") },
	}
}
