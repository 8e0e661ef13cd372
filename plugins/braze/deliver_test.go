package braze_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/braze/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

const (
	track  = "/users/track"
	export = "/users/export/ids"
	status = "/subscription/user/status"
)

// objects are the attributes objects that were tracked since the last call.
func (w *workspace) objects(t *testing.T) []fields {
	t.Helper()
	var all []fields
	for _, e := range w.calls(track) {
		var body struct{ Attributes []fields }
		if err := json.Unmarshal([]byte(e.body), &body); err != nil {
			t.Fatal(err)
		}
		all = append(all, body.Attributes...)
	}
	return all
}

// What a record becomes on the wire.
func TestObjects(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config fields
		record fields
		object fields // nil: no call
	}{
		{
			"everything", nil,
			fields{"external_id": "u1", "email": ada, "phone": "+4930123456", "email_subscribe": "opted_in", "push_subscribe": "subscribed",
				"subscription_groups": fields{news: true, jazz: false}, "attributes": fields{"first_name": "Ada", "big": 9007199254740993, "tags": fields{"add": []string{"x"}}}},
			fields{"external_id": "u1", "email": ada, "phone": "+4930123456", "email_subscribe": "opted_in", "push_subscribe": "subscribed",
				"subscription_groups": []any{
					fields{"subscription_group_id": jazz, "subscription_state": "unsubscribed"},
					fields{"subscription_group_id": news, "subscription_state": "subscribed"},
				},
				"first_name": "Ada", "big": 9007199254740993.0, "tags": fields{"add": []any{"x"}}, "_update_existing_only": false},
		},
		{"opt-out", nil, fields{"external_id": "u1", "email_subscribe": "unsubscribed"}, fields{"external_id": "u1", "email_subscribe": "unsubscribed", "_update_existing_only": true}},
		{"opt-out, create", fields{"create": true}, fields{"external_id": "u1", "email_subscribe": "unsubscribed"}, fields{"external_id": "u1", "email_subscribe": "unsubscribed", "_update_existing_only": false}},
		{"attributes alone", nil, fields{"external_id": "u1", "attributes": fields{"vip": false}}, fields{"external_id": "u1", "vip": false, "_update_existing_only": true}},
		{"nulls", nil,
			fields{"external_id": "u1", "email": nil, "phone": nil, "email_subscribe": nil, "push_subscribe": nil, "subscription_groups": fields{news: nil}, "attributes": fields{"city": nil}},
			fields{"external_id": "u1", "email": nil, "phone": nil, "email_subscribe": "unsubscribed", "push_subscribe": "unsubscribed", "city": nil, "_update_existing_only": true,
				"subscription_groups": []any{fields{"subscription_group_id": news, "subscription_state": "unsubscribed"}}}},
		{"groups left", nil, fields{"external_id": "u1", "subscription_groups": fields{jazz: false}},
			fields{"external_id": "u1", "_update_existing_only": true, "subscription_groups": []any{fields{"subscription_group_id": jazz, "subscription_state": "unsubscribed"}}}},
		{"by alias", nil, fields{"user_alias": fields{"alias_name": "n", "alias_label": "cpm"}, "push_subscribe": "opted_in"}, fields{"user_alias": fields{"alias_name": "n", "alias_label": "cpm"}, "push_subscribe": "opted_in", "_update_existing_only": false}},
		{"by Braze's id", nil, fields{"braze_id": "b1", "email": ada, "push_subscribe": "unsubscribed"}, fields{"braze_id": "b1", "email": ada, "push_subscribe": "unsubscribed", "_update_existing_only": true}},
		{"by address", nil, fields{"email": ada, "phone": "+4930123456", "email_subscribe": "subscribed"}, fields{"email": ada, "phone": "+4930123456", "email_subscribe": "subscribed", "_update_existing_only": false}},
		{"by number", nil, fields{"phone": "+4930123456", "attributes": fields{"vip": true}}, fields{"phone": "+4930123456", "vip": true, "_update_existing_only": true}},
		{"identity alone", nil, fields{"external_id": "u1"}, nil},
		{"address alone", nil, fields{"email": ada}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorkspace(t)
			o := deliver(t, w.target(t, tc.config), tc.record)[0]
			sent := w.objects(t)
			if tc.object == nil {
				if o.Kind != sdk.KindUnchanged || len(sent) > 0 {
					t.Errorf("%v, sent %v", o, sent)
				}
				return
			}
			if o.Kind != sdk.KindAccepted || !reflect.DeepEqual(sent, []fields{tc.object}) {
				t.Errorf("outcome %v, sent\n%v, want\n%v", o, sent, tc.object)
			}
		})
	}
}

