package dataverse

import (
	"net/http"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// What the codes of an operation mean. No message holds what the vendor repeats of the request.
func TestErrorsOfOperations(t *testing.T) {
	const payload = "Error identified in Payload provided by the user for Entity :'contacts', For more information on this error please follow this help link  ---->  InnerException : Microsoft.OData.ODataException: "
	for _, tc := range []struct {
		status        int
		code, message string
		kind          sdk.Kind
		want, names   string
	}{
		{400, "0x80044331", "A validation error occurred.  The length of the 'subject' attribute of the 'task' entity exceeded the maximum allowed length of '200'.", sdk.KindRejected, "0x80044331", "(subject)"},
		{400, "0x80048d19", payload + "The property 'donotmail' does not exist on type 'Microsoft.Dynamics.CRM.contact'.", sdk.KindUnauthorized, "0x80048d19", "(donotmail)"},
		{400, "0x80048d19", payload + "An undeclared property 'parent' which only has property annotations in the payload but no property value was found in the payload.", sdk.KindUnauthorized, "0x80048d19", "(parent)"},
		{400, "0x0", "Invalid property 'donotmail' was found in entity 'Microsoft.Dynamics.CRM.contact'.", sdk.KindUnauthorized, "HTTP_400", "(donotmail)"},
		{400, "0x0", "Could not find a property named 'Name' on type 'Microsoft.Dynamics.CRM.contact'.", sdk.KindUnauthorized, "HTTP_400", "(Name)"},
		{400, "0x80060888", "Could not find a property named 'Name' on type 'Microsoft.Dynamics.CRM.contact'.", sdk.KindUnauthorized, "0x80060888", "(Name)"},
		{404, "0x8006088a", "Resource not found for the segment 'contact'.", sdk.KindUnauthorized, "0x8006088a", "(contact)"},
		{404, "", "Resource not found for the segment 'contact'.", sdk.KindUnauthorized, "HTTP_404", "(contact)"},
		{400, "0x8006088a", "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.contact'. Ensure that the names and number of key properties match the declared or alternate key properties for the resource 'Microsoft.Dynamics.CRM.contact'.", sdk.KindUnauthorized, "0x8006088a", ""},
		{400, "0x80060888", "The specified key attributes are not a defined key for the contact entity", sdk.KindUnauthorized, "0x80060888", ""},
		{400, "0x8006088a", "Bad Request - Error in query syntax.", sdk.KindRejected, "0x8006088a", ""},
		{400, "0x80048d19", payload + "Cannot convert the literal 'ann@example.com' to the expected type 'Edm.Boolean'.", sdk.KindRejected, "0x80048d19", ""},
		{400, "0x80040265", "ann@example.com is on the list of the plug-in", sdk.KindRejected, "0x80040265", ""},
		{412, "0x80060892", "Entity Key violated. A record with the same value for emailaddress1 already exists: ann@example.com", sdk.KindRejected, "0x80060892", ""},
		{412, "0x80040333", "A duplicate of this record already exists.", sdk.KindRejected, "0x80040333", ""},
		{412, "0x80040237", "Cannot insert duplicate key.", sdk.KindRejected, "0x80040237", ""},
		{412, "0x80060882", "The version of the existing record doesn't match the RowVersion property provided.", sdk.KindRetry, "0x80060882", ""},
		{400, "0x80044150", "Sql error: Generic SQL error.", sdk.KindRetry, "0x80044150", ""},
		{500, "0x80044151", "SQL timeout expired.", sdk.KindRetry, "0x80044151", ""},
		{500, "", "An unexpected error occurred", sdk.KindRetry, "HTTP_500", ""},
		{503, "", "away", sdk.KindRetry, "HTTP_503", ""},
		{403, "0x80040220", "SecLib::AccessCheckEx failed", sdk.KindUnauthorized, "0x80040220", ""},
		{403, "0x80048306", "Principal with id 1 does not have WriteAccess right(s) for record with id 2 of entity contact", sdk.KindUnauthorized, "0x80048306", ""},
		{400, "0x80072322", "Number of requests exceeded", sdk.KindThrottled, "0x80072322", ""},
		{422, "ann@example.com", "ann@example.com", sdk.KindRejected, "HTTP_422", ""},
	} {
		e := newEnvironment(t)
		target := mustTarget(t, config(e.url, attrs{"resubscribe": "force"}))
		e.FailOperation("PATCH", 1, sim.Fault{Status: tc.status, Code: tc.code, Message: tc.message})
		o := deliver(t, target, contact(t, "5f0c", attrs{"donotemail": false}))
		expect(t, o, tc.kind, tc.want)
		if strings.Contains(o.Message, "ann@") || strings.Contains(o.Message, "Principal") {
			t.Errorf("%s: the message repeats the vendor's: %s", tc.want, o.Message)
		}
		if !strings.Contains(o.Message, tc.names) || tc.names == "" && strings.Contains(o.Message, "(") {
			t.Errorf("%s: the message should name %s: %s", tc.want, tc.names, o.Message)
		}
	}
}

// The simulator's own checks, through the plugin.
func TestConfigurationMistakesPauseTheTarget(t *testing.T) {
	e := newEnvironment(t)
	e.Put("accounts", attrs{"accountnumber": "A1"})
	target := mustTarget(t, config(e.url, nil))
	for name, tc := range map[string]struct {
		change attrs
		code   string
	}{
		"table":            {attrs{"table": "contact"}, "0x8006088a"},
		"key":              {attrs{"key": attrs{"lastname": "J"}}, "0x8006088a"},
		"column":           {attrs{"columns": attrs{"donotmail": true}}, "0x80048d19"},
		"column in a look": {attrs{"table": "accounts", "key": attrs{"accountnumber": "A1"}, "columns": attrs{"donotemail": false}}, "0x80060888"},
		"lookup":           {attrs{"columns": attrs{"parent@odata.bind": "/accounts(accountnumber='A1')"}}, "0x80048d19"},
	} {
		o := deliver(t, target, plugintest.Record(t, merged(attrs{"table": "contacts", "key": attrs{"acme_cpmid": "5f0c"}}, tc.change)))
		if expect(t, o, sdk.KindUnauthorized, tc.code); t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestMissing(t *testing.T) {
	for body, want := range map[string]bool{
		`{"error":{"code":"0x80040217","message":"contact With Id = 1 Does Not Exist"}}`:           true,
		`{"error":{"code":"0x80060891","message":"A record with the specified key values"}}`:       true,
		`{"error":{"code":"0x8006088A","message":"Resource not found for the segment 'contact'"}}`: false,
		`{"error":{"code":"","message":"x"}}`:                                                      false,
		`not JSON`:                                                                                 false,
	} {
		if got := missing(response(http.StatusNotFound, body)); got != want {
			t.Errorf("%s: %t", body, got)
		}
	}
}
