package salesforce

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

var (
	_ sdk.Checker = (*target)(nil)
	_ sdk.Reader  = (*target)(nil)
	_ sdk.Eraser  = (*target)(nil)
	_ sdk.Closer  = (*target)(nil)
)

func TestCheckChangesNothing(t *testing.T) {
	org := newOrg(t)
	expect(t, mustTarget(t, clientCredentials(org.url)).Check(t.Context()), sdk.KindDelivered, "")
	if len(org.lines) != 0 {
		t.Errorf("changes: %q", org.lines)
	}
	for _, e := range org.calls("/services/data/") {
		if e.method != "GET" {
			t.Errorf("%s %s", e.method, e.path)
		}
	}
}

func identity(t *testing.T, object, field, id string) sdk.Record {
	t.Helper()
	return plugintest.Record(t, attrs{"object": object, "external_id_field": field, "external_id": id})
}

func TestRead(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	const odd = `a/b?c=d'e\f %2F ü.x` // goes through a path and a query
	expectAll(t, target.Deliver(t.Context(), []sdk.Record{
		contact(t, "5f0c", attrs{"HasOptedOutOfEmail": true, "HasOptedOutOfFax": false}), contact(t, odd, nil), contact(t, "o'neil\\x@acme.inc", nil),
	}), sdk.KindDelivered, "")
	org.Put("Contact", attrs{"CPM_Id__c": "twice"})
	org.Put("Contact", attrs{"CPM_Id__c": "TWICE"})
	org.Put("Contact", attrs{"CPM_Id__c": "twice.inc"})
	org.Put("Contact", attrs{"CPM_Id__c": "TWICE.inc"})
	readings := target.Read(t.Context(), []sdk.Record{
		identity(t, "Contact", "CPM_Id__c", "5f0c"),
		identity(t, "Contact", "CPM_Id__c", "nobody"),
		identity(t, "Contact", "CPM_Id__c", odd),
		identity(t, "Contact", "CPM_Id__c", "o'neil\\x@acme.inc"),
		identity(t, "Contact", "CPM_Id__c", "twice"),
		identity(t, "Contact", "CPM_Id__c", "twice.inc"),
		identity(t, "Contract2", "CPM_Id__c", "5f0c"),
		identity(t, "Contact", "CPM_Id", "5f0c"),
		identity(t, "Contact", "CPM_Id__c", ""),
	})
	for i, want := range []struct {
		kind  sdk.Kind
		code  string
		found bool
	}{
		{sdk.KindDelivered, "", true},
		{sdk.KindDelivered, "", false},
		{sdk.KindDelivered, "", true},
		{sdk.KindDelivered, "", true},
		{sdk.KindRejected, "DUPLICATE_EXTERNAL_ID", false},
		{sdk.KindRejected, "DUPLICATE_EXTERNAL_ID", false},
		{sdk.KindUnauthorized, "INVALID_TYPE", false},
		{sdk.KindUnauthorized, "INVALID_FIELD", false},
		{sdk.KindRejected, "INVALID_EXTERNAL_ID", false},
	} {
		expect(t, readings[i].Outcome, want.kind, want.code)
		if readings[i].Found != want.found {
			t.Errorf("record %d: found is %t", i, readings[i].Found)
		}
	}
	got := readings[0].Fields
	fields, _ := got["fields"].(map[string]any)
	delete(got, "fields")
	if want := (attrs{"object": "Contact", "external_id_field": "CPM_Id__c", "external_id": "5f0c"}); !reflect.DeepEqual(got, want) {
		t.Errorf("identity is %v", got)
	}
	if fields["HasOptedOutOfEmail"] != true || fields["LastName"] != "Jansen" || fields["DoNotCall"] != false {
		t.Errorf("fields are %v", fields)
	}
	if phone, there := fields["Phone"]; !there || phone != nil {
		t.Errorf("an empty field should read as null: %v", fields)
	}
	for _, name := range []string{"Id", "attributes", "CPM_Id__c"} {
		if _, there := fields[name]; there {
			t.Errorf("fields hold %s", name)
		}
	}
}

func TestErase(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	expectAll(t, target.Deliver(t.Context(), []sdk.Record{
		contact(t, "5f0c2b1a-77aa", nil), contact(t, "o'neil\\x@acme.inc", nil), contact(t, "stays", nil),
	}), sdk.KindDelivered, "")
	records := []sdk.Record{
		identity(t, "Contact", "CPM_Id__c", "5f0c2b1a-77aa"),
		identity(t, "Contact", "CPM_Id__c", "o'neil\\x@acme.inc"), // Salesforce answers 404 to its address
		identity(t, "Contact", "CPM_Id__c", "nobody"),
	}
	for range 2 { // erasing twice is erasing once
		expectAll(t, target.Erase(t.Context(), records), sdk.KindDelivered, "")
	}
	for id, want := range map[string]bool{"5f0c2b1a-77aa": false, "o'neil\\x@acme.inc": false, "stays": true} {
		if _, held := org.Record("Contact", "CPM_Id__c", id); held != want {
			t.Errorf("%s is there: %t", id, held)
		}
	}
	if last := org.lines[3]; !strings.HasSuffix(last, " deleted") {
		t.Errorf("line is %q", last)
	}
	// What was not looked for in the right place is not erased.
	for _, r := range []sdk.Record{identity(t, "Contract2", "CPM_Id__c", "stays"), identity(t, "Contact", "CPM_Id", "stays")} {
		if o := target.Erase(t.Context(), []sdk.Record{r})[0]; o.Kind != sdk.KindUnauthorized {
			t.Errorf("erased where nothing can be: %+v", o)
		}
	}
	org.FailNext(1, sim.Fault{Status: 400, Code: "DELETE_FAILED", Message: "Your attempt to delete Jansen could not be completed"})
	expect(t, target.Erase(t.Context(), []sdk.Record{identity(t, "Contact", "CPM_Id__c", "stays")})[0], sdk.KindRejected, "DELETE_FAILED")
}

func TestVerbsEndWithTheirContext(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	expect(t, target.Check(t.Context()), sdk.KindDelivered, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	records := []sdk.Record{identity(t, "Contact", "CPM_Id__c", "a"), identity(t, "Contact", "CPM_Id__c", "b")}
	expect(t, target.Check(ctx), sdk.KindRetry, "CANCELED")
	expectAll(t, target.Erase(ctx, records), sdk.KindRetry, "CANCELED")
	for _, reading := range target.Read(ctx, records) {
		expect(t, reading.Outcome, sdk.KindRetry, "CANCELED")
	}
}
