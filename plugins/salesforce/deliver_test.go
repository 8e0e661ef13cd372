package salesforce

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

const upsertPath = "/composite/sobjects/"

func TestUpsert(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	o := target.Deliver(t.Context(), []sdk.Record{contact(t, "5f0c2b1a-77aa", attrs{"HasOptedOutOfEmail": false})})[0]
	expect(t, o, sdk.KindDelivered, "")
	row, _ := org.Record("Contact", "CPM_Id__c", "5f0c2b1a-77aa")
	if row["Id"] != o.Reference || o.Reference == "" {
		t.Errorf("reference is %q, the record's id %v", o.Reference, row["Id"])
	}
	if row["HasOptedOutOfEmail"] != false {
		t.Errorf("row is %v", row)
	}
	want := "Contact CPM_Id__c=5f0c2b1a... HasOptedOutOfEmail=false LastName=Jansen"
	if len(org.lines) != 1 || org.lines[0] != want {
		t.Errorf("lines are %q, want %q", org.lines, want)
	}
	// Twice equals once: the same record, the same reference, no change.
	again := target.Deliver(t.Context(), []sdk.Record{contact(t, "5f0c2b1a-77aa", attrs{"HasOptedOutOfEmail": false})})[0]
	if again.Reference != o.Reference || len(org.lines) != 1 {
		t.Errorf("delivered again: %+v, lines %q", again, org.lines)
	}
}

func TestNullAbsentFalse(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	deliver := func(fields attrs) map[string]any {
		t.Helper()
		expect(t, target.Deliver(t.Context(), []sdk.Record{contact(t, "5f0c", fields)})[0], sdk.KindDelivered, "")
		row, _ := org.Record("Contact", "CPM_Id__c", "5f0c")
		return row
	}
	deliver(attrs{"Phone": "+31 20 1234567", "HasOptedOutOfEmail": true, "HasOptedOutOfFax": false, "DoNotCall": true})
	row := deliver(attrs{"Phone": nil, "HasOptedOutOfEmail": false})
	if _, there := row["Phone"]; there {
		t.Errorf("a null did not clear: %v", row)
	}
	if row["HasOptedOutOfEmail"] != false || row["DoNotCall"] != true {
		t.Errorf("false is false and absent is left alone, got %v", row)
	}
}

// Numbers arrive as they were written.
func TestExactNumbers(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	r := sdk.Record{Fields: json.RawMessage(`{"object":"Contact","external_id_field":"CPM_Id__c","external_id":"5f0c","fields":{"LastName":"x","Big__c":9007199254740993}}`)}
	expect(t, target.Deliver(t.Context(), []sdk.Record{r})[0], sdk.KindDelivered, "")
	if row, _ := org.Record("Contact", "CPM_Id__c", "5f0c"); fmt.Sprint(row["Big__c"]) != "9007199254740993" {
		t.Errorf("number is %v", row["Big__c"])
	}
}

