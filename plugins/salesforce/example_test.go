package salesforce

import (
	"maps"
	"testing"

	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// What the rules of examples/salesforce render arrives, whatever comes first.
func TestRecordsOfTheExample(t *testing.T) {
	org := newOrg(t)
	org.Put("Contact", attrs{"Customer_Number__c": "CRM-000417", "LastName": "Jansen"})
	org.Put("ContactPointEmail", attrs{"Customer_Number__c": "CRM-000417", "EmailAddress": "ada@example.org"})
	org.Put("DataUsePurpose", attrs{"Code__c": "newsletter", "Name": "Newsletter"})
	target := mustTarget(t, clientCredentials(org.url))
	contact := func(number string, refuses bool) sdk.Record {
		return plugintest.Record(t, attrs{"object": "Contact", "external_id_field": "Customer_Number__c", "external_id": number, "create": false, "fields": attrs{
			"HasOptedOutOfEmail": refuses, "DoNotCall": true, "Individual": attrs{"CPM_Id__c": "5f0c1a9e7b2d"},
		}})
	}
	capture := func(status string, more attrs) attrs {
		fields := attrs{
			"Name": "Newsletter", "PrivacyConsentStatus": status, "CaptureDate": "2026-03-02T09:14:04Z", "CaptureSource": "web",
			"CaptureContactPointType": "Web", "EffectiveFrom": "2026-03-02T09:14:04.12Z", "EffectiveTo": nil,
		}
		maps.Copy(fields, more)
		return fields
	}
	channel := func(status string) sdk.Record {
		return plugintest.Record(t, attrs{"object": "ContactPointTypeConsent", "external_id_field": "CPM_Id__c", "external_id": "5f0c1a9e7b2d-Email", "create": true,
			"fields": capture(status, attrs{"Party": attrs{"attributes": attrs{"type": "Individual"}, "CPM_Id__c": "5f0c1a9e7b2d"}, "ContactPointType": "Email"})})
	}
	address := func(status, number string) sdk.Record {
		return plugintest.Record(t, attrs{"object": "ContactPointConsent", "external_id_field": "CPM_Id__c", "external_id": number + "-newsletter",
			"fields": capture(status, attrs{
				"ContactPoint":   attrs{"attributes": attrs{"type": "ContactPointEmail"}, "Customer_Number__c": number},
				"DataUsePurpose": attrs{"Code__c": "newsletter"},
			})})
	}
	individual := plugintest.Record(t, attrs{"object": "Individual", "external_id_field": "CPM_Id__c", "external_id": "5f0c1a9e7b2d", "create": true, "fields": attrs{
		"LastName": "CRM-000417", "HasOptedOutSolicit": true, "HasOptedOutProfiling": true,
	}})
	records := []sdk.Record{contact("CRM-000417", false), channel("OptIn"), individual, address("OptIn", "CRM-000417")}
	first := target.Deliver(t.Context(), records)
	expectAll(t, first[:2], sdk.KindRetry, "INVALID_FIELD")
	expectAll(t, first[2:], sdk.KindDelivered, "")
	expectAll(t, target.Deliver(t.Context(), records), sdk.KindDelivered, "")
	row, _ := org.Record("Contact", "Customer_Number__c", "CRM-000417")
	if row["LastName"] != "Jansen" || row["IndividualId"] != first[2].Reference || row["DoNotCall"] != true {
		t.Errorf("contact is %v", row)
	}
	row, _ = org.Record("ContactPointTypeConsent", "CPM_Id__c", "5f0c1a9e7b2d-Email")
	if row["PrivacyConsentStatus"] != "OptIn" || row["PartyId"] != first[2].Reference {
		t.Errorf("consent is %v", row)
	}
	email, _ := org.Record("ContactPointEmail", "Customer_Number__c", "CRM-000417")
	row, _ = org.Record("ContactPointConsent", "CPM_Id__c", "CRM-000417-newsletter")
	if row["PrivacyConsentStatus"] != "OptIn" || row["ContactPointId"] != email["Id"] || row["DataUsePurposeId"] == nil {
		t.Errorf("consent of the address is %v", row)
	}

	// The withdrawal.
	expectAll(t, target.Deliver(t.Context(), []sdk.Record{contact("CRM-000417", true), channel("OptOut"), address("OptOut", "CRM-000417")}), sdk.KindDelivered, "")
	for object, id := range map[string]string{"ContactPointTypeConsent": "5f0c1a9e7b2d-Email", "ContactPointConsent": "CRM-000417-newsletter"} {
		if row, _ := org.Record(object, "CPM_Id__c", id); row["PrivacyConsentStatus"] != "OptOut" {
			t.Errorf("%s is %v", object, row)
		}
	}

	// Somebody whom sales does not know.
	expectAll(t, target.Deliver(t.Context(), []sdk.Record{contact("CRM-9", true), address("OptOut", "CRM-9")}), sdk.KindUnchanged, "")
	expect(t, target.Deliver(t.Context(), []sdk.Record{contact("CRM-9", false)})[0], sdk.KindRejected, "NOT_IN_SALESFORCE")
	expect(t, target.Deliver(t.Context(), []sdk.Record{address("OptIn", "CRM-9")})[0], sdk.KindRetry, "INVALID_FIELD")
}
