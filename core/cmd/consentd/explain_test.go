package main

import (
	"strings"
	"testing"

	"github.com/consentd/consentd/core/admin"
)

// TestExplainByDaemon: a daemon says what would become of an update, and nothing becomes of it.
func TestExplainByDaemon(t *testing.T) {
	sink := newSink(t)
	i := configure(t, apiKeySource+sink.config("crm", ""))
	i.start()
	i.accept(update("ada", "GRANTED", 5))
	before := i.settled("crm")
	client := admin.NewClient(i.admin, "")
	explain := func(body string) admin.Explanation {
		t.Helper()
		e, err := client.Explain(t.Context(), "dataguard", []byte(body), false)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, tc := range []struct {
		name, body       string
		verdict          string
		withdrawal, held bool
		record           string
	}{
		{"the same", string(update("ada", "GRANTED", 5)), "duplicate", false, false, `"allowed":true`},
		{"older", string(update("ada", "DENIED", 4)), "superseded", false, false, `"allowed":false`},
		{"newer", string(update("ada", "DENIED", 6)), "accepted", true, false, `"allowed":false`},
		{"of somebody new", string(update("bob", "GRANTED", 1)), "accepted", false, false, `"citizen":"bob"`},
		// Sent later on older evidence: what it grants is held, and so it is not in what the rule sees.
		{"stamped anew", strings.Replace(string(update("ada", "GRANTED", 1)), `"sentAt": "2026-03-02T09:00:01Z"`, `"sentAt": "2026-03-02T10:00:00Z"`, 1), "accepted", false, false, `"allowed":true`},
	} {
		e := explain(tc.body)
		if e.Verdict != tc.verdict || e.Withdrawal != tc.withdrawal || e.Held != tc.held || len(e.Rules) != 1 || len(e.Rules[0].Records) != 1 || !strings.Contains(string(e.Rules[0].Records[0]), tc.record) {
			t.Errorf("%s: %+v", tc.name, e)
		}
	}
	i.accept(update("ada", "DENIED", 7))
	i.settled("crm")
	regressed := strings.Replace(string(update("ada", "GRANTED", 1)), `"sentAt": "2026-03-02T09:00:01Z"`, `"sentAt": "2026-03-02T10:00:00Z"`, 1)
	if e := explain(regressed); e.Verdict != "accepted" || !e.Held || !strings.Contains(string(e.Rules[0].Records[0]), `"allowed":false`) {
		t.Errorf("a grant that would be held: %+v", e)
	}
	if e := explain("{"); e.Quarantined == "" || e.Verdict != "" {
		t.Errorf("no JSON: %+v", e)
	}
	if _, err := client.Explain(t.Context(), "nowhere", []byte("{}"), false); err == nil || !strings.Contains(err.Error(), `source "nowhere" not found`) {
		t.Errorf("no such source: %v", err)
	}
	if after := i.target("crm"); after.Accepted != before.Accepted+1 || sink.count() != 2 || i.status().Quarantined != 0 {
		t.Errorf("something became of it: %+v, %d sent", after, sink.count())
	}
	i.stop()
}