func TestPartialSuccess(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	org.LockRow("locked", 1)
	org.FailRow("flow", 1, sim.RowFault{Code: "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
		Message: "ContactTrigger: execution of AfterUpdate caused by: System.DmlException: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access"})
	org.FailRow("race", 1, sim.RowFault{Code: "DUPLICATE_VALUE", Message: "duplicate value found: CPM_Id__c duplicates value on record with id: 003000000000001"})
	records := []sdk.Record{
		contact(t, "good", nil),
		contact(t, "address", attrs{"Email": "not-an-address"}),
		contact(t, "locked", nil),
		contact(t, "flow", nil),
		contact(t, "race", nil),
		contact(t, "long", attrs{"FirstName": strings.Repeat("x", 41)}),
		plugintest.Record(t, attrs{"object": "Contact", "external_id_field": "CPM_Id__c", "external_id": "nameless"}),
		contact(t, "also good", nil),
	}
	outcomes := target.Deliver(t.Context(), records)
	expect(t, outcomes[0], sdk.KindDelivered, "")
	expect(t, outcomes[1], sdk.KindRejected, "INVALID_EMAIL_ADDRESS")
	expect(t, outcomes[2], sdk.KindRetry, "UNABLE_TO_LOCK_ROW")
	expect(t, outcomes[3], sdk.KindRetry, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY")
	expect(t, outcomes[4], sdk.KindRetry, "DUPLICATE_VALUE")
	expect(t, outcomes[5], sdk.KindRejected, "STRING_TOO_LONG")
	expect(t, outcomes[6], sdk.KindRejected, "REQUIRED_FIELD_MISSING")
	expect(t, outcomes[7], sdk.KindDelivered, "")
	if !strings.Contains(outcomes[6].Message, "LastName") {
		t.Errorf("the message does not name the field: %s", outcomes[6].Message)
	}
	if n := len(org.calls(upsertPath)); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	// What is retried goes through the next time.
	expectAll(t, target.Deliver(t.Context(), records[2:5]), sdk.KindDelivered, "")
}

func TestGroupsKeepTheRecordsOrder(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	var records []sdk.Record
	for i := range 6 {
		object, field := "Contact", "CPM_Id__c"
		if i%2 == 1 {
			object = "Individual"
		}
		if i%3 == 2 {
			field = "Other_Id__c"
		}
		records = append(records, plugintest.Record(t, attrs{"object": object, "external_id_field": field,
			"external_id": fmt.Sprint("id", i), "fields": attrs{"LastName": "Jansen"}}))
	}
	outcomes := target.Deliver(t.Context(), records)
	for i, r := range records {
		var fields struct {
			Object string `json:"object"`
			Field  string `json:"external_id_field"`
		}
		if err := r.Decode(&fields); err != nil {
			t.Fatal(err)
		}
		row, _ := org.Record(fields.Object, fields.Field, fmt.Sprint("id", i))
		if outcomes[i].Reference == "" || row["Id"] != outcomes[i].Reference {
			t.Errorf("record %d: reference %q, row %v", i, outcomes[i].Reference, row)
		}
	}
	if n := len(org.calls(upsertPath)); n != 4 {
		t.Errorf("%d calls for 4 groups", n)
	}
}

// In one call Salesforce fails every row of an id that stands there twice, in whatever case.
func TestSameExternalIDTwice(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	outcomes := target.Deliver(t.Context(), []sdk.Record{
		contact(t, "abc", attrs{"Phone": "1"}), contact(t, "other", nil),
		contact(t, "ABC", attrs{"Phone": "2"}), contact(t, "abc", attrs{"Phone": "3"}),
	})
	expectAll(t, outcomes, sdk.KindDelivered, "")
	if row, _ := org.Record("Contact", "CPM_Id__c", "abc"); row["Phone"] != "3" {
		t.Errorf("the last one does not stand: %v", row)
	}
	if n := len(org.calls(upsertPath)); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

func TestMoreRowsThanOneCallTakes(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	var records []sdk.Record
	for i := range 2*maxRows + 1 {
		records = append(records, contact(t, fmt.Sprint("id", i), nil))
	}
	expectAll(t, target.Deliver(t.Context(), records), sdk.KindDelivered, "")
	if n := len(org.calls(upsertPath)); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

func TestConfigurationMistakesPauseTheTarget(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	for name, test := range map[string]struct {
		record sdk.Record
		code   string
	}{
		"unknown field":             {contact(t, "5f0c", attrs{"HasOptedOutOfMail": true}), "INVALID_FIELD"},
		"unknown object":            {plugintest.Record(t, attrs{"object": "Contract2", "external_id_field": "CPM_Id__c", "external_id": "5f0c"}), "NOT_FOUND"},
		"unknown external id field": {plugintest.Record(t, attrs{"object": "Contact", "external_id_field": "CPM_Id", "external_id": "5f0c"}), "NOT_FOUND"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, target.Deliver(t.Context(), []sdk.Record{test.record})[0], sdk.KindUnauthorized, test.code)
		})
	}
	o := target.Deliver(t.Context(), []sdk.Record{contact(t, "5f0c", attrs{"HasOptedOutOfMail": true})})[0]
	if !strings.Contains(o.Message, "HasOptedOutOfMail") {
		t.Errorf("the message does not name the field: %s", o.Message)
	}
	// Also as the error of a row, which is how field-level security shows up.
	org.FailRow("hidden", 1, sim.RowFault{Code: "INVALID_FIELD_FOR_INSERT_UPDATE", Fields: []string{"HasOptedOutOfEmail"}})
	expect(t, target.Deliver(t.Context(), []sdk.Record{contact(t, "hidden", nil)})[0], sdk.KindUnauthorized, "INVALID_FIELD_FOR_INSERT_UPDATE")
	wrong := clientCredentials(org.url)
	wrong["api_version"] = "v199.0"
	expect(t, mustTarget(t, wrong).Check(t.Context()), sdk.KindUnauthorized, "NOT_FOUND")
}

// One row that fails the whole call costs its neighbours nothing.
func TestPoisonRowIsIsolated(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	org.Poison("poison")
	var records []sdk.Record
	for i := range maxRows {
		records = append(records, contact(t, fmt.Sprint("id", i), nil))
	}
	records[17] = contact(t, "poison", nil)
	records[130] = contact(t, "flag", attrs{"HasOptedOutOfEmail": "yes"})
	for i, o := range target.Deliver(t.Context(), records) {
		if i == 17 || i == 130 {
			expect(t, o, sdk.KindRejected, "JSON_PARSER_ERROR")
		} else {
			expect(t, o, sdk.KindDelivered, "")
		}
	}
	if n := len(org.calls(upsertPath)); n > 33 {
		t.Errorf("%d calls to find two rows in %d", n, maxRows)
	}
}

func TestWholeCallFailures(t *testing.T) {
	for name, test := range map[string]struct {
		fault sim.Fault
		kind  sdk.Kind
		code  string
	}{
		"request limit":       {sim.Fault{Status: 403, Code: "REQUEST_LIMIT_EXCEEDED", Message: "TotalRequests Limit exceeded."}, sdk.KindThrottled, "REQUEST_LIMIT_EXCEEDED"},
		"server error":        {sim.Fault{Status: 500, Code: "UNKNOWN_EXCEPTION", Message: "An unexpected error occurred."}, sdk.KindRetry, "UNKNOWN_EXCEPTION"},
		"unavailable":         {sim.Fault{Status: 503, Code: "SERVER_UNAVAILABLE"}, sdk.KindRetry, "SERVER_UNAVAILABLE"},
		"maintenance page":    {sim.Fault{Status: 503}, sdk.KindRetry, "HTTP_503"},
		"page with status OK": {sim.Fault{Status: 200}, sdk.KindRetry, "UNREADABLE_ANSWER"},
		"page with a 400":     {sim.Fault{Status: 400}, sdk.KindRetry, "HTTP_400"},
		"unknown 403":         {sim.Fault{Status: 403, Code: "SOMETHING_NEW"}, sdk.KindUnauthorized, "SOMETHING_NEW"},
		"redirect":            {sim.Fault{Status: 302}, sdk.KindUnauthorized, "HTTP_302"},
		"gone":                {sim.Fault{Status: 410, Code: "UNSUPPORTED_API_VERSION"}, sdk.KindUnauthorized, "UNSUPPORTED_API_VERSION"},
		"cut":                 {sim.Fault{Cut: true}, sdk.KindRetry, "NETWORK"},
		"cut after the work":  {sim.Fault{Cut: true, After: true}, sdk.KindRetry, "NETWORK"},
	} {
		t.Run(name, func(t *testing.T) {
			org := newOrg(t)
			target := mustTarget(t, clientCredentials(org.url))
			records := []sdk.Record{contact(t, "a", nil), contact(t, "b", nil), contact(t, "c", nil)}
			expectAll(t, target.Deliver(t.Context(), nil), sdk.KindDelivered, "")
			org.FailNext(1, test.fault)
			expectAll(t, target.Deliver(t.Context(), records), test.kind, test.code)
			if n := len(org.calls(upsertPath)); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
			expectAll(t, target.Deliver(t.Context(), records), sdk.KindDelivered, "")
		})
	}
}

func TestRequestLimit(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	org.SetRequestLimit(1)
	expect(t, target.Deliver(t.Context(), []sdk.Record{contact(t, "a", nil)})[0], sdk.KindDelivered, "")
	expect(t, target.Deliver(t.Context(), []sdk.Record{contact(t, "a", nil)})[0], sdk.KindThrottled, "REQUEST_LIMIT_EXCEEDED")
	org.SetRequestLimit(sim.DefaultRequestLimit)
	expect(t, target.Deliver(t.Context(), []sdk.Record{contact(t, "a", nil)})[0], sdk.KindDelivered, "")
}

func TestAnswersThatDoNotFit(t *testing.T) {
	for answer, code := range map[string]string{
		`[{"id":"003","success":true,"errors":[]}]`: "ROW_COUNT_MISMATCH",
		`[]`:             "ROW_COUNT_MISMATCH",
		`{"id":"003"}`:   "UNREADABLE_ANSWER",
		`not JSON`:       "UNREADABLE_ANSWER",
		`[{},{}]`:        "NO_ERROR",
		`[{"id":"1"`:     "UNREADABLE_ANSWER",
		`[null, "text"]`: "UNREADABLE_ANSWER",
	} {
		org := newOrg(t)
		url := plugintest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, upsertPath) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = w.Write([]byte(answer))
				return
			}
			org.ServeHTTP(w, r)
		})
		target := mustTarget(t, clientCredentials(url))
		outcomes := target.Deliver(t.Context(), []sdk.Record{contact(t, "a", nil), contact(t, "b", nil)})
		expectAll(t, outcomes, sdk.KindRetry, code)
	}
}

