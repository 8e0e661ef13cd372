package dataverse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestUpsert(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	grant := contact(t, "5f0c", attrs{"donotemail": false, "lastname": "O'Neill"})
	o := deliver(t, target, grant)
	expect(t, o, sdk.KindDelivered, "")
	if o.Reference != "" {
		t.Errorf("Dataverse answers an upsert by key with the key, and it became the reference: %q", o.Reference)
	}
	if row := e.contact(t, "5f0c"); row["donotemail"] != false || row["lastname"] != "O'Neill" {
		t.Errorf("row is %v", row)
	}
	want := "contacts acme_cpmid='5f0c' acme_cpmid=5f0c donotemail=false lastname=O'Neill"
	if !slices.Equal(e.lines, []string{want}) {
		t.Errorf("lines are %q, want %q", e.lines, want)
	}
	// Twice equals once.
	expect(t, deliver(t, target, grant), sdk.KindDelivered, "")
	if len(e.lines) != 1 || len(e.Rows("contacts")) != 1 {
		t.Errorf("delivered again: %q", e.lines)
	}
}

func TestNullAbsentFalse(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, attrs{"resubscribe": "force"}))
	send := func(columns attrs) attrs {
		t.Helper()
		expect(t, deliver(t, target, contact(t, "5f0c", columns)), sdk.KindDelivered, "")
		return e.contact(t, "5f0c")
	}
	send(attrs{"mobilephone": "+31201234567", "donotemail": true, "donotphone": true, "donotfax": false, "preferredcontactmethodcode": 2})
	row := send(attrs{"mobilephone": nil, "preferredcontactmethodcode": nil, "donotemail": false})
	for _, cleared := range []string{"mobilephone", "preferredcontactmethodcode"} {
		if _, there := row[cleared]; there {
			t.Errorf("a null did not clear %s", cleared)
		}
	}
	if row["donotemail"] != false || row["donotphone"] != true || row["donotfax"] != false {
		t.Errorf("false is false and absent is left alone, got %v", row)
	}
}

// Numbers arrive as they were written, choices too.
func TestNumbers(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	r := sdk.Record{Fields: json.RawMessage(`{"table":"contacts","key":{"acme_cpmid":"5f0c"},"columns":{"preferredcontactmethodcode":3,"numberofchildren":9007199254740993}}`)}
	expect(t, deliver(t, target, r), sdk.KindDelivered, "")
	if row := e.contact(t, "5f0c"); fmt.Sprint(row["preferredcontactmethodcode"]) != "3" || fmt.Sprint(row["numberofchildren"]) != "9007199254740993" {
		t.Errorf("row is %v", row)
	}
}

// What is created and what is not.
func TestCreate(t *testing.T) {
	const nobody = "00000000-0000-0000-0000-0000000000ff"
	byID := func(columns attrs) attrs {
		return attrs{"table": "contacts", "id": nobody, "columns": columns}
	}
	byKey := func(columns attrs) attrs {
		return attrs{"table": "contacts", "key": attrs{"acme_cpmid": "nobody"}, "columns": columns}
	}
	with := func(r attrs, create bool) attrs { r["create"] = create; return r }
	optOut := attrs{"donotemail": true, "donotbulkemail": true, "lastname": "Jansen"}
	mixed := attrs{"donotemail": true, "donotphone": false}
	for name, tc := range map[string]struct {
		record attrs
		kind   sdk.Kind
		code   string
		rows   int
	}{
		"a grant by key":                       {byKey(attrs{"donotemail": false}), sdk.KindDelivered, "", 1},
		"no do-not column":                     {byKey(attrs{"lastname": "Jansen"}), sdk.KindDelivered, "", 1},
		"nothing at all":                       {byKey(nil), sdk.KindDelivered, "", 1},
		"a part is granted":                    {byKey(mixed), sdk.KindDelivered, "", 1},
		"an opt-out by key":                    {byKey(optOut), sdk.KindUnchanged, "", 0},
		"an opt-out that may create":           {with(byKey(optOut), true), sdk.KindDelivered, "", 1},
		"a grant that may not":                 {with(byKey(attrs{"donotemail": false}), false), sdk.KindRejected, "NOT_FOUND", 0},
		"a part of a grant that may not":       {with(byKey(mixed), false), sdk.KindRejected, "NOT_FOUND", 0},
		"an opt-out that may not":              {with(byKey(optOut), false), sdk.KindUnchanged, "", 0},
		"a grant by id":                        {byID(attrs{"donotemail": false}), sdk.KindRejected, "NOT_FOUND", 0},
		"an opt-out by id":                     {byID(optOut), sdk.KindUnchanged, "", 0},
		"a grant by id that may create":        {with(byID(attrs{"donotemail": false}), true), sdk.KindDelivered, "", 1},
		"an opt-out with a column that is bad": {byKey(attrs{"donotemail": true, "birthdate": "someday"}), sdk.KindUnchanged, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			o := deliver(t, mustTarget(t, config(e.url, nil)), plugintest.Record(t, tc.record))
			expect(t, o, tc.kind, tc.code)
			if n := len(e.Rows("contacts")); n != tc.rows {
				t.Errorf("%d rows, want %d", n, tc.rows)
			}
			if tc.rows == 1 && tc.record["id"] != nil && o.Reference != nobody {
				t.Errorf("reference is %q", o.Reference)
			}
		})
	}
}

