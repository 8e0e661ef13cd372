package salesforce

import (
	"testing"

	"github.com/consentd/consentd/sdk"
)

// What the rules of examples/salesforce render arrives, whatever comes first.
func TestRecordsOfTheExample(t *testing.T) {
	org := newOrg(t)
	org.Put("Contact", attrs{"Customer_Number__c": "CRM-000417", "LastName": "Jansen"})
	target := mustTarget(t, clientCredentials(org.url))
	records := []sdk.Record{
		recordOf(t, attrs{"object": "Contact", "external_id_field": "Customer_Number__c", "external_id": "CRM-000417", "fields": attrs{
			"HasOptedOutOfEmail": false, "DoNotCall": true, "Individual": attrs{"CPM_Id__c": "5f0c1a9e7b2d"},
		}}),
		recordOf(t, attrs{"object": "ContactPointTypeConsent", "external_id_field": "CPM_Id__c", "external_id": "5f0c1a9e7b2d-Email", "fields": attrs{
			"Name": "Newsletter by email", "Party": attrs{"attributes": attrs{"type": "Individual"}, "CPM_Id__c": "5f0c1a9e7b2d"},
			"ContactPointType": "Email", "PrivacyConsentStatus": "OptIn", "CaptureDate": "2026-03-02T09:14:04Z", "CaptureSource": "web",
			"CaptureContactPointType": "Web", "EffectiveFrom": "2026-03-02T09:14:04.12Z", "EffectiveTo": nil,
		}}),
		recordOf(t, attrs{"object": "Individual", "external_id_field": "CPM_Id__c", "external_id": "5f0c1a9e7b2d", "fields": attrs{
			"LastName": "CRM-000417", "HasOptedOutProfiling": false,
		}}),
	}
	first := target.Deliver(t.Context(), records)
	expectAll(t, first[:2], sdk.KindRetry, "INVALID_FIELD")
	expect(t, first[2], sdk.KindDelivered, "")
	expectAll(t, target.Deliver(t.Context(), records), sdk.KindDelivered, "")
	row, _ := org.Record("Contact", "Customer_Number__c", "CRM-000417")
	if row["LastName"] != "Jansen" || row["IndividualId"] != first[2].Reference || row["DoNotCall"] != true {
		t.Errorf("contact is %v", row)
	}
	row, _ = org.Record("ContactPointTypeConsent", "CPM_Id__c", "5f0c1a9e7b2d-Email")
	if row["PrivacyConsentStatus"] != "OptIn" || row["PartyId"] != first[2].Reference {
		t.Errorf("consent is %v", row)
	}
	// Somebody whom sales does not know, and a rule that names nobody.
	unknown := recordOf(t, attrs{"object": "Contact", "external_id_field": "Customer_Number__c", "external_id": "CRM-9", "fields": attrs{"DoNotCall": true}})
	expect(t, target.Deliver(t.Context(), []sdk.Record{unknown})[0], sdk.KindRejected, "REQUIRED_FIELD_MISSING")
}
