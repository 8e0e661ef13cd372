package sim_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/braze/sim"
)

func call(t *testing.T, s *sim.Server, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+sim.APIKey)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// One line for each change.
func TestNotify(t *testing.T) {
	var lines []string
	s := sim.New(func(line string) { lines = append(lines, line) })
	call(t, s, "POST", "/users/track", `{"attributes":[{"external_id":"u1","email_subscribe":"opted_in","city":"Utrecht","subscription_groups":[{"subscription_group_id":"g1","subscription_state":"subscribed"}]}]}`)
	call(t, s, "POST", "/users/track", `{"attributes":[{"external_id":"u1","subscription_groups":[{"subscription_group_id":"g1","subscription_state":"unsubscribed"}]}]}`)
	call(t, s, "POST", "/users/delete", `{"external_ids":["u1"]}`)
	want := []string{
		"u1 email=opted_in push= g1=subscribed city=Utrecht",
		"u1 email=opted_in push= g1=unsubscribed city=Utrecht",
		"5fbd99bac125ca4000000001 deleted",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestAnswers(t *testing.T) {
	s := sim.New(nil)
	s.DefineGroups("g1")
	s.Put(sim.User{ExternalID: "u1"})
	many := `"x"` + strings.Repeat(`,"x"`, 50)
	for _, tc := range []struct {
		path, body string
		status     int
		text       string
	}{
		{"/users/track", "{", 400, "Bad Request"},
		{"/users/track", `{"attributes":[` + `{"external_id":"x"}` + strings.Repeat(`,{"external_id":"x"}`, 75) + `]}`, 400, "Max Input Length"},
		{"/users/track", `{"attributes":[{"email_subscribe":"opted_in"}]}`, 400, "Valid data must be provided"},
		{"/users/track", `{"attributes":[{"external_id":"u1"},{"external_id":"u1","email":"x"}]}`, 201, `"attributes_processed":1`},
		{"/users/track", `{"attributes":[{"external_id":"u1"},{"external_id":"u1","braze_id":"b"}]}`, 201, `"index":1`},
		{"/users/track", `{"attributes":[{"external_id":"u1"},{"external_id":"u1","subscription_groups":[{"subscription_group_id":"g2","subscription_state":"subscribed"}]}]}`, 201, "BAD_SUBSCRIPTION_GROUP_ID"},
		{"/users/export/ids", `{"external_ids":[` + many + `],"fields_to_export":["email"]}`, 400, "max number of external_ids"},
		{"/users/export/ids", `{"external_ids":["x"],"fields_to_export":["email"]}`, 201, `"invalid_user_ids":["x"]`},
		{"/users/export/ids", `{"phone":"1","braze_id":"2","fields_to_export":["email"]}`, 400, "Bad Request"},
		{"/users/delete", `{"external_ids":["x"],"braze_ids":["y"]}`, 400, "Bad Request"},
		{"/users/delete", `{"external_ids":["x"]}`, 201, `"deleted":0`},
		{"/users/nowhere", `{}`, 404, "Not Found"},
	} {
		if w := call(t, s, "POST", tc.path, tc.body); w.Code != tc.status || !strings.Contains(w.Body.String(), tc.text) {
			t.Errorf("%s %.80s is answered with %d %s", tc.path, tc.body, w.Code, w.Body)
		}
	}
	if w := call(t, s, "GET", "/subscription/user/status", ""); w.Code != 400 {
		t.Errorf("nobody asked for: %d", w.Code)
	}
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/users/track", strings.NewReader(`{}`))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("without a key: %d", w.Code)
	}
}

// Update-only keeps profiles from being made, which for an alias is the default.
func TestUpdateExistingOnly(t *testing.T) {
	s := sim.New(nil)
	for _, o := range []string{
		`{"external_id":"u1","_update_existing_only":true}`,
		`{"email":"a@b","_update_existing_only":true}`,
		`{"user_alias":{"alias_name":"n","alias_label":"l"}}`,
		`{"braze_id":"b","_update_existing_only":false}`,
	} {
		call(t, s, "POST", "/users/track", `{"attributes":[`+o+`]}`)
	}
	if all := s.Users(); len(all) != 0 {
		t.Errorf("held %+v", all)
	}
	call(t, s, "POST", "/users/track", `{"attributes":[{"external_id":"u1"},{"user_alias":{"alias_name":"n","alias_label":"l"},"_update_existing_only":false}]}`)
	if all := s.Users(); len(all) != 2 {
		t.Errorf("held %+v", all)
	}
}