func TestResubscribeOfRows(t *testing.T) {
	for name, tc := range map[string]struct {
		policy        string
		held, columns attrs
		kind          sdk.Kind
		want          attrs
		looked        int
	}{
		"never, standing":           {"never", attrs{"donotemail": true}, attrs{"donotemail": false, "lastname": "J"}, sdk.KindRejected, attrs{"donotemail": true, "lastname": nil}, 1},
		"never is the default":      {"", attrs{"donotemail": true}, attrs{"donotemail": false}, sdk.KindRejected, attrs{"donotemail": true}, 1},
		"never, a null lifts too":   {"never", attrs{"donotemail": true}, attrs{"donotemail": nil}, sdk.KindRejected, attrs{"donotemail": true}, 1},
		"never, another one stands": {"never", attrs{"donotemail": true}, attrs{"donotphone": false}, sdk.KindDelivered, attrs{"donotemail": true, "donotphone": false}, 1},
		"never, nothing stands":     {"never", attrs{"donotemail": false}, attrs{"donotemail": false, "lastname": "J"}, sdk.KindDelivered, attrs{"donotemail": false, "lastname": "J"}, 1},
		"never, an opt-out":         {"never", attrs{"donotemail": false}, attrs{"donotemail": true}, sdk.KindDelivered, attrs{"donotemail": true}, 0},
		"never, no do-not column":   {"never", attrs{"donotemail": true}, attrs{"lastname": "J"}, sdk.KindDelivered, attrs{"donotemail": true, "lastname": "J"}, 0},
		"never, what is taken away": {"never", attrs{"donotemail": true, "donotphone": false}, attrs{"donotemail": false, "donotphone": true, "lastname": "J"}, sdk.KindRejected, attrs{"donotemail": true, "donotphone": true, "lastname": nil}, 1},
		"force":                     {"force", attrs{"donotemail": true}, attrs{"donotemail": false}, sdk.KindDelivered, attrs{"donotemail": false}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			e.Put("contacts", merged(attrs{"acme_cpmid": "5f0c"}, tc.held))
			o := deliver(t, mustTarget(t, config(e.url, attrs{"resubscribe": tc.policy})), contact(t, "5f0c", tc.columns))
			code := ""
			if tc.kind == sdk.KindRejected {
				code = "OPTED_OUT"
			}
			expect(t, o, tc.kind, code)
			row := e.contact(t, "5f0c")
			for column, want := range tc.want {
				if row[column] != want {
					t.Errorf("%s is %v, want %v", column, row[column], want)
				}
			}
			if n := len(e.asked("GET")); n != tc.looked {
				t.Errorf("looked %d times, want %d", n, tc.looked)
			}
		})
	}
}

func merged(maps ...attrs) attrs {
	all := attrs{}
	for _, m := range maps {
		for name, v := range m {
			all[name] = v
		}
	}
	return all
}

