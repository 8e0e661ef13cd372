package marketo

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/marketo/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func (a *account) held(t *testing.T, email string) fields {
	t.Helper()
	is, found := a.Lead("email", email)
	if !found {
		t.Fatal("nobody is held")
	}
	delete(is, "id")
	delete(is, "email")
	return is
}

// Somebody whom Marketo holds in one way, and what a record does to them.
func TestOptOuts(t *testing.T) {
	for _, tc := range []struct {
		name        string
		held, set   fields
		never       sdk.Kind
		code        string
		now, forced fields
	}{
		{"nothing, in", fields{}, fields{"unsubscribed": false}, sdk.KindUnchanged, "", fields{}, fields{}},
		{"in, in", fields{"unsubscribed": false}, fields{"unsubscribed": false}, sdk.KindUnchanged, "", fields{"unsubscribed": false}, fields{"unsubscribed": false}},
		{"in, out", fields{"unsubscribed": false}, fields{"unsubscribed": true, "unsubscribedReason": "CPM"}, sdk.KindDelivered, "",
			fields{"unsubscribed": true, "unsubscribedReason": "CPM"}, fields{"unsubscribed": true, "unsubscribedReason": "CPM"}},
		{"out, out", fields{"unsubscribed": true}, fields{"unsubscribed": true}, sdk.KindUnchanged, "", fields{"unsubscribed": true}, fields{"unsubscribed": true}},
		{"out, in", fields{"unsubscribed": true}, fields{"unsubscribed": false}, sdk.KindRejected, "OPTED_OUT", fields{"unsubscribed": true}, fields{"unsubscribed": false}},
		{"out, cleared", fields{"unsubscribed": true}, fields{"unsubscribed": nil}, sdk.KindRejected, "OPTED_OUT", fields{"unsubscribed": true}, fields{"unsubscribed": false}},
		{"out, a name", fields{"unsubscribed": true}, fields{"firstName": "Ada"}, sdk.KindDelivered, "",
			fields{"unsubscribed": true, "firstName": "Ada"}, fields{"unsubscribed": true, "firstName": "Ada"}},
		{"no calls, back", fields{"doNotCall": true}, fields{"doNotCall": false}, sdk.KindRejected, "OPTED_OUT", fields{"doNotCall": true}, fields{"doNotCall": false}},
		{"out of one, back into another", fields{"unsubscribed": false, "marketingSuspended": true}, fields{"unsubscribed": true, "marketingSuspended": false, "firstName": "Ada"},
			sdk.KindRejected, "OPTED_OUT", fields{"unsubscribed": true, "marketingSuspended": true}, fields{"unsubscribed": true, "marketingSuspended": false, "firstName": "Ada"}},
	} {
		for _, policy := range []string{"", "force"} {
			t.Run(tc.name+"/"+policy, func(t *testing.T) {
				a := newAccount(t)
				tc.held["email"] = ada
				a.Put(tc.held)
				kind, code, now := tc.never, tc.code, tc.now
				if policy == "force" {
					code, now = "", tc.forced
					if kind == sdk.KindRejected {
						kind = sdk.KindDelivered
					}
				}
				want(t, a.target(t, fields{"resubscribe": policy}), kind, code, lead(ada, tc.set))
				if got := a.held(t, ada); string(plugintest.Encode(t, got)) != string(plugintest.Encode(t, now)) {
					t.Errorf("held %v, want %v", got, now)
				}
			})
		}
	}
}

func TestUnknownPerson(t *testing.T) {
	for _, tc := range []struct {
		name   string
		create bool
		record fields
		kind   sdk.Kind
		code   string
		now    string // nothing: nobody
	}{
		{"in", false, lead(ada, fields{"unsubscribed": false, "firstName": "Ada", "city": nil}), sdk.KindDelivered, "", `{"firstName":"Ada","unsubscribed":false}`},
		{"out", false, lead(ada, fields{"unsubscribed": true, "firstName": "Ada"}), sdk.KindUnchanged, "", ""},
		{"out, create", true, lead(ada, fields{"unsubscribed": true}), sdk.KindDelivered, "", `{"unsubscribed":true}`},
		{"a name", false, lead(ada, fields{"firstName": "Ada"}), sdk.KindRejected, "UNKNOWN_LEAD", ""},
		{"nothing", false, fields{"lookup_value": ada}, sdk.KindUnchanged, "", ""},
		{"on a list", false, fields{"lookup_value": ada, "lists": fields{sim.ListID: true}}, sdk.KindDelivered, "", `{}`},
		{"off a list", false, fields{"lookup_value": ada, "lists": fields{sim.ListID: false}}, sdk.KindUnchanged, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			want(t, a.target(t, fields{"create": tc.create}), tc.kind, tc.code, tc.record)
			if tc.now == "" {
				if a.Leads("email", ada) > 0 {
					t.Error("a lead was made")
				}
			} else if got := string(plugintest.Encode(t, a.held(t, ada))); got != tc.now {
				t.Errorf("held %s, want %s", got, tc.now)
			}
		})
	}
}

