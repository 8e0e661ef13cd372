package marketo

import (
	"testing"

	"github.com/consentd/consentd/plugins/marketo/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// What the rule of examples/marketo renders arrives, for somebody who grants and then withdraws.
func TestRecordsOfTheExample(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	want(t, target, sdk.KindDelivered, "", fields{
		"lookup_value": ada, "lists": fields{sim.ListID: true},
		"fields": fields{"unsubscribed": false, "unsubscribedReason": nil, "doNotCall": true, "interests": "jazz;blues"},
	})
	want(t, target, sdk.KindDelivered, "", fields{
		"lookup_value": ada, "lists": fields{sim.ListID: false},
		"fields": fields{"unsubscribed": true, "unsubscribedReason": "DataGuard CPM", "doNotCall": true},
	})
	if got := string(plugintest.Encode(t, a.held(t, ada))); got != `{"doNotCall":true,"interests":"jazz;blues","unsubscribed":true,"unsubscribedReason":"DataGuard CPM"}` {
		t.Errorf("held %s", got)
	}
	if a.OnList(sim.ListID, "email", ada) {
		t.Error("still on the list")
	}
}
