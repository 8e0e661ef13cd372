package sim

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestServer(t *testing.T) {
	var lines []string
	s := New(func(line string) { lines = append(lines, line) })
	for _, c := range []struct {
		method, key, kind, body string
		want                    int
	}{
		{"POST", "1", "application/json", `{"a":1}`, 200},
		{"POST", "1", "application/json", `{"a":1}`, 200},
		{"POST", "1", "application/json", `{"a":2}`, 422},
		{"PUT", "2", "application/json", `{"a":2}`, 200},
		{"POST", "", "application/json", `{}`, 400},
		{"POST", "3", "text/plain", `{}`, 415},
		{"POST", "3", "application/json", `{`, 415},
		{"DELETE", "3", "application/json", `{}`, 405},
	} {
		r := httptest.NewRequest(c.method, "/people/ann%40example.com", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		r.Header.Set("Idempotency-Key", c.key)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
	if s.Body("1") != `{"a":1}` || s.Last("/people/ann%40example.com") != `{"a":2}` || s.Requests() != 8 {
		t.Errorf("kept %v, %v", s.bodies, s.last)
	}
	if len(lines) != 8 || lines[0] != "POST, 7 bytes: 200 OK" {
		t.Errorf("lines %q", lines)
	}

	s.Fail(Fault{Status: 503, Header: http.Header{"Retry-After": {"9"}}, Body: "later"})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader("{}")))
	if w.Code != 503 || w.Header().Get("Retry-After") != "9" || w.Body.String() != "later" {
		t.Errorf("fault: %d %v %s", w.Code, w.Header(), w.Body)
	}
}