// What a record takes away arrives although the rest of it is refused, and the fault is still seen.
func TestTakings(t *testing.T) {
	bad := attrs{"donotemail": true, "donotphone": true, "birthdate": "someday"}
	newCase := func(t *testing.T) (*environment, *target) {
		e := newEnvironment(t)
		e.Put("contacts", attrs{"acme_cpmid": "5f0c", "donotemail": false})
		return e, mustTarget(t, config(e.url, nil))
	}
	t.Run("a bad column", func(t *testing.T) {
		e, target := newCase(t)
		o := deliver(t, target, contact(t, "5f0c", bad))
		expect(t, o, sdk.KindRejected, "0x80048d19")
		if row := e.contact(t, "5f0c"); row["donotemail"] != true || row["donotphone"] != true {
			t.Errorf("the withdrawal is lost: %v", row)
		}
	})
	t.Run("a lookup to a row that is not there", func(t *testing.T) {
		e, target := newCase(t)
		record := contact(t, "5f0c", attrs{"donotemail": true, "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A1')"})
		expect(t, deliver(t, target, record), sdk.KindRejected, "NOT_FOUND")
		if e.contact(t, "5f0c")["donotemail"] != true {
			t.Error("the withdrawal is lost")
		}
		id := e.Put("accounts", attrs{"accountnumber": "A1"})
		expect(t, deliver(t, target, record), sdk.KindDelivered, "")
		if e.contact(t, "5f0c")["_parentcustomerid_value"] != id {
			t.Errorf("row is %v", e.contact(t, "5f0c"))
		}
	})
	t.Run("a lookup in a record that grants", func(t *testing.T) {
		e, target := newCase(t)
		record := contact(t, "5f0c", attrs{"donotphone": true, "donotemail": false, "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A1')"})
		expect(t, deliver(t, target, record), sdk.KindRetry, "REFERENCE_NOT_FOUND")
		if e.contact(t, "5f0c")["donotphone"] != true {
			t.Error("the withdrawal waits for a lookup")
		}
	})
	t.Run("nobody to take from", func(t *testing.T) {
		e, target := newCase(t)
		record := contact(t, "nobody", attrs{"donotemail": true, "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A1')"})
		expect(t, deliver(t, target, record), sdk.KindUnchanged, "")
		record = contact(t, "nobody", bad, attrs{"create": true})
		expect(t, deliver(t, target, record), sdk.KindRejected, "0x80048d19")
		if len(e.Rows("contacts")) != 1 {
			t.Error("somebody was created")
		}
	})
	t.Run("not now", func(t *testing.T) {
		e, target := newCase(t)
		e.FailOperation("PATCH", 1, sim.Fault{Status: 400, Code: "0x80044331", Message: "A validation error occurred."})
		e.FailOperation("PATCH", 1, sim.Fault{Status: 429, Code: "0x80072322", Message: "Number of requests exceeded", Header: http.Header{"Retry-After": {"7"}}})
		expect(t, deliver(t, target, contact(t, "5f0c", bad)), sdk.KindThrottled, "0x80072322")
	})
	t.Run("nothing else in the record", func(t *testing.T) {
		e, target := newCase(t)
		e.FailOperation("PATCH", 1, sim.Fault{Status: 400, Code: "0x80040265", Message: "no"})
		expect(t, deliver(t, target, contact(t, "5f0c", attrs{"donotemail": true})), sdk.KindRejected, "0x80040265")
		if n := len(e.asked("PATCH")); n != 1 {
			t.Errorf("%d writes, the same twice", n)
		}
	})
}

func TestLookups(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	const bind = "parentcustomerid_account@odata.bind"
	first := contact(t, "5f0c", attrs{"lastname": "J", bind: "/accounts(accountnumber='A1')"})
	expect(t, deliver(t, target, first), sdk.KindRetry, "REFERENCE_NOT_FOUND")
	id := e.Put("accounts", attrs{"accountnumber": "A1"})
	expect(t, deliver(t, target, first), sdk.KindDelivered, "")
	if e.contact(t, "5f0c")["_parentcustomerid_value"] != id {
		t.Errorf("row is %v", e.contact(t, "5f0c"))
	}
	expect(t, deliver(t, target, contact(t, "5f0c", attrs{bind: nil})), sdk.KindDelivered, "")
	if _, there := e.contact(t, "5f0c")["_parentcustomerid_value"]; there {
		t.Error("a null did not clear the lookup")
	}
}