func TestInvalidRecords(t *testing.T) {
	w := newWorkspace(t)
	target := w.target(t, nil)
	for _, tc := range []struct {
		code   string
		record fields
	}{
		{"NO_IDENTIFIER", fields{"email_subscribe": "opted_in"}},
		{"NO_IDENTIFIER", fields{"email": nil, "phone": nil}},
		{"SEVERAL_IDENTIFIERS", fields{"external_id": "u1", "braze_id": "b1"}},
		{"INVALID_IDENTIFIER", fields{"external_id": "", "email": ada}},
		{"INVALID_IDENTIFIER", fields{"external_id": nil, "email": ada}},
		{"INVALID_IDENTIFIER", fields{"external_id": " u1"}},
		{"INVALID_IDENTIFIER", fields{"external_id": strings.Repeat("x", 988)}},
		{"INVALID_IDENTIFIER", fields{"user_alias": fields{"alias_name": "n"}}},
		{"INVALID_IDENTIFIER", fields{"user_alias": nil, "email": ada}},
		{"INVALID_RECORD", fields{"external_id": 7}},
		{"EMAIL_BAD_FORMAT", fields{"external_id": "u1", "email": "ada"}},
		{"PHONE_BAD_FORMAT", fields{"external_id": "u1", "phone": "030 123456"}},
		{"INVALID_STATUS", fields{"external_id": "u1", "email_subscribe": "yes"}},
		{"INVALID_STATUS", fields{"external_id": "u1", "push_subscribe": ""}},
		{"INVALID_SUBSCRIPTION_GROUP", fields{"external_id": "u1", "subscription_groups": fields{"my newsletter": true}}},
		{"NULL_ATTRIBUTES", fields{"external_id": "u1", "attributes": nil}},
		{"RESERVED_ATTRIBUTE", fields{"external_id": "u1", "attributes": fields{"email_subscribe": "opted_in"}}},
		{"RESERVED_ATTRIBUTE", fields{"external_id": "u1", "attributes": fields{"_update_existing_only": false}}},
		{"ACCUMULATING_ATTRIBUTE", fields{"external_id": "u1", "attributes": fields{"visits": fields{"inc": 1}}}},
		{"ACCUMULATING_ATTRIBUTE", fields{"external_id": "u1", "attributes": fields{"cars": fields{"$add": []any{fields{"id": 1}}}}}},
	} {
		want(t, target, sdk.KindRejected, tc.code, tc.record)
	}
	if sent := w.objects(t); len(sent) > 0 {
		t.Errorf("sent %v", sent)
	}
}

// What Braze holds of somebody, and what a grant does to that.
func TestResubscribe(t *testing.T) {
	email := fields{"external_id": "u1", "email_subscribe": "opted_in"}
	push := fields{"external_id": "u1", "push_subscribe": "opted_in"}
	group := fields{"external_id": "u1", "subscription_groups": fields{news: true}}
	for _, tc := range []struct {
		name   string
		held   sim.User
		record fields
		out    bool // rejected under never
	}{
		{"email, never chosen", sim.User{EmailSubscribe: "subscribed"}, email, false},
		{"email, not told", sim.User{}, email, false},
		{"email, in", sim.User{EmailSubscribe: "opted_in"}, email, false},
		{"email, out", sim.User{EmailSubscribe: "unsubscribed"}, email, true},
		{"email, out, neutral wanted", sim.User{EmailSubscribe: "unsubscribed"}, fields{"external_id": "u1", "email_subscribe": "subscribed"}, true},
		{"push, out", sim.User{PushSubscribe: "unsubscribed"}, push, true},
		{"push, out of email", sim.User{EmailSubscribe: "unsubscribed"}, push, false},
		{"group, out", sim.User{Groups: map[string]string{news: "unsubscribed"}}, group, true},
		{"group, out of another", sim.User{Groups: map[string]string{jazz: "unsubscribed"}}, group, false},
		{"group, in", sim.User{Groups: map[string]string{news: "subscribed"}}, group, false},
		{"group, out of email", sim.User{EmailSubscribe: "unsubscribed"}, group, false},
	} {
		for _, resubscribe := range []string{"", "never", "force"} {
			t.Run(tc.name+"/"+resubscribe, func(t *testing.T) {
				w := newWorkspace(t)
				tc.held.ExternalID = "u1"
				w.Put(tc.held)
				before := w.user(t, "u1")
				target := w.target(t, fields{"resubscribe": resubscribe})
				if tc.out && resubscribe != "force" {
					want(t, target, sdk.KindRejected, "OPTED_OUT", tc.record)
					if after := w.user(t, "u1"); !reflect.DeepEqual(before, after) {
						t.Errorf("held %+v, want %+v", after, before)
					}
					return
				}
				want(t, target, sdk.KindAccepted, "", tc.record)
				after := w.user(t, "u1")
				if tc.out && reflect.DeepEqual(before, after) {
					t.Errorf("nothing changed: %+v", after)
				}
				if reads := w.calls(export); resubscribe == "force" && len(reads) > 0 {
					t.Errorf("read %v", reads)
				}
			})
		}
	}
}

