package sim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// The simulator's answers have the shapes that Salesforce documents.
func TestShapes(t *testing.T) {
	s := New(nil)
	server := httptest.NewServer(s)
	defer server.Close()
	access := signIn(t, server.URL)
	const collection = "/services/data/v62.0/composite/sobjects/Contact/CPM_Id__c"
	row := func(fields string) string {
		return `{"allOrNone":false,"records":[{"attributes":{"type":"Contact"},"CPM_Id__c":"5f0c","LastName":"Jansen"` + fields + `}]}`
	}
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"created", "PATCH", collection, row(""), 200,
			`[{"id":"003SIM000000001AAA","success":true,"errors":[],"created":true}]`},
		{"updated", "PATCH", collection, row(`,"DoNotCall":true`), 200,
			`[{"id":"003SIM000000001AAA","success":true,"errors":[],"created":false}]`},
		{"a row fails", "PATCH", collection, row(`,"Email":"x"`), 200,
			`[{"success":false,"errors":[{"statusCode":"INVALID_EMAIL_ADDRESS","message":"Email: invalid email address: x","fields":["Email"]}]}]`},
		{"a checkbox is never null", "PATCH", collection, row(`,"DoNotCall":null`), 200,
			`[{"success":false,"errors":[{"statusCode":"INVALID_TYPE_ON_FIELD_IN_RECORD","message":"DoNotCall: value not of required type: null","fields":["DoNotCall"]}]}]`},
		{"picklist", "PATCH", "/services/data/v62.0/composite/sobjects/ContactPointTypeConsent/CPM_Id__c",
			`{"records":[{"attributes":{"type":"ContactPointTypeConsent"},"CPM_Id__c":"c","PrivacyConsentStatus":"opted_in"}]}`, 200,
			`[{"success":false,"errors":[{"statusCode":"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST","message":"PrivacyConsentStatus: bad value for restricted picklist field: opted_in","fields":["PrivacyConsentStatus"]}]}]`},
		{"the whole call fails", "PATCH", collection, row(`,"Nope":1`), 400,
			`[{"message":"No such column 'Nope' on sobject of type Contact","errorCode":"INVALID_FIELD"}]`},
		{"an id in the row", "PATCH", collection, row(`,"Id":"003"`), 400,
			`[{"message":"The Id field should not be specified in the sobject data.","errorCode":"INVALID_FIELD"}]`},
		{"too many rows", "PATCH", collection, `{"records":[` + strings.Repeat("{},", maxRows) + `{}]}`, 400,
			`[{"message":"record limit reached. cannot submit more than 200 records into this call","errorCode":"EXCEEDED_ID_LIMIT"}]`},
		{"nobody", "GET", "/services/data/v62.0/sobjects/Contact/CPM_Id__c/nobody", "", 404,
			`[{"message":"The requested resource does not exist","errorCode":"NOT_FOUND"}]`},
		{"version too old", "GET", "/services/data/v45.0/", "", 404,
			`[{"message":"The requested resource does not exist","errorCode":"NOT_FOUND"}]`},
		{"limits", "GET", "/services/data/v62.0/limits", "", 200, ""},
		{"deleted", "DELETE", "/services/data/v62.0/sobjects/Contact/CPM_Id__c/5F0C", "", 204, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, header, body := send(t, test.method, server.URL+test.path, test.body, access)
			if status != test.status {
				t.Fatalf("status is %d: %s", status, body)
			}
			if test.want != "" && !sameJSON(t, body, test.want) {
				t.Errorf("answer is %s, want %s", body, test.want)
			}
			if !strings.HasPrefix(header.Get("Sforce-Limit-Info"), "api-usage=") {
				t.Error("no Sforce-Limit-Info")
			}
		})
	}
	status, _, body := send(t, "GET", server.URL+"/services/data/v62.0/limits", "", "stale")
	if want := `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`; status != 401 || !sameJSON(t, body, want) {
		t.Errorf("%d %s", status, body)
	}
}

func TestNotices(t *testing.T) {
	var lines []string
	s := New(func(line string) { lines = append(lines, line) })
	server := httptest.NewServer(s)
	defer server.Close()
	access := signIn(t, server.URL)
	for _, fields := range []string{`"LastName":"J","Phone":"1","DoNotCall":false`, `"Phone":"1"`, `"Phone":null,"DoNotCall":true`, `"Email":"x"`} {
		send(t, "PATCH", server.URL+"/services/data/v62.0/composite/sobjects/Contact/CPM_Id__c",
			`{"records":[{"attributes":{"type":"Contact"},"CPM_Id__c":"5f0c2b1a-0000",`+fields+`}]}`, access)
	}
	want := []string{
		"Contact CPM_Id__c=5f0c2b1a... DoNotCall=false LastName=J Phone=1",
		"Contact CPM_Id__c=5f0c2b1a... DoNotCall=true Phone=null",
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("lines are %q, want %q", lines, want)
	}
}

func signIn(t *testing.T, base string) (access string) {
	t.Helper()
	res, err := http.PostForm(base+"/services/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {ClientID}, "client_secret": {ClientSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]string
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer["instance_url"] != base {
		t.Errorf("instance_url is %q, want %q", answer["instance_url"], base)
	}
	return answer["access_token"]
}

func send(t *testing.T, method, address, body, access string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+access)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, data
}

func sameJSON(t *testing.T, got []byte, want string) bool {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("not JSON: %s", got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(a, b)
}