func TestKeys(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	account := e.Put("accounts", attrs{"accountnumber": "A1"})
	for _, tc := range []struct {
		key        attrs
		path, held string
	}{
		{attrs{"acme_cpmid": "O'Neill d''Arc, ü=1 (x)"}, "contacts(acme_cpmid='O''Neill d''''Arc, ü=1 (x)')", "O'Neill d''Arc, ü=1 (x)"},
		{attrs{"firstname": "Joe", "emailaddress1": "abc@example.com"}, "contacts(emailaddress1='abc@example.com',firstname='Joe')", ""},
		{attrs{"acme_number": 7, "_parentcustomerid_value": account}, "contacts(_parentcustomerid_value=" + account + ",acme_number=7)", ""},
	} {
		e.forget()
		r := plugintest.Record(t, attrs{"table": "contacts", "key": tc.key, "columns": attrs{"lastname": "J"}})
		for range 2 {
			expect(t, deliver(t, target, r), sdk.KindDelivered, "")
		}
		if got := e.asked("PATCH")[0].path; got != "/api/data/v9.2/"+tc.path {
			t.Errorf("path is %s, want %s", got, tc.path)
		}
		if _, ok := e.Row("contacts", "acme_cpmid", tc.held); tc.held != "" && !ok {
			t.Errorf("no row %s", tc.held)
		}
	}
	if n := len(e.Rows("contacts")); n != 3 {
		t.Errorf("%d rows, want 3: %v", n, e.Rows("contacts"))
	}
}

func TestRecordsThatCannotBeSent(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	base := func(change attrs) sdk.Record {
		return plugintest.Record(t, merged(attrs{"table": "contacts", "key": attrs{"acme_cpmid": "5f0c"}, "columns": attrs{}}, change))
	}
	for _, tc := range []struct {
		record sdk.Record
		code   string
	}{
		{base(attrs{"table": "contacts(1)/x"}), "INVALID_TABLE"},
		{base(attrs{"table": nil}), "INVALID_TABLE"},
		{plugintest.Record(t, attrs{}), "INVALID_TABLE"},
		{base(attrs{"key": nil}), "INVALID_KEY"},
		{base(attrs{"key": attrs{}}), "INVALID_KEY"},
		{base(attrs{"id": "00000000-0000-0000-0000-0000000000ff"}), "INVALID_KEY"},
		{base(attrs{"key": nil, "id": "5f0c"}), "INVALID_ID"},
		{base(attrs{"key": attrs{"acme_cpmid": ""}}), "INVALID_KEY"},
		{base(attrs{"key": attrs{"acme_cpmid": " a"}}), "INVALID_KEY"},
		{base(attrs{"key": attrs{"acme_cpmid": "a\r\nb"}}), "INVALID_KEY"},
		{base(attrs{"key": attrs{"acme_cpmid": nil}}), "INVALID_KEY"},
		{base(attrs{"key": attrs{"acme_cpmid": true}}), "INVALID_KEY"},
		{base(attrs{"key": attrs{"x='1',y": "1"}}), "INVALID_KEY"},
		{base(attrs{"key": attrs{"emailaddress1": "ann+x@example.com"}}), "KEY_CHARACTERS"},
		{base(attrs{"key": attrs{"acme_cpmid": "a/b"}}), "KEY_CHARACTERS"},
		{base(attrs{"columns": attrs{"acme_cpmid": "other"}}), "KEY_IN_COLUMNS"},
		{base(attrs{"columns": attrs{"last name": "x"}}), "INVALID_COLUMN"},
		{base(attrs{"columns": "x"}), "INVALID_RECORD"},
		{base(attrs{"consent": attrs{"status": "opted_in"}}), "ROW_AND_CONSENT"},
		{consentOf(t, "", "opted_in"), "INVALID_CONTACT_POINT"},
		{consentOf(t, "ann", "opted_in"), "INVALID_CONTACT_POINT"},
		{consentOf(t, "ann@example.com ", "opted_in"), "INVALID_CONTACT_POINT"},
		{consentOf(t, strings.Repeat("a", 400)+"@example.com", "opted_in"), "INVALID_CONTACT_POINT"},
		{consentOf(t, "ann@example.com", "opted_in", attrs{"channel": "custom"}), "INVALID_CHANNEL"},
		{consentOf(t, "ann@example.com", "in"), "INVALID_STATUS"},
		{consentOf(t, "ann@example.com", "opted_in", attrs{"purpose": "Commercial"}), "INVALID_PURPOSE"},
		{consentOf(t, "ann@example.com", "opted_in", attrs{"topic": "Jazz"}), "INVALID_PURPOSE"},
		{consentOf(t, "ann@example.com", "opted_in", attrs{"reason": strings.Repeat("x", 501)}), "INVALID_REASON"},
	} {
		outcomes := target.Deliver(t.Context(), []sdk.Record{contact(t, "good", attrs{"lastname": "J"}), tc.record})
		expect(t, outcomes[0], sdk.KindDelivered, "")
		expect(t, outcomes[1], sdk.KindRejected, tc.code)
		if strings.Contains(outcomes[1].Message, "ann@") {
			t.Errorf("the message names the person: %s", outcomes[1].Message)
		}
	}
}