// What is taken away reaches Braze when the rest may not be sent, or could not be looked up.
func TestTakingsGoAhead(t *testing.T) {
	mixed := fields{"external_id": "u1", "email": "new@example.org", "email_subscribe": "opted_in", "push_subscribe": "unsubscribed",
		"subscription_groups": fields{news: true, jazz: false}, "attributes": fields{"first_name": "Ada"}}
	start := sim.User{ExternalID: "u1", Email: ada, EmailSubscribe: "unsubscribed", PushSubscribe: "opted_in", Groups: map[string]string{jazz: "subscribed"}}
	check := func(t *testing.T, w *workspace) {
		t.Helper()
		u := w.user(t, "u1")
		if u.EmailSubscribe != "unsubscribed" || u.PushSubscribe != "unsubscribed" || u.Groups[jazz] != "unsubscribed" || u.Groups[news] != "" || u.Email != ada || len(u.Attributes) > 0 {
			t.Errorf("held %+v", u)
		}
	}
	t.Run("refused", func(t *testing.T) {
		w := newWorkspace(t)
		w.Put(start)
		want(t, w.target(t, nil), sdk.KindRejected, "OPTED_OUT", mixed)
		check(t, w)
	})
	t.Run("not looked up", func(t *testing.T) {
		w := newWorkspace(t)
		w.Put(start)
		w.Inject(sim.Fault{Times: 1, Path: export, Status: 500, Message: "Internal Server Error"})
		want(t, w.target(t, nil), sdk.KindRetry, "HTTP_500", mixed)
		check(t, w)
	})
	t.Run("refused, and then away", func(t *testing.T) {
		w := newWorkspace(t)
		w.Put(start)
		w.Inject(sim.Fault{Times: 1, Path: track, Status: 500, Message: "Internal Server Error"})
		want(t, w.target(t, nil), sdk.KindRetry, "HTTP_500", mixed)
	})
}

// An address may be that of several profiles; an opt-out in one counts.
func TestOptedOutInAnyProfile(t *testing.T) {
	w := newWorkspace(t)
	w.Put(sim.User{ExternalID: "u1", Email: ada, PushSubscribe: "opted_in"})
	w.Put(sim.User{ExternalID: "u2", Email: strings.ToUpper(ada), PushSubscribe: "unsubscribed", Groups: map[string]string{jazz: "unsubscribed"}})
	target := w.target(t, nil)
	want(t, target, sdk.KindRejected, "OPTED_OUT", fields{"email": ada, "push_subscribe": "opted_in"})
	want(t, target, sdk.KindRejected, "OPTED_OUT", fields{"email": ada, "subscription_groups": fields{jazz: true}})
	want(t, target, sdk.KindAccepted, "", fields{"email": ada, "subscription_groups": fields{news: true}})
	want(t, target, sdk.KindAccepted, "", fields{"external_id": "u1", "push_subscribe": "opted_in"})
	w.Unsubscribe(ada)
	want(t, target, sdk.KindRejected, "OPTED_OUT", fields{"external_id": "u1", "email_subscribe": "opted_in"})
}

// Groups are looked up by what Braze takes for that.
func TestGroupsByOtherIdentifiers(t *testing.T) {
	w := newWorkspace(t)
	out := map[string]string{jazz: "unsubscribed"}
	w.Put(sim.User{Aliases: []sim.Alias{{Name: "a1", Label: "cpm"}}, Email: ada, Groups: out})
	w.Put(sim.User{Aliases: []sim.Alias{{Name: "a2", Label: "cpm"}}, Phone: "+4930123456", Groups: out})
	w.Put(sim.User{Aliases: []sim.Alias{{Name: "a3", Label: "cpm"}, {Name: "x", Label: "y"}}, ExternalID: "u3", Groups: out})
	var records []fields
	for _, name := range []string{"a1", "a2", "a3"} {
		records = append(records, fields{"user_alias": fields{"alias_name": name, "alias_label": "cpm"}, "subscription_groups": fields{jazz: true}})
	}
	braze := w.Users()[2].BrazeID
	records = append(records,
		fields{"phone": "+4930123456", "subscription_groups": fields{jazz: true}},
		fields{"braze_id": braze, "subscription_groups": fields{jazz: true}},
		fields{"user_alias": fields{"alias_name": "a4", "alias_label": "cpm"}, "subscription_groups": fields{jazz: true}})
	outcomes := deliver(t, w.target(t, nil), records...)
	for i, o := range outcomes[:5] {
		if o.Code != "OPTED_OUT" {
			t.Errorf("record %d: %v", i, o)
		}
	}
	if outcomes[5].Kind != sdk.KindAccepted {
		t.Errorf("somebody new: %v", outcomes[5])
	}
	if n := len(w.calls(export)); n != 3 {
		t.Errorf("%d exports, want one for all aliases, one by number and one by Braze's id", n)
	}
}