func TestRecordsThatCannotBeSent(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	base := func(change attrs) sdk.Record {
		fields := attrs{"object": "Contact", "external_id_field": "CPM_Id__c", "external_id": "5f0c"}
		for name, v := range change {
			fields[name] = v
		}
		return plugintest.Record(t, fields)
	}
	for _, test := range []struct {
		record sdk.Record
		code   string
	}{
		{base(attrs{"object": "Contact/../Lead"}), "INVALID_OBJECT"},
		{base(attrs{"object": nil}), "INVALID_OBJECT"},
		{base(attrs{"external_id_field": "Id"}), "INVALID_EXTERNAL_ID_FIELD"},
		{base(attrs{"external_id_field": "CPM Id"}), "INVALID_EXTERNAL_ID_FIELD"},
		{base(attrs{"external_id": ""}), "INVALID_EXTERNAL_ID"},
		{base(attrs{"external_id": "a\nb"}), "INVALID_EXTERNAL_ID"},
		{base(attrs{"external_id": " a"}), "INVALID_EXTERNAL_ID"},
		{base(attrs{"external_id": strings.Repeat("a", 256)}), "INVALID_EXTERNAL_ID"},
		{base(attrs{"external_id": 7}), "INVALID_RECORD"},
		{base(attrs{"fields": attrs{"cpm_id__C": "5f0c"}}), "EXTERNAL_ID_IN_FIELDS"},
		{base(attrs{"fields": attrs{"id": "003"}}), "ID_IN_FIELDS"},
		{base(attrs{"fields": attrs{"attributes": attrs{"type": "Lead"}}}), "ATTRIBUTES_IN_FIELDS"},
		{sdk.Record{Fields: json.RawMessage(`[]`)}, "INVALID_RECORD"},
	} {
		outcomes := target.Deliver(t.Context(), []sdk.Record{contact(t, "good", nil), test.record})
		expect(t, outcomes[0], sdk.KindDelivered, "")
		expect(t, outcomes[1], sdk.KindRejected, test.code)
	}
}

