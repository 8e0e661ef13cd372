package sim_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/brevo/sim"
)

// One line for each change, with the address as `run --dev` shows it.
func TestNotify(t *testing.T) {
	var lines []string
	s := sim.New(func(line string) { lines = append(lines, line) })
	for _, call := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/contacts", `{"email":"Ada@example.org","listIds":[36]}`, 201},
		{"POST", "/contacts", `{"email":"ada@example.org"}`, 400},
		{"PUT", "/contacts/ada%40example.org", `{"emailBlacklisted":true,"unlinkListIds":[36]}`, 204},
		{"GET", "/contacts/ada@example.org", ``, 200},
		{"DELETE", "/contacts/ada@example.org", ``, 204},
		{"DELETE", "/contacts/ada@example.org", ``, 404},
	} {
		r := httptest.NewRequestWithContext(t.Context(), call.method, sim.BasePath+call.path, strings.NewReader(call.body))
		r.Header.Set("api-key", sim.APIKey)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != call.status {
			t.Errorf("%s %s is %d %s", call.method, call.path, w.Code, w.Body)
		}
	}
	expected := []string{
		"ada@example.org emailBlacklisted=false smsBlacklisted=false lists=[36]",
		"ada@example.org emailBlacklisted=true smsBlacklisted=false lists=[]",
		"ada@example.org deleted",
	}
	if !slices.Equal(lines, expected) {
		t.Errorf("told %q", lines)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", sim.BasePath+"/contacts/attributes", nil))
	if w.Code != 401 {
		t.Errorf("without a key %d", w.Code)
	}
}