func TestAllGroupsTakenAway(t *testing.T) {
	for _, resubscribe := range []string{"never", "force"} {
		w := newWorkspace(t)
		w.Put(sim.User{ExternalID: "u1", Groups: map[string]string{jazz: "subscribed", news: "unsubscribed"}})
		target := w.target(t, fields{"resubscribe": resubscribe})
		want(t, target, sdk.KindAccepted, "", fields{"external_id": "u1", "subscription_groups": nil})
		if u := w.user(t, "u1"); u.Groups[jazz] != "unsubscribed" {
			t.Errorf("held %v", u.Groups)
		}
		if sent := w.objects(t); len(sent) != 1 || len(sent[0]["subscription_groups"].([]any)) != 1 {
			t.Errorf("sent %v", sent)
		}
		want(t, target, sdk.KindUnchanged, "", fields{"external_id": "u1", "subscription_groups": nil})
		want(t, target, sdk.KindUnchanged, "", fields{"external_id": "nobody", "subscription_groups": nil})
	}
}

func TestOptOutOfStrangers(t *testing.T) {
	strangers := []fields{
		{"external_id": "x", "email": ada, "email_subscribe": "unsubscribed"},
		{"user_alias": fields{"alias_name": "x", "alias_label": "cpm"}, "push_subscribe": "unsubscribed"},
		{"email": ada, "email_subscribe": "unsubscribed"},
		{"external_id": "y", "attributes": fields{"vip": true}},
		{"external_id": "z", "subscription_groups": fields{jazz: false}},
	}
	w := newWorkspace(t)
	deliver(t, w.target(t, nil), strangers...)
	if all := w.Users(); len(all) != 0 {
		t.Errorf("held %+v", all)
	}
	deliver(t, w.target(t, fields{"create": true}), strangers...)
	if all := w.Users(); len(all) < 4 {
		t.Errorf("held %+v", all)
	}
}

// people are so many grants; the vendor's errors are matched by index.
func people(n int) []fields {
	var all []fields
	for i := range n {
		all = append(all, fields{"external_id": fmt.Sprintf("u%d", i), "email_subscribe": "opted_in"})
	}
	return all
}

func TestPartialSuccess(t *testing.T) {
	w := newWorkspace(t)
	w.FailObject("u3", 1, "EMAIL_BAD_FORMAT")
	w.FailObject("u70", 1, "BLACKLISTED_EXTERNAL_USER_ID")
	outcomes := deliver(t, w.target(t, fields{"resubscribe": "force"}), people(75)...)
	for i, o := range outcomes {
		kind, code := sdk.KindAccepted, map[int]string{3: "EMAIL_BAD_FORMAT", 70: "BLACKLISTED_EXTERNAL_USER_ID"}[i]
		if code != "" {
			kind = sdk.KindRejected
		}
		if o.Kind != kind || o.Code != code {
			t.Errorf("record %d: %v", i, o)
		}
	}
	if calls := w.calls(track); len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
	if n := len(w.Users()); n != 73 {
		t.Errorf("%d profiles", n)
	}
}

// A record that sinks its batch is found, by either way of sinking it.
func TestPoison(t *testing.T) {
	for name, tc := range map[string]struct {
		fault sim.Fault
		code  string
	}{
		"refused":       {sim.Fault{Status: 400, Message: "Bad Request"}, "BAD_REQUEST"},
		"error of none": {sim.Fault{Status: 201, Message: "success", Errors: []any{"something is wrong"}}, "INVALID_OBJECT"},
	} {
		for _, resubscribe := range []string{"never", "force"} {
			t.Run(name+"/"+resubscribe, func(t *testing.T) {
				w := newWorkspace(t)
				tc.fault.Times, tc.fault.Path, tc.fault.Body = -1, track, `"u41"`
				w.Inject(tc.fault)
				outcomes := deliver(t, w.target(t, fields{"resubscribe": resubscribe}), people(60)...)
				for i, o := range outcomes {
					if i == 41 && (o.Kind != sdk.KindRejected || o.Code != tc.code) || i != 41 && o.Kind != sdk.KindAccepted {
						t.Errorf("record %d: %v", i, o)
					}
				}
				if n := len(w.calls(track)); n > 13 {
					t.Errorf("%d calls", n)
				}
				if n := len(w.Users()); n != 59 {
					t.Errorf("%d profiles", n)
				}
			})
		}
	}
}

