package main

import (
	"fmt"
	"slices"
	"testing"

	mailchimpsim "github.com/consentd/consentd/plugins/mailchimp/sim"
)

func mailchimpCase(*testing.T) vendorCase {
	vendor := mailchimpsim.New(nil)
	vendor.DefineMergeFields(mailchimpsim.MergeField{Tag: "CITY", Type: "text"})
	return vendorCase{
		config: fmt.Sprintf("api_key = %q\n    list_id = %q\n    base_url = \"{url}%s\"", mailchimpsim.APIKey, mailchimpsim.ListID, mailchimpsim.BasePath),
		record: `
    email        = citizen.external_ref
    status       = permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"
    interests    = { for c in ["jazz", "blues"] : c => contains(preference.interests.choices, c) }
    merge_fields = { CITY = preference.city.known ? preference.city.choices[0] : null }`,
		vendor: vendor,
		holds: func(p person) string {
			m, known := vendor.Member(p.ref)
			if !known {
				return "unknown"
			}
			status := "unsubscribed"
			if p.allowed {
				status = "subscribed"
			}
			city, _ := m.MergeFields["CITY"].(string)
			if m.Status != status || city != p.city {
				return fmt.Sprintf("status %s, city %q; want %s, %q", m.Status, city, status, p.city)
			}
			for _, c := range []string{"jazz", "blues"} {
				if m.Interests[c] != slices.Contains(p.interests, c) {
					return "interest " + c
				}
			}
			return ""
		},
		absent: func(p person) bool {
			_, known := vendor.Member(p.ref)
			return !known
		},
		refused: "no address",
	}
}
