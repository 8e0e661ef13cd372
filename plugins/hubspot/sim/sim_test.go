package sim_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/hubspot/sim"
)

// One line for each change, with the address as `run --dev` shows it.
func TestNotify(t *testing.T) {
	var lines []string
	s := sim.New(func(line string) { lines = append(lines, line) })
	const contacts, statuses = "/crm/v3/objects/contacts", "/communication-preferences/v4/statuses/"
	upsert := `{"inputs":[{"id":"Ada@example.org","idProperty":"email","objectWriteTraceId":"0","properties":{"city":"London"}}]}`
	subscribe := `{"subscriptionId":7,"statusState":"SUBSCRIBED","channel":"EMAIL"}`
	for _, call := range []struct {
		path, body string
		status     int
	}{
		{contacts + "/batch/upsert", upsert, 200},
		{statuses + "ada%40example.org", subscribe, 200},
		{statuses + "ada@example.org", subscribe, 200}, // changes nothing
		{statuses + "batch/write", `{"inputs":[]}`, 403},
		{contacts + "/gdpr-delete", `{"idProperty":"email","objectId":"ada@example.org"}`, 204},
		{contacts + "/batch/upsert", upsert, 400},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", call.path, strings.NewReader(call.body))
		r.Header.Set("Authorization", "Bearer "+sim.AccessToken)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != call.status {
			t.Errorf("%s is %d %s", call.path, w.Code, w.Body)
		}
	}
	expected := []string{"ada@example.org contact city", "ada@example.org 7 SUBSCRIBED", "ada@example.org deleted"}
	if !slices.Equal(lines, expected) {
		t.Errorf("told %q", lines)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", contacts, nil))
	if w.Code != 401 {
		t.Errorf("without a token %d", w.Code)
	}
}