// A consent may come before the person that it belongs to; it waits, and its neighbours do not.
func TestLookupByExternalID(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	consent := func(id, party string) sdk.Record {
		return plugintest.Record(t, attrs{"object": "ContactPointTypeConsent", "external_id_field": "CPM_Id__c", "external_id": id,
			"fields": attrs{"Name": "newsletter", "ContactPointType": "Email", "PrivacyConsentStatus": "OptIn",
				"CaptureDate": "2026-11-01T10:00:00Z", "CaptureSource": "DataGuard",
				"Party": attrs{"attributes": attrs{"type": "Individual"}, "CPM_Id__c": party}}})
	}
	individual := plugintest.Record(t, attrs{"object": "Individual", "external_id_field": "CPM_Id__c", "external_id": "p1", "fields": attrs{"LastName": "p1"}})
	outcomes := target.Deliver(t.Context(), []sdk.Record{consent("p1-email", "p1"), individual})
	expect(t, outcomes[0], sdk.KindRetry, "INVALID_FIELD")
	expect(t, outcomes[1], sdk.KindDelivered, "")
	expect(t, target.Deliver(t.Context(), []sdk.Record{consent("p1-email", "p1")})[0], sdk.KindDelivered, "")
	row, _ := org.Record("ContactPointTypeConsent", "CPM_Id__c", "p1-email")
	if row["PartyId"] != outcomes[1].Reference {
		t.Errorf("PartyId is %v, want %s", row["PartyId"], outcomes[1].Reference)
	}
	// The same as the answer to a whole call.
	missing := sim.Fault{Status: 400, Code: "INVALID_FIELD", Message: "Foreign key external ID: p9 not found for field CPM_Id__c in entity Individual"}
	org.FailNext(1, missing)
	expectAll(t, target.Deliver(t.Context(), []sdk.Record{consent("p1-email", "p1"), individual, consent("p1-web", "p1")}), sdk.KindDelivered, "")
	org.FailNext(1, missing)
	expect(t, target.Deliver(t.Context(), []sdk.Record{consent("p1-email", "p1")})[0], sdk.KindRetry, "INVALID_FIELD")
}
