package dataverse

import (
	"testing"

	"github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// What the rules of examples/dataverse render arrives, before and after sales knows the person.
func TestRecordsOfTheExample(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, attrs{"resubscribe": "force"}))
	records := func(allowed bool) []sdk.Record {
		status := map[bool]string{true: "opted_in", false: "opted_out"}[allowed]
		return []sdk.Record{
			plugintest.Record(t, attrs{"table": "contacts", "key": attrs{"acme_customernumber": "CRM-000417"}, "create": false, "columns": attrs{
				"donotbulkemail": !allowed, "donotphone": true, "preferredcontactmethodcode": 2,
			}}),
			consentOf(t, "ann@example.com", status),
			consentOf(t, "ann@example.com", status, attrs{"topic": sim.TopicID}),
		}
	}
	first := target.Deliver(t.Context(), records(true))
	expect(t, first[0], sdk.KindRejected, "NOT_FOUND")
	expectAll(t, first[1:], sdk.KindDelivered, "")
	e.Put("contacts", attrs{"acme_customernumber": "CRM-000417", "lastname": "Jansen"})
	expect(t, target.Deliver(t.Context(), records(true))[0], sdk.KindDelivered, "")
	expectAll(t, target.Deliver(t.Context(), records(false)), sdk.KindDelivered, "")
	row, _ := e.Row("contacts", "acme_customernumber", "CRM-000417")
	if row["lastname"] != "Jansen" || row["donotbulkemail"] != true || row["donotphone"] != true || values(e) != "2 2" {
		t.Errorf("contact is %v, consents %s", row, values(e))
	}
}
