package lookup

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/sdk/httpclient"
)

func serve(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.URL
}

// TestAddress: whatever an id holds, it stays one segment of the path or one value of the query.
func TestAddress(t *testing.T) {
	var path, query string
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path, query = r.URL.EscapedPath(), r.URL.Query().Get("ref")
		_, _ = io.WriteString(w, `{"email": "a@example.org"}`)
	})
	c := config("email string $.email")
	c.HTTP = &HTTP{Method: http.MethodGet, URL: URL{
		{Text: base + "/people/"}, {Expr: expression(t, "citizen.id")}, {Text: "?ref="}, {Expr: expression(t, "upper(citizen.external_ref)")},
	}}
	s, _ := opened(t, c)
	for id, want := range map[string]string{
		"c-1":               "c-1",
		"../admin":          "..%2Fadmin",
		"a b+c&d=e?f#g%2F;": "a%20b%2Bc%26d%3De%3Ff%23g%252F%3B",
		"ada@example.org":   "ada%40example.org",
		"größe":             "gr%C3%B6%C3%9Fe",
	} {
		got := ask(s, Person{ID: id, ExternalRef: id})
		if !strings.HasPrefix(got, "email=") || path != "/people/"+want || query != strings.ToUpper(id) {
			t.Errorf("%s: %s, path %s, query %s", id, got, path, query)
		}
	}
	path = ""
	for _, p := range []Person{{ID: "..", ExternalRef: "x"}, {ID: ".", ExternalRef: "x"}, {ID: "c-2"}} {
		if got := ask(s, p); got != `lookup "crm" knows nobody by these ids` || path != "" {
			t.Errorf("%+v: %s, asked for %s", p, got, path)
		}
	}
}

func TestHTTP(t *testing.T) {
	status, answer := 200, ""
	var got *http.Request
	var body string
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, body = r, string(text)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	})
	c := config("email string $.contact.email", "vip? bool $.vip", "score? number $.score", "tags? list $.tags", "id? string $.id")
	c.HTTP = &HTTP{
		Method: http.MethodPost, URL: URL{{Text: base + "/search"}}, Header: http.Header{"X-Tenant": {"acme"}},
		Auth: httpclient.Bearer("s3cret"), Body: expression(t, `{ ref = citizen.external_ref, also = [1, true] }`),
	}
	const nobody, ambiguous = `lookup "crm" knows nobody by these ids`, `lookup "crm" knows more than one person by these ids`
	for _, tc := range []struct {
		status             int
		answer, want, path string
	}{
		{200, `{"contact": {"email": "ada@example.org"}, "vip": true, "score": 0.1, "tags": ["a", "b"], "id": 12345678901234567890}`,
			`email=StringVal("ada@example.org" id=StringVal("12345678901234567890" score=MustParseNumberVal("0.1" tags=ListVal([]cty.Value{cty.StringVal("a"), cty.StringVal("b")} vip=True`, ""},
		{200, `{"contact": {"email": "ada@example.org"}, "vip": null, "id": ""}`, `email=StringVal("ada@example.org" id=null score=null tags=null vip=null`, ""},
		{200, `{"contact": {"email": null}, "id": 1}`, `lookup "crm" knows no email of them`, ""},
		{200, `{}`, nobody, ""},
		{200, `[]`, nobody, ""},
		{204, ``, nobody, ""},
		{404, `{"email": "ada@example.org"}`, nobody, ""},
		{410, ``, nobody, ""},
		{200, `{"contact": {"email": {"address": "ada@example.org"}}}`, `lookup "crm" failed: what it says of email is no string`, ""},
		{200, `{"contact": {"email": "ada@example.org"}, "vip": "certainly"}`, `lookup "crm" failed: what it says of vip is no bool`, ""},
		{200, `[{"contact": {"email": "a@example.org"}}, {"contact": {"email": "b@example.org"}}]`, ambiguous, "$[*].contact.email"},
		{200, `[{"contact": {"email": "a@example.org"}}, {"contact": {"email": "a@example.org"}}]`, `email=StringVal("a@example.org" id=null score=null tags=null vip=null`, "$[*].contact.email"},
		{200, `ada@example.org`, `lookup "crm" failed: the answer is not JSON`, ""},
		{400, `ada@example.org is no id`, `lookup "crm" failed: it answered 400 Bad Request`, ""},
		{401, `ada@example.org may not`, `lookup "crm" failed: it answered 401 Unauthorized`, ""},
		{302, ``, `lookup "crm" failed: it answered 302 Found`, ""},
		{503, `ada@example.org`, `lookup "crm" failed: it answered 503 Service Unavailable`, ""},
	} {
		status, answer = tc.status, tc.answer
		c := c
		if tc.path != "" {
			c.Fields = append([]Field{field("email string " + tc.path)}, c.Fields[1:]...)
		}
		s, log := opened(t, c)
		if said := ask(s, ada); said != tc.want {
			t.Errorf("%d %s: %s, want %s", tc.status, tc.answer, said, tc.want)
		}
		if strings.Contains(log.String(), "@example.org") || strings.Contains(log.String(), "ref-ada") {
			t.Errorf("the log names somebody: %s", log)
		}
	}
	var sent struct {
		Ref  string
		Also []any
	}
	if err := json.Unmarshal([]byte(body), &sent); err != nil || sent.Ref != "ref-ada" || len(sent.Also) != 2 {
		t.Errorf("body %s", body)
	}
	if got.Method != "POST" || got.URL.Path != "/search" || got.Header.Get("X-Tenant") != "acme" || got.Header.Get("Authorization") != "Bearer s3cret" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
}