func TestNullAbsentFalse(t *testing.T) {
	for _, tc := range []struct {
		set  fields
		kind sdk.Kind
		now  string
	}{
		{fields{}, sdk.KindUnchanged, `{"children":3,"firstName":"Ada","vip":true}`},
		{fields{"firstName": nil}, sdk.KindDelivered, `{"children":3,"vip":true}`},
		{fields{"lastName": nil}, sdk.KindUnchanged, `{"children":3,"firstName":"Ada","vip":true}`},
		{fields{"vip": false}, sdk.KindDelivered, `{"children":3,"firstName":"Ada","vip":false}`},
		{fields{"vip": nil}, sdk.KindDelivered, `{"children":3,"firstName":"Ada"}`},
		{fields{"children": 3, "firstName": "Ada"}, sdk.KindUnchanged, `{"children":3,"firstName":"Ada","vip":true}`},
		{fields{"firstName": ""}, sdk.KindDelivered, `{"children":3,"firstName":"","vip":true}`},
	} {
		a := newAccount(t)
		a.Put(fields{"email": ada, "firstName": "Ada", "vip": true, "children": 3})
		target := a.target(t, nil)
		want(t, target, tc.kind, "", lead(ada, tc.set))
		if got := string(plugintest.Encode(t, a.held(t, ada))); got != tc.now {
			t.Errorf("%v: held %s, want %s", tc.set, got, tc.now)
		}
		a.calls()
		want(t, target, sdk.KindUnchanged, "", lead(ada, tc.set))
		if writes := a.calls(); len(writes) > 0 {
			t.Errorf("%v: the second time sent %v", tc.set, writes)
		}
	}
}

func TestLists(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	on := func(yes any, email string) fields {
		return fields{"lookup_value": email, "lists": fields{sim.ListID: yes}}
	}
	for _, o := range target.deliverAll(t, on(true, ada), on(true, bob)) {
		if o.Kind != sdk.KindDelivered {
			t.Fatalf("%+v", o)
		}
	}
	if !a.OnList(sim.ListID, "email", ada) || !a.OnList(sim.ListID, "email", bob) {
		t.Error("not on the list")
	}
	want(t, target, sdk.KindDelivered, "", on(false, ada))
	want(t, target, sdk.KindUnchanged, "", on(false, ada)) // 1015: not in the list
	want(t, target, sdk.KindDelivered, "", on(nil, bob))
	if a.OnList(sim.ListID, "email", ada) || a.OnList(sim.ListID, "email", bob) {
		t.Error("still on the list")
	}
	want(t, target, sdk.KindUnauthorized, "MARKETO_1013", fields{"lookup_value": ada, "lists": fields{"7": true}})
	want(t, target, sdk.KindRejected, "INVALID_LIST_ID", fields{"lookup_value": ada, "lists": fields{"../7": true}})
	// Who is refused is taken off lists, and put on none.
	a.Put(fields{"email": "out@example.org", "unsubscribed": true})
	want(t, target, sdk.KindRejected, "OPTED_OUT", fields{"lookup_value": "out@example.org", "fields": fields{"unsubscribed": false}, "lists": fields{sim.ListID: true}})
	if a.OnList(sim.ListID, "email", "out@example.org") {
		t.Error("put on the list in spite of the opt-out")
	}
}

