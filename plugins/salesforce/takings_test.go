package salesforce

import (
	"testing"

	"github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// An opt-out reaches whom Salesforce holds, whatever Salesforce says to the rest of the record.
func TestTakingAwayIsNotHeldBack(t *testing.T) {
	refuse := sim.RowFault{Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION", Message: "no"}
	for name, test := range map[string]struct {
		fields attrs
		faults int // of the row
		kind   sdk.Kind
		code   string
		taken  bool
	}{
		"a bad address":            {attrs{"HasOptedOutOfEmail": true, "Email": "x"}, 0, sdk.KindRejected, "INVALID_EMAIL_ADDRESS", true},
		"a value of another type":  {attrs{"hasoptedoutofemail": true, "Birthdate": "soon"}, 0, sdk.KindRejected, "JSON_PARSER_ERROR", true},
		"a lookup leads nowhere":   {attrs{"HasOptedOutOfEmail": true, "Individual": attrs{"CPM_Id__c": "nobody"}}, 0, sdk.KindRetry, "INVALID_FIELD", true},
		"a rule, once":             {attrs{"HasOptedOutOfEmail": true, "DoNotCall": false}, 1, sdk.KindRejected, "FIELD_CUSTOM_VALIDATION_EXCEPTION", true},
		"a rule against that too":  {attrs{"HasOptedOutOfEmail": true, "DoNotCall": false}, 2, sdk.KindRejected, "FIELD_CUSTOM_VALIDATION_EXCEPTION", false},
		"nothing else in it":       {attrs{"HasOptedOutOfEmail": true}, 1, sdk.KindRejected, "FIELD_CUSTOM_VALIDATION_EXCEPTION", false},
		"a grant with a bad field": {attrs{"HasOptedOutOfFax": false, "Email": "x"}, 0, sdk.KindRejected, "INVALID_EMAIL_ADDRESS", false},
	} {
		t.Run(name, func(t *testing.T) {
			org := newOrg(t)
			target := mustTarget(t, clientCredentials(org.url))
			org.Put("Contact", attrs{"CPM_Id__c": "known", "LastName": "Jansen", "DoNotCall": true})
			if test.faults > 0 {
				org.FailRow("known", test.faults, refuse)
			}
			of := func(id string) sdk.Record {
				return plugintest.Record(t, attrs{"object": "Contact", "external_id_field": "CPM_Id__c", "external_id": id, "create": true, "fields": test.fields})
			}
			outcomes := target.Deliver(t.Context(), []sdk.Record{of("known"), contact(t, "neighbour", nil)})
			expect(t, outcomes[0], test.kind, test.code)
			expect(t, outcomes[1], sdk.KindDelivered, "")
			row, _ := org.Record("Contact", "CPM_Id__c", "known")
			if taken := row["HasOptedOutOfEmail"] == true; taken != test.taken || row["DoNotCall"] != true {
				t.Errorf("row is %v", row)
			}
		})
	}
}

func TestTakingAwayMakesNobody(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	o := target.Deliver(t.Context(), []sdk.Record{contact(t, "stranger", attrs{"HasOptedOutOfEmail": true, "DoNotCall": false, "Email": "x"})})[0]
	expect(t, o, sdk.KindRejected, "INVALID_EMAIL_ADDRESS")
	if n := len(org.calls(upsertPath)); n != 1 || len(org.lines) > 0 {
		t.Errorf("%d upserts, changed: %q", n, org.lines)
	}
}

// What passes is tried again, with the whole record.
func TestTakingAwayFails(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	org.Put("Contact", attrs{"CPM_Id__c": "known", "LastName": "Jansen"})
	r := contact(t, "known", attrs{"HasOptedOutOfEmail": true, "Email": "x"})
	expect(t, target.Check(t.Context()), sdk.KindDelivered, "")
	org.SetRequestLimit(2) // the question who is there, and the upsert
	expect(t, target.Deliver(t.Context(), []sdk.Record{r})[0], sdk.KindThrottled, "REQUEST_LIMIT_EXCEEDED")
	org.SetRequestLimit(3) // and the question again
	expect(t, target.Deliver(t.Context(), []sdk.Record{r})[0], sdk.KindThrottled, "REQUEST_LIMIT_EXCEEDED")
	org.SetRequestLimit(sim.DefaultRequestLimit)
	expect(t, target.Deliver(t.Context(), []sdk.Record{r})[0], sdk.KindRejected, "INVALID_EMAIL_ADDRESS")
	if row, _ := org.Record("Contact", "CPM_Id__c", "known"); row["HasOptedOutOfEmail"] != true {
		t.Errorf("row is %v", row)
	}
}