func TestHTTPDown(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	c := config("email string $.email")
	c.HTTP = &HTTP{Method: http.MethodGet, URL: URL{{Text: server.URL + "/people/"}, {Expr: expression(t, "citizen.external_ref")}}}
	server.Close()
	s, log := opened(t, c)
	got := ask(s, ada)
	if !strings.HasPrefix(got, `lookup "crm" failed: `) || strings.Contains(got+log.String(), "ref-ada") || !strings.Contains(log.String(), "lookup fails") {
		t.Errorf("%s\n%s", got, log)
	}
}

// TestSignIn is how the sender's own API is asked: with an access token for an audience.
func TestSignIn(t *testing.T) {
	var tokens, calls int
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/oauth/token":
			tokens++
			_ = r.ParseForm()
			if r.Form.Get("client_id") != "id" || r.Form.Get("client_secret") != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_, _ = io.WriteString(w, `{"access_token": "t0ken", "token_type": "Bearer", "expires_in": 86400}`)
		case "/v1/citizens/c-ada":
			calls++
			if r.Header.Get("Authorization") != "Bearer t0ken" {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_, _ = io.WriteString(w, `{"applicationDetails": [{"applicationId": "other", "email": "x@example.org"}, {"applicationId": "acme", "email": "ada@example.org"}]}`)
		}
	})
	c := config("email string $.applicationDetails[?@.applicationId == 'acme'].email")
	c.HTTP = &HTTP{
		Method: http.MethodGet, URL: URL{{Text: base + "/v1/citizens/"}, {Expr: expression(t, "citizen.id")}},
		Auth: httpclient.SignIn(httpclient.OAuth2{TokenURL: base + "/oauth/token", Grant: httpclient.ClientCredentials("id", "secret", "")}),
	}
	s, _ := opened(t, c)
	if got := ask(s, ada); got != `email=StringVal("ada@example.org"` {
		t.Error(got)
	}
	other := ada
	other.ExternalRef, other.Version = "", 2
	ask(s, other)
	if tokens != 1 || calls != 2 {
		t.Errorf("%d tokens for %d calls", tokens, calls)
	}
}

func TestTimeout(t *testing.T) {
	stop := make(chan struct{})
	base := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	})
	defer close(stop)
	c := config("email string $.email")
	c.Timeout = 50 * time.Millisecond
	c.HTTP = &HTTP{Method: http.MethodGet, URL: URL{{Text: base + "/"}, {Expr: expression(t, "citizen.id")}}}
	s, _ := opened(t, c)
	if got := ask(s, ada); got != `lookup "crm" failed: no answer within 50ms` {
		t.Error(got)
	}
}
