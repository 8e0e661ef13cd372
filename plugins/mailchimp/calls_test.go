package mailchimp_test

import (
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/mailchimp/sim"
)

// The calls that a record takes are what the first import of an audience lasts by.
func TestCalls(t *testing.T) {
	for _, tc := range []struct {
		name   string
		held   string
		record fields
		calls  string
	}{
		{"unchanged", "subscribed", fields{"status": "subscribed"}, "GET"},
		{"changed", "subscribed", fields{"status": "unsubscribed"}, "GET PUT"},
		{"tags", "subscribed", fields{"tags": fields{"vip": true}}, "GET POST"},
		{"changed and tags", "subscribed", fields{"status": "unsubscribed", "tags": fields{"vip": true}}, "GET PUT POST"},
		{"new", "", fields{"status": "subscribed", "interests": fields{"jazz": true}}, "GET PUT"},
		{"new with tags", "", fields{"status": "subscribed", "tags": fields{"vip": true}}, "GET PUT POST"},
		{"unknown and opts out", "", fields{"status": "unsubscribed"}, "GET GET"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			if tc.held != "" {
				a.Put(sim.Member{Email: ada, Status: tc.held})
			}
			tc.record["email"] = ada
			deliver(t, a.target(t, nil), tc.record)
			var calls []string
			for _, e := range a.exchanges {
				calls = append(calls, e.Method)
			}
			if got := strings.Join(calls, " "); got != tc.calls {
				t.Errorf("calls %s, want %s", got, tc.calls)
			}
		})
	}
}