// Good rows, bad rows and what is right already, in one batch; the results are in the rows' order.
func TestBatch(t *testing.T) {
	a := newAccount(t)
	for n := range 10 {
		a.Put(fields{"email": fmt.Sprintf("p%d@example.org", n), "unsubscribed": n == 4})
	}
	target := a.target(t, nil)
	someone := func(n int, set fields) fields { return lead(fmt.Sprintf("p%d@example.org", n), set) }
	outcomes := target.deliverAll(t,
		someone(0, fields{"unsubscribed": true}),
		someone(1, fields{"vip": "perhaps", "unsubscribed": true}), // refused, and out all the same
		someone(2, fields{"unsubscribed": false}),
		lead("nobody", fields{"unsubscribed": true}),
		someone(4, fields{"unsubscribed": false}),
		someone(20, fields{"unsubscribed": false}),
		someone(6, fields{"city": "Paris"}),
		someone(0, fields{"city": "Rome"}),
		someone(7, fields{"city": "Oslo"}),
	)
	var got []string
	for _, o := range outcomes {
		got = append(got, fmt.Sprint(o.Kind, " ", o.Code))
	}
	expected := []string{"delivered ", "rejected MARKETO_1001", "unchanged ", "rejected INVALID_EMAIL", "rejected OPTED_OUT", "delivered ", "delivered ", "delivered ", "delivered "}
	if !slices.Equal(got, expected) {
		t.Fatalf("outcomes %q, want %q", got, expected)
	}
	for email, now := range map[string]string{
		"p0@example.org": `{"city":"Rome","unsubscribed":true}`, "p1@example.org": `{"unsubscribed":true}`,
		"p4@example.org": `{"unsubscribed":true}`, "p6@example.org": `{"city":"Paris","unsubscribed":false}`, "p20@example.org": `{"unsubscribed":false}`,
	} {
		if held := string(plugintest.Encode(t, a.held(t, email))); held != now {
			t.Errorf("%s is %s, want %s", email, held, now)
		}
	}
	for n, o := range outcomes {
		if email := fmt.Sprintf("p%d@example.org", n); o.Kind == sdk.KindDelivered && n < 5 {
			is, _ := a.Lead("email", email)
			if o.Reference != fmt.Sprint(is["id"]) {
				t.Errorf("%s: the reference is %q, want %v", email, o.Reference, is["id"])
			}
		}
	}
}

// 300 people with long addresses are more than one filter takes.
func TestLargeBatch(t *testing.T) {
	a := newAccount(t)
	var records []fields
	for n := range maxRows {
		email := fmt.Sprintf("%s%d@example.org", strings.Repeat("x", 60), n)
		a.Put(fields{"email": email})
		records = append(records, lead(email, fields{"unsubscribed": true}))
	}
	for _, o := range a.target(t, nil).deliverAll(t, records...) {
		if o.Kind != sdk.KindDelivered {
			t.Fatalf("%+v", o)
		}
	}
	if writes := a.calls(); len(writes) != 1 {
		t.Errorf("%d calls that write, want one", len(writes))
	}
}

// Marketo may hold several leads of one address.
func TestDuplicates(t *testing.T) {
	a := newAccount(t)
	a.Put(fields{"email": ada, "customerNumber": "1"})
	a.Put(fields{"email": strings.ToUpper(ada), "customerNumber": "2"})
	target := a.target(t, nil)
	out := func(number string) bool {
		is, _ := a.Lead("customerNumber", number)
		return is["unsubscribed"] == true
	}
	want(t, target, sdk.KindRejected, "MULTIPLE_LEADS", lead(ada, fields{"firstName": "Ada", "doNotCall": true}))
	if is, _ := a.Lead("customerNumber", "2"); is["doNotCall"] != true || is["firstName"] != nil {
		t.Errorf("held %v", is)
	}
	want(t, target, sdk.KindDelivered, "", lead(ada, fields{"unsubscribed": true}))
	if !out("1") || !out("2") {
		t.Error("not all are out")
	}
	erased := target.Erase(t.Context(), []sdk.Record{plugintest.Record(t, lead(ada, nil))})
	if erased[0].Kind != sdk.KindRejected { // fields are null
		t.Errorf("%+v", erased)
	}
	erased = target.Erase(t.Context(), []sdk.Record{plugintest.Record(t, fields{"lookup_value": ada}), plugintest.Record(t, fields{"lookup_value": bob})})
	if erased[0].Kind != sdk.KindDelivered || erased[1].Kind != sdk.KindDelivered || a.Leads("email", ada) != 0 {
		t.Errorf("%+v, and %d are left", erased, a.Leads("email", ada))
	}
}

func TestOtherLookupField(t *testing.T) {
	a := newAccount(t)
	a.Put(fields{"email": ada, "customerNumber": "C-1"})
	target := a.target(t, fields{"lookup_field": "customerNumber", "partition": "Europe"})
	want(t, target, sdk.KindDelivered, "", lead("C-1", fields{"email": bob, "unsubscribed": true}))
	want(t, target, sdk.KindDelivered, "", lead("C-2", fields{"unsubscribed": false}))
	if is, _ := a.Lead("customerNumber", "C-1"); is["email"] != bob || is["unsubscribed"] != true {
		t.Errorf("held %v", is)
	}
	calls := a.calls()
	if last := calls[len(calls)-1].Body; !strings.Contains(last, `"partitionName":"Europe"`) || !strings.Contains(last, `"lookupField":"customerNumber"`) {
		t.Errorf("created by %s", last)
	}
}
