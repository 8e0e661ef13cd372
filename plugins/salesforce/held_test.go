package salesforce

import (
	"fmt"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// What becomes of a record that Salesforce does not hold.
func TestUnknownRecord(t *testing.T) {
	yes, no := true, false
	for _, test := range []struct {
		name       string
		fields     attrs
		withdrawal bool
		config     bool
		create     *bool
		kind       sdk.Kind
		code       string
	}{
		{"a grant", attrs{"HasOptedOutOfEmail": false}, false, false, nil, sdk.KindDelivered, ""},
		{"one of two is a grant", attrs{"HasOptedOutOfEmail": true, "DoNotCall": false}, true, false, nil, sdk.KindDelivered, ""},
		{"an opt-out", attrs{"HasOptedOutOfEmail": true}, true, false, nil, sdk.KindUnchanged, ""},
		{"an opt-out that is no news", attrs{"hasoptedoutofemail": true, "DoNotCall": true}, false, false, nil, sdk.KindUnchanged, ""},
		{"a withdrawal in custom fields", attrs{"Newsletter__c": false}, true, false, nil, sdk.KindUnchanged, ""},
		{"custom fields", attrs{"Newsletter__c": false}, false, false, nil, sdk.KindDelivered, ""},
		{"an opt-out, create in config", attrs{"HasOptedOutOfEmail": true}, true, true, nil, sdk.KindDelivered, ""},
		{"an opt-out, create in the record", attrs{"HasOptedOutOfEmail": true}, true, false, &yes, sdk.KindDelivered, ""},
		{"the record outweighs the config", attrs{"HasOptedOutOfEmail": true}, true, true, &no, sdk.KindUnchanged, ""},
		{"a grant, not to be created", attrs{"HasOptedOutOfEmail": false}, false, true, &no, sdk.KindRejected, "NOT_IN_SALESFORCE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			org := newOrg(t)
			config := clientCredentials(org.url)
			config["create"] = test.config
			target := mustTarget(t, config)
			test.fields["LastName"] = "Jansen"
			content := attrs{"object": "Contact", "external_id_field": "CPM_Id__c", "external_id": "5f0c", "fields": test.fields}
			if test.create != nil {
				content["create"] = *test.create
			}
			r := plugintest.Record(t, content)
			r.Withdrawal = test.withdrawal
			expect(t, target.Deliver(t.Context(), []sdk.Record{r})[0], test.kind, test.code)
			if _, held := org.Record("Contact", "CPM_Id__c", "5f0c"); held != (test.kind == sdk.KindDelivered) {
				t.Errorf("the contact is there: %t", held)
			}
			// Whom Salesforce holds is brought to it in every case.
			org.Put("Contact", attrs{"CPM_Id__c": "5F0C", "LastName": "Jansen"})
			if test.kind == sdk.KindDelivered {
				return
			}
			expect(t, target.Deliver(t.Context(), []sdk.Record{r})[0], sdk.KindDelivered, "")
			row, _ := org.Record("Contact", "CPM_Id__c", "5F0C")
			for name, value := range test.fields {
				if !strings.EqualFold(name, "HasOptedOutOfEmail") && row[name] != value {
					t.Errorf("%s is %v", name, row[name])
				}
			}
		})
	}
}

// A consent object refuses with its status.
func TestUnknownConsent(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	for status, kind := range map[string]sdk.Kind{"OptIn": sdk.KindDelivered, "OptOut": sdk.KindUnchanged, "NotSeen": sdk.KindUnchanged} {
		o := target.Deliver(t.Context(), []sdk.Record{plugintest.Record(t, attrs{"object": "ContactPointConsent", "external_id_field": "CPM_Id__c",
			"external_id": status, "fields": attrs{"Name": status, "PrivacyConsentStatus": status, "ContactPointId": "9VlSIM000000001AAA"}})})
		expect(t, o[0], kind, "")
	}
}

// 200 opt-outs, of which half are known, take two requests, and each record has its own outcome.
func TestOptOutsInOneCall(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	var records []sdk.Record
	id := func(i int) string { return fmt.Sprintf("%s-'%%\\%d", strings.Repeat("é", 100), i) } // longer than an address may be, all together
	for i := range maxRows {
		if i%2 == 0 {
			org.Put("Contact", attrs{"CPM_Id__c": id(i), "LastName": "Jansen"})
		}
		records = append(records, contact(t, id(i), attrs{"HasOptedOutOfEmail": true}))
	}
	org.LockRow(id(10), 1)
	for i, o := range target.Deliver(t.Context(), records) {
		switch {
		case i == 10:
			expect(t, o, sdk.KindRetry, "UNABLE_TO_LOCK_ROW")
		case i%2 == 0:
			expect(t, o, sdk.KindDelivered, "")
		default:
			expect(t, o, sdk.KindUnchanged, "")
		}
	}
	if n := len(org.calls("/composite/")); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	if n := len(org.lines); n != maxRows/2-1 {
		t.Errorf("%d rows changed", n)
	}
}

// When it cannot be asked who is there, nobody is made.
func TestAskingFails(t *testing.T) {
	optOut := func(object, id string) sdk.Record {
		return plugintest.Record(t, attrs{"object": object, "external_id_field": "CPM_Id__c", "external_id": id, "fields": attrs{"LastName": "x", "DoNotCall": true}})
	}
	for name, test := range map[string]struct {
		fault  sim.Fault
		object string
		kind   sdk.Kind
		code   string
	}{
		"limit":          {sim.Fault{Status: 403, Code: "REQUEST_LIMIT_EXCEEDED"}, "Contact", sdk.KindThrottled, "REQUEST_LIMIT_EXCEEDED"},
		"server error":   {sim.Fault{Status: 500, Code: "UNKNOWN_EXCEPTION"}, "Contact", sdk.KindRetry, "UNKNOWN_EXCEPTION"},
		"page":           {sim.Fault{Status: 200}, "Contact", sdk.KindRetry, "UNREADABLE_ANSWER"},
		"unknown object": {sim.Fault{}, "Contract2", sdk.KindUnauthorized, "INVALID_TYPE"},
	} {
		t.Run(name, func(t *testing.T) {
			org := newOrg(t)
			target := mustTarget(t, clientCredentials(org.url))
			if test.fault.Status != 0 {
				org.FailNext(1, test.fault)
			}
			expectAll(t, target.Deliver(t.Context(), []sdk.Record{optOut(test.object, "a"), optOut(test.object, "b")}), test.kind, test.code)
			if len(org.lines) > 0 {
				t.Errorf("changed: %q", org.lines)
			}
		})
	}
	// Ids that are not unique fill more than one answer: then fewer are asked for at a time.
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	for range 2000 {
		org.Put("Contact", attrs{"CPM_Id__c": "a"})
	}
	org.Put("Contact", attrs{"CPM_Id__c": "b", "LastName": "Jansen"})
	outcomes := target.Deliver(t.Context(), []sdk.Record{optOut("Contact", "a"), optOut("Contact", "b")})
	expect(t, outcomes[0], sdk.KindRejected, "DUPLICATE_EXTERNAL_ID")
	expect(t, outcomes[1], sdk.KindDelivered, "")
}
