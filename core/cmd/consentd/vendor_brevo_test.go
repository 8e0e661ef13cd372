package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	brevosim "github.com/consentd/consentd/plugins/brevo/sim"
)

func brevoCase(*testing.T) vendorCase {
	vendor := brevosim.New(nil)
	vendor.DefineLists(36)
	return vendorCase{
		config: fmt.Sprintf("api_key = %q\n    base_url = \"{url}%s\"", brevosim.APIKey, brevosim.BasePath),
		record: `
    email             = citizen.external_ref
    email_blacklisted = !permission.newsletter_email.allowed
    lists             = { "36" = permission.newsletter_email.allowed }
    attributes = {
      INTERESTS = join(",", preference.interests.choices)
      CITY      = preference.city.known ? preference.city.choices[0] : null
    }`,
		vendor: vendor,
		holds: func(p person) string {
			c, known := vendor.Contact(p.ref)
			if !known {
				return "unknown"
			}
			city, _ := c.Attributes["CITY"].(string)
			interests, _ := c.Attributes["INTERESTS"].(string)
			if c.EmailBlacklisted == p.allowed || slices.Contains(c.Lists, 36) != p.allowed || city != p.city ||
				interests != strings.Join(slices.Sorted(slices.Values(p.interests)), ",") {
				return fmt.Sprintf("%+v, want allowed %t", c, p.allowed)
			}
			return ""
		},
		absent: func(p person) bool {
			_, known := vendor.Contact(p.ref)
			return !known
		},
		refused: "somebody@nowhere",
	}
}
