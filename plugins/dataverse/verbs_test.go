package dataverse

import (
	"context"
	"fmt"
	"testing"

	"github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

var (
	_ sdk.Checker = (*target)(nil)
	_ sdk.Reader  = (*target)(nil)
	_ sdk.Eraser  = (*target)(nil)
	_ sdk.Closer  = (*target)(nil)
)

func TestCheck(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	expect(t, target.Check(t.Context()), sdk.KindDelivered, "")
	for _, c := range e.calls {
		if c.method != "GET" && c.path != "/"+sim.TenantID+"/oauth2/v2.0/token" {
			t.Errorf("%s %s", c.method, c.path)
		}
	}
	e.FailNext(1, sim.Fault{Status: 403, Code: "0x80072560", Message: "The user is not a member of the organization."})
	expect(t, target.Check(t.Context()), sdk.KindUnauthorized, "0x80072560")
	e.FailNext(1, sim.Fault{Status: 200})
	expect(t, target.Check(t.Context()), sdk.KindRetry, "UNREADABLE_ANSWER")
}

func TestRead(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	id := e.Put("contacts", attrs{"acme_cpmid": "5f0c", "donotemail": true, "lastname": "Jansen"})
	e.Put(consents, existing("ann@example.com", 534120001))
	e.Put(consents, existing("ann@example.com", 534120002))
	e.Put(consents, existing("bob@example.com", 534120001, attrs{"msdynmkt_contactpointconsenttype": 534120001, "_msdynmkt_topicid_value": sim.TopicID}))
	e.Put(consents, existing("cem@example.com", 534120000))
	readings := target.Read(t.Context(), []sdk.Record{
		contact(t, "5f0c", nil),
		contact(t, "nobody", nil),
		plugintest.Record(t, attrs{"table": "contacts", "id": id}),
		plugintest.Record(t, attrs{"table": "contact", "id": id}),
		consentOf(t, "ann@example.com", "opted_in"),
		consentOf(t, "bob@example.com", "opted_in", attrs{"topic": sim.TopicID}),
		consentOf(t, "cem@example.com", "opted_in"),
		consentOf(t, "nobody@example.com", "opted_in"),
		contact(t, "", nil),
	})
	for i, want := range []struct {
		kind  sdk.Kind
		code  string
		found bool
	}{
		{sdk.KindDelivered, "", true}, {sdk.KindDelivered, "", false}, {sdk.KindDelivered, "", true}, {sdk.KindUnauthorized, "0x8006088a", false},
		{sdk.KindDelivered, "", true}, {sdk.KindDelivered, "", true}, {sdk.KindDelivered, "", true}, {sdk.KindDelivered, "", false}, {sdk.KindRejected, "INVALID_KEY", false},
	} {
		expect(t, readings[i].Outcome, want.kind, want.code)
		if readings[i].Found != want.found {
			t.Errorf("record %d: found is %t", i, readings[i].Found)
		}
	}
	columns := readings[0].Fields["columns"].(attrs)
	if columns["donotemail"] != true || columns["lastname"] != "Jansen" || columns["contactid"] != id {
		t.Errorf("columns are %v", columns)
	}
	if v, there := columns["mobilephone"]; !there || v != nil {
		t.Error("an empty column should read as null")
	}
	for _, name := range []string{"acme_cpmid", "@odata.etag", "@odata.context"} {
		if _, there := columns[name]; there {
			t.Errorf("columns hold %s", name)
		}
	}
	if got := fmt.Sprint(readings[0].Fields["table"], " ", readings[0].Fields["key"]); got != "contacts map[acme_cpmid:5f0c]" {
		t.Errorf("identity is %s", got)
	}
	if readings[2].Fields["id"] != id {
		t.Errorf("identity is %v", readings[2].Fields)
	}
	for i, want := range map[int]string{4: "opted_out", 5: "opted_in", 6: "not_set"} {
		c := readings[i].Fields["consent"].(attrs)
		if c["status"] != want || c["purpose"] != sim.PurposeID || (c["topic"] == sim.TopicID) != (i == 5) {
			t.Errorf("record %d: %v", i, c)
		}
	}
	if e.batches() != 1 || len(e.lines) != 0 {
		t.Errorf("%d batches, changes %q", e.batches(), e.lines)
	}
}

func TestErase(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	for _, person := range []string{"5f0c", "stays"} {
		e.Put("contacts", attrs{"acme_cpmid": person})
		e.Put(consents, existing(person+"@example.com", 534120001))
		e.Put(consents, existing(person+"@example.com", 534120002))
	}
	records := []sdk.Record{contact(t, "5f0c", nil), contact(t, "nobody", nil), consentOf(t, "5F0C@example.com", "opted_in"), consentOf(t, "nobody@example.com", "opted_in")}
	for range 2 { // erasing twice is erasing once
		expectAll(t, target.Erase(t.Context(), records), sdk.KindDelivered, "")
		if len(e.Rows("contacts")) != 1 || values(e) != "1 2" {
			t.Errorf("left are %v, %s", e.Rows("contacts"), values(e))
		}
	}
	// What was not looked for in the right place is not erased.
	expect(t, target.Erase(t.Context(), []sdk.Record{plugintest.Record(t, attrs{"table": "contact", "key": attrs{"acme_cpmid": "stays"}})})[0], sdk.KindUnauthorized, "0x8006088a")
	e.FailOperation("DELETE", 1, sim.Fault{Status: 400, Code: "0x80040265", Message: "no"})
	expect(t, target.Erase(t.Context(), []sdk.Record{contact(t, "stays", nil)})[0], sdk.KindRejected, "0x80040265")
	e.FailOperation("GET", 1, sim.Fault{Status: 403, Code: "0x80040220", Message: "no"})
	expect(t, target.Erase(t.Context(), []sdk.Record{consentOf(t, "stays@example.com", "opted_in")})[0], sdk.KindUnauthorized, "0x80040220")
}

func TestVerbsEndWithTheirContext(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	expect(t, target.Check(t.Context()), sdk.KindDelivered, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	records := crowd(t, 2)
	expect(t, target.Check(ctx), sdk.KindRetry, "CANCELED")
	expectAll(t, target.Deliver(ctx, records), sdk.KindRetry, "CANCELED")
	expectAll(t, target.Erase(ctx, records), sdk.KindRetry, "CANCELED")
	for _, reading := range target.Read(ctx, records) {
		expect(t, reading.Outcome, sdk.KindRetry, "CANCELED")
	}
}
