package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	salesforcesim "github.com/consentd/consentd/plugins/salesforce/sim"
)

// A contact, the data privacy record that it is linked to, and the consent record of that.
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
      Individual         = { CPM_Id__c = citizen.id }
      HasOptedOutOfEmail = !permission.newsletter_email.allowed
      LeadSource         = preference.city.known ? preference.city.choices[0] : null
      Description        = join(",", preference.interests.choices)
    }`,
		rules: `
rule "individual" {
  source = source.dataguard
  target = target.vendor

  record {
    object            = "Individual"
    external_id_field = "CPM_Id__c"
    external_id       = citizen.id
    fields = {
      LastName           = citizen.id
      HasOptedOutSolicit = !permission.newsletter_email.allowed
    }
  }
}

rule "consent" {
  source = source.dataguard
  target = target.vendor
  when   = permission.newsletter_email.known

  record {
    object            = "ContactPointTypeConsent"
    external_id_field = "CPM_Id__c"
    external_id       = "${citizen.id}-Email"
    fields = {
      Name                 = "Newsletter"
      Party                = { attributes = { type = "Individual" }, CPM_Id__c = citizen.id }
      ContactPointType     = "Email"
      PrivacyConsentStatus = permission.newsletter_email.allowed ? "OptIn" : "OptOut"
      CaptureDate          = permission.newsletter_email.recorded_at
      EffectiveTo          = permission.newsletter_email.valid_until
    }
  }
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
			individual, known := vendor.Record("Individual", "CPM_Id__c", p.name)
			if !known || individual["HasOptedOutSolicit"] != !p.allowed || row["IndividualId"] != individual["Id"] {
				return fmt.Sprintf("individual %v of contact %v", individual, row)
			}
			status := "OptOut"
			if p.allowed {
				status = "OptIn"
			}
			consent, known := vendor.Record("ContactPointTypeConsent", "CPM_Id__c", p.name+"-Email")
			if !known || consent["PrivacyConsentStatus"] != status || consent["PartyId"] != individual["Id"] {
				return fmt.Sprintf("consent %v, want %s", consent, status)
			}
			return ""
		},
		absent: func(p person) bool {
			for object, id := range map[string]string{"Contact": p.name, "Individual": p.name, "ContactPointTypeConsent": p.name + "-Email"} {
				if _, known := vendor.Record(object, "CPM_Id__c", id); known {
					return false
				}
			}
			return true
		},
		refused: "refused",
		expire:  vendor.ExpireSessions,
		signsIn: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/token") },
	}
}
