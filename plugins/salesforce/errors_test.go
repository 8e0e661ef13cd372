package salesforce

import (
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestMeaningOfErrors(t *testing.T) {
	for _, test := range []struct {
		code, message string
		kind          sdk.Kind
	}{
		{"UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", sdk.KindRetry},
		{"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: execution of BeforeInsert caused by: UNABLE_TO_LOCK_ROW", sdk.KindRetry},
		{"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: execution of BeforeInsert caused by: System.NullPointerException", sdk.KindRejected},
		{"CANNOT_EXECUTE_FLOW_TRIGGER", "The record couldn't be saved: UNABLE_TO_LOCK_ROW", sdk.KindRetry},
		{"CANNOT_EXECUTE_FLOW_TRIGGER", "The record couldn't be saved", sdk.KindRejected},
		{"DUPLICATE_EXTERNAL_ID", "more than one record found for external id field", sdk.KindRejected},
		{"REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", sdk.KindThrottled},
		{"DUPLICATE_VALUE", "duplicate value found: X__c duplicates value on record with id: 003", sdk.KindRetry},
		{"DUPLICATE_VALUE", "Duplicate external id specified: 7", sdk.KindRetry},
		{"DUPLICATE_VALUE", "something else", sdk.KindRejected},
		{"ALL_OR_NONE_OPERATION_ROLLED_BACK", "Record rolled back because not all records were valid", sdk.KindRetry},
		{"PROCESSING_HALTED", "The transaction was rolled back", sdk.KindRetry},
		{"SERVER_UNAVAILABLE", "", sdk.KindRetry},
		{"REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API) Limit exceeded.", sdk.KindThrottled},
		{"INVALID_FIELD", "No such column 'X__c' on sobject of type Contact", sdk.KindUnauthorized},
		{"INVALID_FIELD", "Foreign key external ID: 7 not found for field X__c in entity Individual", sdk.KindRetry},
		{"INVALID_FIELD", "Json Deserialization failed on token 'null'", sdk.KindRejected},
		{"INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", sdk.KindUnauthorized},
		{"INVALID_TYPE", "sObject type 'X' is not supported.", sdk.KindUnauthorized},
		{"NOT_FOUND", "The requested resource does not exist", sdk.KindUnauthorized},
		{"INVALID_EMAIL_ADDRESS", "Email: invalid email address: x", sdk.KindRejected},
		{"FIELD_CUSTOM_VALIDATION_EXCEPTION", "no", sdk.KindRejected},
		{"REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", sdk.KindRejected},
		{"CANNOT_UPDATE_CONVERTED_LEAD", "", sdk.KindRejected},
		{"ENTITY_IS_DELETED", "entity is deleted", sdk.KindRejected},
		{"DUPLICATES_DETECTED", "Use one of these records?", sdk.KindRejected},
	} {
		// Two names for one idea: of a row, and of a whole call.
		for _, e := range []apiError{{StatusCode: test.code, Message: test.message}, {ErrorCode: test.code, Message: test.message}} {
			expect(t, e.outcome(), test.kind, test.code)
		}
	}
}

func TestWorstErrorOfARow(t *testing.T) {
	lock, limit := apiError{StatusCode: "UNABLE_TO_LOCK_ROW"}, apiError{StatusCode: "REQUEST_LIMIT_EXCEEDED"}
	address, field := apiError{StatusCode: "INVALID_EMAIL_ADDRESS"}, apiError{StatusCode: "INVALID_FIELD"}
	expect(t, worst([]apiError{lock, address}), sdk.KindRejected, "INVALID_EMAIL_ADDRESS")
	expect(t, worst([]apiError{address, lock}), sdk.KindRejected, "INVALID_EMAIL_ADDRESS")
	expect(t, worst([]apiError{address, limit, lock}), sdk.KindThrottled, "REQUEST_LIMIT_EXCEEDED")
	expect(t, worst([]apiError{limit, field, address}), sdk.KindUnauthorized, "INVALID_FIELD")
	expect(t, worst(nil), sdk.KindRetry, "NO_ERROR")
}

func TestFieldNamesOnly(t *testing.T) {
	o := apiError{StatusCode: "INVALID one@two.example", Fields: []string{"Email", "one two", "a@b", "X__c"}}.outcome()
	if o.Code != "UNKNOWN_ERROR" || !strings.HasSuffix(o.Message, "(fields: Email, X__c)") {
		t.Errorf("outcome is %+v", o)
	}
}

// Salesforce repeats what it was sent; outcomes do not.
func TestMessagesHoldNoValues(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	org.Poison("secret-id")
	org.FailRow("secret-rule", 1, sim.RowFault{Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION", Message: "secret-value is not allowed", Fields: []string{"secret value"}})
	records := []sdk.Record{
		contact(t, "secret-id", nil),
		contact(t, "secret-rule", nil),
		contact(t, "secret-a", attrs{"Email": "secret-address"}),
		contact(t, "secret-b", attrs{"Birthdate": "secret-date"}),
		contact(t, "secret-c", attrs{"IndividualId": "secret-reference"}),
		contact(t, "secret-d", attrs{"Individual": attrs{"CPM_Id__c": "secret-person"}}),
		plugintest.Record(t, attrs{"object": "secret object", "external_id_field": "CPM_Id__c", "external_id": "secret-e"}),
	}
	for i, o := range target.Deliver(t.Context(), records) {
		if o.Kind.Done() || o.Code == "" || o.Message == "" {
			t.Errorf("record %d: %+v", i, o)
		}
		if strings.Contains(o.Message+o.Code, "secret") {
			t.Errorf("record %d: the outcome holds a value: %s: %s", i, o.Code, o.Message)
		}
	}
}
