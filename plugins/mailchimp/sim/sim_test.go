package sim_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/mailchimp/sim"
)

const (
	ada     = "ada.lovelace@example.org"
	subject = sim.BasePath + "/lists/" + sim.ListID + "/members/a0897f0967cd4affeb515028a3447d04" // MD5 of ada
)

func call(t *testing.T, s *sim.Server, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.SetBasicAuth("anybody", sim.APIKey)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// One line for each change, and none for a request that changes nothing.
func TestNotify(t *testing.T) {
	var lines []string
	s := sim.New(func(line string) { lines = append(lines, line) })
	put := `{"email_address":"` + ada + `","status_if_new":"subscribed","interests":{"interests_jazz":true,"interests_blues":true,"interests_folk":false}}`
	call(t, s, "PUT", subject, put)
	call(t, s, "PUT", subject, put)
	call(t, s, "PUT", subject, `{"email_address":"`+ada+`","status_if_new":"subscribed","interests":{"polka":null}}`)
	call(t, s, "POST", subject+"/tags", `{"tags":[{"name":"vip","status":"active"}]}`)
	call(t, s, "POST", subject+"/tags", `{"tags":[{"name":"vip","status":"active"}]}`)
	call(t, s, "PUT", subject, `{"email_address":"`+ada+`","status_if_new":"subscribed","status":"unsubscribed"}`)
	call(t, s, "POST", subject+"/actions/delete-permanent", "")
	want := []string{
		ada + " subscribed interests_blues+interests_jazz",
		ada + " subscribed interests_blues+interests_jazz tags:vip",
		ada + " unsubscribed interests_blues+interests_jazz tags:vip",
		ada + " deleted",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestAuthentication(t *testing.T) {
	s := sim.New(nil)
	for header, status := range map[string]int{
		"": 401, "Bearer other": 401, "Basic eDp5": 401,
		"Bearer " + sim.APIKey:               200,
		"Basic YW55Ym9keTpzaW11bGF0ZWQtdXMx": 200, // anybody:simulated-us1
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", sim.BasePath+"/ping", nil)
		r.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%q is answered with %d, want %d", header, w.Code, status)
		}
	}
}

func TestAnswers(t *testing.T) {
	s := sim.New(nil)
	s.Put(sim.Member{Email: ada, Status: "subscribed"})
	other := strings.Replace(subject, "a0897", "b0897", 1)
	for _, tc := range []struct {
		method, path, body string
		status             int
		title              string
	}{
		{"GET", subject, "", 200, ""},
		{"GET", other, "", 404, "Resource Not Found"},
		{"GET", sim.BasePath + "/lists/0000000000", "", 404, "Resource Not Found"},
		{"GET", sim.BasePath + "/nowhere", "", 404, "Resource Not Found"},
		{"PATCH", sim.BasePath + "/ping", "", 405, "Method Not Allowed"},
		{"PUT", subject, "{", 400, "JSON Parse Error"},
		{"PUT", subject, `{"email_address":"` + ada + `","status":"gone"}`, 400, "Invalid Resource"},
		{"PUT", subject, `{"email_address":"` + ada + `","language":null}`, 400, "Invalid Resource"},
		{"PUT", other, `{"email_address":"` + ada + `","status_if_new":"subscribed"}`, 400, "Member Exists"},
		{"POST", other + "/tags", `{"tags":[]}`, 404, "Resource Not Found"},
		{"DELETE", subject, "", 204, ""},
		{"DELETE", subject, "", 405, "Method Not Allowed"},
	} {
		w := call(t, s, tc.method, tc.path, tc.body)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.title) {
			t.Errorf("%s %s %s is answered with %d %s", tc.method, tc.path, tc.body, w.Code, w.Body)
		}
		if w.Code >= 400 && !strings.HasPrefix(w.Header().Get("Content-Type"), "application/problem+json") {
			t.Errorf("a problem comes as %s", w.Header().Get("Content-Type"))
		}
	}
}

// A fault hits as many requests as it says, of those that it is meant for.
func TestFaults(t *testing.T) {
	s := sim.New(nil)
	s.Inject(sim.Fault{Times: 2, Method: "GET", Email: ada, Status: http.StatusTeapot})
	s.Inject(sim.Fault{Times: -1, Path: "/ping", Problem: sim.InternalServerError()})
	for i, want := range []struct {
		path   string
		status int
	}{
		{sim.BasePath + "/lists/" + sim.ListID, 200},
		{subject, 418}, {subject, 418}, {subject, 404},
		{sim.BasePath + "/ping", 500}, {sim.BasePath + "/ping", 500},
	} {
		if w := call(t, s, "GET", want.path, ""); w.Code != want.status {
			t.Errorf("request %d is answered with %d, want %d", i, w.Code, want.status)
		}
	}
	s.ClearFaults()
	if w := call(t, s, "GET", sim.BasePath+"/ping", ""); w.Code != 200 {
		t.Errorf("without faults the answer is %d", w.Code)
	}
}

// Who left by themselves comes back by themselves only.
func TestCompliance(t *testing.T) {
	s := sim.New(nil)
	s.Put(sim.Member{Email: ada, Status: "subscribed"})
	status := func(wanted string) int {
		return call(t, s, "PUT", subject, `{"email_address":"`+ada+`","status_if_new":"subscribed","status":"`+wanted+`"}`).Code
	}
	for i, step := range []struct {
		act  func()
		code int
		held string
	}{
		{func() { status("unsubscribed") }, 200, "subscribed"}, // left by the API
		{func() { s.Unsubscribe(ada) }, 400, "unsubscribed"},
		{func() { status("pending") }, 400, "pending"},
		{func() { s.Confirm(ada) }, 200, "subscribed"},
		{func() { s.Clean(ada) }, 400, "cleaned"},
	} {
		step.act()
		code := status("subscribed")
		if m, _ := s.Member(ada); code != step.code || m.Status != step.held {
			t.Errorf("step %d: %d and held as %s, want %d and %s", i, code, m.Status, step.code, step.held)
		}
	}
	m, _ := s.Member(ada)
	if want := []string{"subscribed", "unsubscribed", "subscribed", "unsubscribed", "pending", "subscribed", "cleaned"}; !slices.Equal(m.History, want) {
		t.Errorf("history %v, want %v", m.History, want)
	}
}
