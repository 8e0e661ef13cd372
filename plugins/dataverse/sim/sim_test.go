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

// The simulator's answers have the shapes that Microsoft documents.
func TestShapes(t *testing.T) {
	var lines []string
	s := New(func(line string) { lines = append(lines, line) })
	server := httptest.NewServer(s)
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	access := signIn(t, server.URL)
	id := s.Put("contacts", map[string]any{"acme_cpmid": "5f0c", "donotemail": true})
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"whole", "GET", "contacts(" + id + ")?$select=donotemail,lastname", "", 200,
			`{"@odata.context":"` + server.URL + `/api/data/v9.2/$metadata#contacts/$entity","@odata.etag":"W/\"4100000\"","contactid":"` + id + `","donotemail":true,"lastname":null}`},
		{"list", "GET", "contacts?$select=donotemail&$filter=acme_cpmid%20eq%20'5F0C'", "", 200,
			`{"@odata.context":"` + server.URL + `/api/data/v9.2/$metadata#contacts","value":[{"@odata.etag":"W/\"4100000\"","contactid":"` + id + `","donotemail":true}]}`},
		{"empty list", "GET", "contacts?$filter=acme_cpmid%20eq%20'x'", "", 200,
			`{"@odata.context":"` + server.URL + `/api/data/v9.2/$metadata#contacts","value":[]}`},
		{"nobody by id", "GET", "contacts(00000000-0000-0000-0000-000000000001)", "", 404,
			`{"error":{"code":"0x80040217","message":"contact With Id = 00000000-0000-0000-0000-000000000001 Does Not Exist"}}`},
		{"nobody by key", "GET", "contacts(acme_cpmid='x')", "", 404,
			`{"error":{"code":"0x80060891","message":"A record with the specified key values does not exist in contact entity"}}`},
		{"update", "PATCH", "contacts(acme_cpmid='5f0c')", `{"donotemail":false}`, 204, ""},
		{"must not create", "PATCH", "contacts(acme_cpmid='x')", `{"donotemail":false}`, 404,
			`{"error":{"code":"0x80060891","message":"A record with the specified key values does not exist in contact entity"}}`},
		{"too long", "PATCH", "contacts(acme_cpmid='5f0c')", `{"firstname":"` + strings.Repeat("x", 51) + `"}`, 400,
			`{"error":{"code":"0x80044331","message":"A validation error occurred.  The length of the 'firstname' attribute of the 'contact' entity exceeded the maximum allowed length of '50'."}}`},
		{"no table", "GET", "contact", "", 404, `{"error":{"code":"0x8006088a","message":"Resource not found for the segment 'contact'."}}`},
		{"no key", "GET", "contacts(lastname='x')", "", 400, ""},
		{"bad key", "GET", "contacts('x')", "", 400, `{"error":{"code":"0x8006088a","message":"Bad Request - Error in query syntax."}}`},
		{"no column", "GET", "contacts?$select=Name", "", 400, `{"error":{"code":"0x80060888","message":"Could not find a property named 'Name' on type 'Microsoft.Dynamics.CRM.contact'."}}`},
		{"no list to write", "PATCH", "contacts", `{}`, 405, ""},
		{"gone", "DELETE", "contacts(" + id + ")", "", 204, ""},
		{"gone before", "DELETE", "contacts(" + id + ")", "", 404, ""},
		{"not a batch", "POST", "$batch", `{}`, 400, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, header, body := send(t, test.method, server.URL+root+test.path, test.body, access)
			if status != test.status {
				t.Fatalf("status is %d: %s", status, body)
			}
			if test.want != "" && !sameJSON(t, body, test.want) {
				t.Errorf("answer is %s, want %s", body, test.want)
			}
			if header.Get("OData-Version") != "4.0" {
				t.Error("no OData-Version")
			}
		})
	}
	if status, header, _ := send(t, "GET", server.URL+root+"WhoAmI", "", "stale"); status != 401 || header.Get("WWW-Authenticate") == "" {
		t.Errorf("a stale token: %d %v", status, header)
	}
	want := []string{"contacts acme_cpmid='5f0c' donotemail=false", "contacts " + id[:21] + "... deleted"}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("lines are %q, want %q", lines, want)
	}
}

// Microsoft's example of a batch, with and without the preference to go on.
func TestBatchStopsAtAnError(t *testing.T) {
	s := New(nil)
	server := httptest.NewServer(s)
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	access := signIn(t, server.URL)
	operation := func(person, body string) string {
		return "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nPATCH " + root + "contacts(acme_cpmid='" + person + "') HTTP/1.1\r\nContent-Type: application/json\r\n" +
			"Content-Length: 22\r\n\r\n" + (body + strings.Repeat(" ", 22))[:22] + "\r\n"
	}
	batch := operation("bad", `{"birthdate":"x"}`) + operation("good", `{"lastname":"J"}`) + "--b--\r\n"
	for _, tc := range []struct {
		prefer     string
		want, rows int
	}{{"", 400, 0}, {"odata.continue-on-error", 200, 1}} {
		prefer, want := tc.prefer, tc.want
		req, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+root+"$batch", strings.NewReader(batch))
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]string{"Authorization": "Bearer " + access, "OData-Version": "4.0", "OData-MaxVersion": "4.0", "Content-Type": "multipart/mixed; boundary=b", "Prefer": prefer} {
			req.Header.Set(name, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want || !strings.Contains(string(body), "HTTP/1.1 400 Bad Request\r\n") || strings.Contains(string(body), "HTTP/1.1 204 No Content\r\n") != (want == 200) {
			t.Errorf("%q: %d\n%s", prefer, res.StatusCode, body)
		}
		if len(s.Rows("contacts")) != tc.rows {
			t.Errorf("%q: %v", prefer, s.Rows("contacts"))
		}
	}
}

func signIn(t *testing.T, base string) (access string) {
	t.Helper()
	res, err := http.PostForm(base+"/"+TenantID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {ClientID}, "client_secret": {ClientSecret}, "scope": {base + "/.default"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.TokenType != "Bearer" || answer.ExpiresIn != 3599 {
		t.Fatalf("%+v, %v", answer, err)
	}
	return answer.AccessToken
}

func send(t *testing.T, method, address, body, access string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{"Authorization": "Bearer " + access, "OData-Version": "4.0", "OData-MaxVersion": "4.0", "Content-Type": "application/json", "If-Match": "*"} {
		req.Header.Set(name, v)
	}
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
