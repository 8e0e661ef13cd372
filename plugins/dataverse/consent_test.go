package dataverse

import (
	"fmt"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

const consents = "msdynmkt_contactpointconsent4s"

// existing is a row as the preference center writes it.
func existing(point string, value int, more ...attrs) attrs {
	return merged(append([]attrs{{
		"msdynmkt_contactpointvalue": point, "msdynmkt_contactpointtype": 534120000, "msdynmkt_contactpointconsenttype": 534120000,
		"_msdynmkt_purposeid_value": sim.PurposeID, "msdynmkt_value": value, "msdynmkt_source": 534120004, "statecode": 0,
	}}, more...)...)
}

func values(e *environment) string {
	var all []string
	for _, row := range e.Rows(consents) {
		all = append(all, strings.TrimPrefix(fmt.Sprint(row["msdynmkt_value"]), "53412000"))
	}
	return strings.Join(all, " ")
}

func TestNewConsent(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	o := deliver(t, target, consentOf(t, "o'neill+x&y=z@example.com", "opted_in"))
	expect(t, o, sdk.KindDelivered, "")
	row := e.Rows(consents)[0]
	for column, want := range (attrs{
		"msdynmkt_contactpointvalue": "o'neill+x&y=z@example.com", "msdynmkt_contactpointtype": 534120000, "msdynmkt_contactpointconsenttype": 534120000,
		"msdynmkt_value": 534120001, "msdynmkt_source": 534120000, "msdynmkt_logicalreason": 534119999, "msdynmkt_reason": "consentd",
		"_msdynmkt_purposeid_value": sim.PurposeID, "msdynmkt_contactpointconsent4id": o.Reference, "statecode": 0,
	}) {
		if fmt.Sprint(row[column]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", column, row[column], want)
		}
	}
	if strings.Contains(o.Reference, "neill") || !guidForm.MatchString(o.Reference) {
		t.Errorf("reference is %q", o.Reference)
	}
	// Again, and after an answer that was lost: no second row.
	expect(t, deliver(t, target, consentOf(t, "o'neill+x&y=z@example.com", "opted_in")), sdk.KindUnchanged, "")
	e.FailNext(2, sim.Fault{Cut: true, After: true})
	other := consentOf(t, "bob@example.com", "opted_out")
	for range 2 {
		expect(t, deliver(t, target, other), sdk.KindRetry, "NETWORK")
	}
	expect(t, deliver(t, target, other), sdk.KindDelivered, "")
	if got := values(e); got != "1 2" {
		t.Errorf("values are %q", got)
	}
}

// Channels and topics are consents of their own.
func TestChannelsAndTopics(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	var records []sdk.Record
	for _, more := range []attrs{{}, {"topic": sim.TopicID}, {"channel": "text"}, {"channel": "voice"}} {
		records = append(records, consentOf(t, "ann@example.com", "opted_in", more))
	}
	expectAll(t, target.Deliver(t.Context(), records), sdk.KindDelivered, "")
	var got []string
	for _, row := range e.Rows(consents) {
		got = append(got, fmt.Sprintf("%v %v %v %v", row["msdynmkt_contactpointtype"], row["msdynmkt_contactpointconsenttype"], row["_msdynmkt_topicid_value"], row["_msdynmkt_purposeid_value"] == sim.PurposeID))
	}
	want := []string{
		"534120000 534120000 <nil> true",
		"534120000 534120001 " + sim.TopicID + " true",
		"534120001 534120000 <nil> true",
		"534120003 534120000 <nil> true",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("rows are %q, want %q", got, want)
	}
	expectAll(t, target.Deliver(t.Context(), records), sdk.KindUnchanged, "")
}

func TestExistingConsents(t *testing.T) {
	for name, tc := range map[string]struct {
		policy string
		held   []int
		status string
		more   attrs
		kind   sdk.Kind
		code   string
		want   string
	}{
		"all that differ are changed":        {"", []int{534120001, 534120002, 534120000}, "opted_out", nil, sdk.KindDelivered, "", "2 2 2"},
		"none differs":                       {"", []int{534120001, 534120001}, "opted_in", nil, sdk.KindUnchanged, "", "1 1"},
		"not set becomes in":                 {"", []int{534120000}, "opted_in", nil, sdk.KindDelivered, "", "1"},
		"an opt-out stands":                  {"", []int{534120001, 534120002}, "opted_in", nil, sdk.KindRejected, "OPTED_OUT", "1 2"},
		"an opt-out is not unset":            {"never", []int{534120002}, "not_set", nil, sdk.KindRejected, "OPTED_OUT", "2"},
		"force":                              {"force", []int{534120001, 534120002}, "opted_in", nil, sdk.KindDelivered, "", "1 1"},
		"force unsets":                       {"force", []int{534120002}, "not_set", nil, sdk.KindDelivered, "", "0"},
		"an opt-out of nobody is kept":       {"", nil, "opted_out", nil, sdk.KindDelivered, "", "2"},
		"an opt-out of nobody, create false": {"", nil, "opted_out", attrs{"create": false}, sdk.KindUnchanged, "", ""},
		"a grant to nobody, create false":    {"", nil, "opted_in", attrs{"create": false}, sdk.KindRejected, "NOT_FOUND", ""},
		"not set of nobody":                  {"", nil, "not_set", nil, sdk.KindUnchanged, "", ""},
		"create false changes":               {"", []int{534120001}, "opted_out", attrs{"create": false}, sdk.KindDelivered, "", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			for _, v := range tc.held {
				e.Put(consents, existing("Ann@example.com", v))
			}
			r := plugintest.Record(t, merged(tc.more, attrs{"consent": attrs{"contact_point": "ann@example.com", "channel": "email", "purpose": sim.PurposeID, "status": tc.status}}))
			expect(t, deliver(t, mustTarget(t, config(e.url, attrs{"resubscribe": tc.policy})), r), tc.kind, tc.code)
			if got := values(e); got != tc.want {
				t.Errorf("values are %q, want %q", got, tc.want)
			}
		})
	}
}