// Somebody else's poison makes a record go again: what is refused of it stays refused.
func TestRefusedBesidePoison(t *testing.T) {
	w := newWorkspace(t)
	w.Inject(sim.Fault{Times: -1, Path: track, Body: `"u1"`, Status: 400, Message: "Bad Request"})
	w.Put(sim.User{ExternalID: "out", Groups: map[string]string{news: "unsubscribed"}})
	outcomes := deliver(t, w.target(t, nil), append(people(3), fields{"external_id": "out", "push_subscribe": "unsubscribed", "subscription_groups": fields{news: true}})...)
	for i, code := range []string{"", "BAD_REQUEST", "", "OPTED_OUT"} {
		if outcomes[i].Code != code {
			t.Errorf("record %d: %v", i, outcomes[i])
		}
	}
	if u := w.user(t, "out"); u.PushSubscribe != "unsubscribed" || u.Groups[news] != "unsubscribed" {
		t.Errorf("held %+v", u)
	}
}

// Nor does somebody who cannot be looked up stop the others.
func TestPoisonedLook(t *testing.T) {
	w := newWorkspace(t)
	w.Poison(`"u41"`)
	target := w.target(t, nil)
	for i, o := range deliver(t, target, people(60)...) {
		if i == 41 && o.Kind != sdk.KindRejected || i != 41 && o.Kind != sdk.KindAccepted {
			t.Errorf("record %d: %v", i, o)
		}
	}
	var records []sdk.Record
	for _, c := range people(60) {
		records = append(records, plugintest.Record(t, c))
	}
	for i, r := range target.(sdk.Reader).Read(t.Context(), records) {
		if i == 41 && r.Outcome.Kind != sdk.KindRejected || i != 41 && !r.Found {
			t.Errorf("reading %d: %+v", i, r)
		}
	}
}

// Ids that are long go in more calls: those of one stand in an address.
func TestLongIds(t *testing.T) {
	w := newWorkspace(t)
	var records []fields
	for n := range 50 {
		records = append(records, fields{"external_id": fmt.Sprintf("%d-%s", n, strings.Repeat("x", 900)), "subscription_groups": fields{jazz: true}})
	}
	target := w.target(t, nil)
	for range 2 { // the second time they are known
		for _, o := range deliver(t, target, records...) {
			if o.Kind != sdk.KindAccepted {
				t.Fatal(o)
			}
		}
	}
	for _, e := range w.calls(status) {
		if len(e.query) > 8000 {
			t.Errorf("an address of %d bytes", len(e.query))
		}
	}
}

// One person's records go in their order, in calls of their own.
func TestOnePersonTwice(t *testing.T) {
	w := newWorkspace(t)
	outcomes := deliver(t, w.target(t, fields{"resubscribe": "force"}),
		fields{"external_id": "u1", "email_subscribe": "opted_in"}, fields{"external_id": "u2", "email_subscribe": "opted_in"},
		fields{"external_id": "u1", "email_subscribe": "unsubscribed"})
	if slices.ContainsFunc(outcomes, func(o sdk.Outcome) bool { return o.Kind != sdk.KindAccepted }) || w.user(t, "u1").EmailSubscribe != "unsubscribed" || len(w.calls(track)) != 2 {
		t.Errorf("%v, held %+v", outcomes, w.user(t, "u1"))
	}
}

// Reads are made in as few calls as Braze lets, and only for who needs them.
func TestFewReads(t *testing.T) {
	w := newWorkspace(t)
	records := people(75)
	for _, r := range records[60:] {
		r["email_subscribe"] = "unsubscribed"
	}
	deliver(t, w.target(t, nil), records...)
	exports := w.calls(export)
	if len(exports) != 2 || len(w.calls(status)) != 0 {
		t.Errorf("%d exports", len(exports))
	}
	if text := exports[0].body + exports[1].body; strings.Contains(text, `"u60"`) || !strings.Contains(text, `"u59"`) {
		t.Error("people were read who need not be, or the other way round")
	}
}