// Other people's, other purposes' and inactive rows are left alone.
func TestOtherConsentsAreLeftAlone(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	const other = "10000000-0000-0000-0000-000000000004"
	e.Put(consents, existing("bob@example.com", 534120001))
	e.Put(consents, existing("ann@example.com", 534120001, attrs{"_msdynmkt_purposeid_value": other}))
	e.Put(consents, existing("ann@example.com", 534120001, attrs{"msdynmkt_contactpointtype": 534120001}))
	e.Put(consents, existing("ann@example.com", 534120001, attrs{"msdynmkt_contactpointconsenttype": 534120001, "_msdynmkt_topicid_value": sim.TopicID}))
	e.Put(consents, existing("ann@example.com", 534120001, attrs{"statecode": 1}))
	expect(t, deliver(t, target, consentOf(t, "ann@example.com", "opted_out")), sdk.KindDelivered, "")
	if got := values(e); got != "1 1 1 1 1 2" {
		t.Errorf("values are %q", got)
	}
}

// A row of ours that somebody deactivated counts for nothing in Dynamics 365, so it is brought back.
func TestDeactivatedConsentIsBroughtBack(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	id := (&consent{ContactPoint: "ann@example.com", Channel: "email", Purpose: sim.PurposeID}).key()
	expect(t, deliver(t, target, consentOf(t, "ann@example.com", "opted_in")), sdk.KindDelivered, "")
	e.SetState(consents, id, 1, 2)
	expect(t, deliver(t, target, consentOf(t, "ann@example.com", "opted_out")), sdk.KindDelivered, "")
	row, _ := e.Row(consents, "msdynmkt_contactpointconsent4id", id)
	if fmt.Sprintf("%v %v %v", row["statecode"], row["statuscode"], row["msdynmkt_value"]) != "0 1 534120002" {
		t.Errorf("row is %v", row)
	}
}

func TestReasonOfAConsent(t *testing.T) {
	for want, more := range map[string]attrs{"consentd": {}, "by DataGuard": {"reason": "by DataGuard"}, "<nil>": {"reason": nil}} {
		e := newEnvironment(t)
		e.Put(consents, existing("ann@example.com", 534120001, attrs{"msdynmkt_reason": "asked on the telephone"}))
		expect(t, deliver(t, mustTarget(t, config(e.url, nil)), consentOf(t, "ann@example.com", "opted_out", more)), sdk.KindDelivered, "")
		if got := fmt.Sprint(e.Rows(consents)[0]["msdynmkt_reason"]); got != want {
			t.Errorf("reason is %q, want %q", got, want)
		}
	}
}

func TestConsentMistakes(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	const nothing = "10000000-0000-0000-0000-0000000000ff"
	expect(t, deliver(t, target, consentOf(t, "ann@example.com", "opted_in", attrs{"purpose": nothing})), sdk.KindUnauthorized, "PURPOSE_NOT_FOUND")
	expect(t, deliver(t, target, consentOf(t, "ann@example.com", "opted_in", attrs{"topic": nothing})), sdk.KindUnauthorized, "PURPOSE_NOT_FOUND")
	// Customer Insights - Journeys is not installed.
	e.FailOperation(consents, 1, sim.Fault{Status: 404, Code: "0x8006088a", Message: "Resource not found for the segment 'msdynmkt_contactpointconsent4s'."})
	o := deliver(t, target, consentOf(t, "ann@example.com", "opted_in"))
	expect(t, o, sdk.KindUnauthorized, "0x8006088a")
	if !strings.Contains(o.Message, consents) {
		t.Errorf("the message does not name the table: %s", o.Message)
	}
	// Deleted between the look and the write.
	e.Put(consents, existing("bob@example.com", 534120001))
	e.Put(consents, existing("bob@example.com", 534120001))
	e.FailOperation("PATCH", 1, sim.Fault{Status: 404, Code: "0x80040217", Message: "msdynmkt_contactpointconsent4 With Id = 1 Does Not Exist"})
	expect(t, deliver(t, target, consentOf(t, "bob@example.com", "opted_out")), sdk.KindRetry, "CONFLICT")
	expect(t, deliver(t, target, consentOf(t, "bob@example.com", "opted_out")), sdk.KindDelivered, "")
	if got := values(e); got != "2 2" {
		t.Errorf("values are %q", got)
	}
	for _, answer := range []string{`{"value":[{"msdynmkt_contactpointconsent4id":"x"}]}`, `{}`, `[]`} {
		f := parsed(t, consentOf(t, "ann@example.com", "opted_in"))
		_, outcome := f.plan(response(200, answer), target.resubscribe)
		expect(t, outcome, sdk.KindRetry, "UNREADABLE_ANSWER")
	}
}
