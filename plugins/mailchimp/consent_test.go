package mailchimp_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/mailchimp/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

var (
	grant    = fields{"email": ada, "status": "subscribed"}
	withdraw = fields{"email": ada, "status": "unsubscribed"}
)

// The first withdrawal is the API's, the second the person's own: Mailchimp lets the API undo only the
// first.
func TestGrantWithdrawGrant(t *testing.T) {
	for _, tc := range []struct {
		resubscribe string
		kind        sdk.Kind
		code        string
		held        string

		ownKind sdk.Kind
		ownCode string
		ownHeld string
	}{
		{"", sdk.KindRejected, "OPTED_OUT", "unsubscribed", sdk.KindRejected, "OPTED_OUT", "unsubscribed"},
		{"never", sdk.KindRejected, "OPTED_OUT", "unsubscribed", sdk.KindRejected, "OPTED_OUT", "unsubscribed"},
		{"confirm", sdk.KindAccepted, "", "pending", sdk.KindAccepted, "", "pending"},
		{"force", sdk.KindDelivered, "", "subscribed", sdk.KindRejected, "COMPLIANCE_STATE", "unsubscribed"},
	} {
		t.Run("resubscribe="+tc.resubscribe, func(t *testing.T) {
			a := newAccount(t)
			target := a.target(t, fields{"resubscribe": tc.resubscribe})
			want(t, target, sdk.KindDelivered, "", grant)
			a.wantStatus(t, ada, "subscribed")
			want(t, target, sdk.KindDelivered, "", withdraw)
			a.wantStatus(t, ada, "unsubscribed")
			want(t, target, tc.kind, tc.code, grant)
			a.wantStatus(t, ada, tc.held)
			again := tc.kind
			if again == sdk.KindDelivered {
				again = sdk.KindUnchanged
			}
			want(t, target, again, tc.code, grant)

			a.Unsubscribe(ada)
			want(t, target, tc.ownKind, tc.ownCode, grant)
			m := a.wantStatus(t, ada, tc.ownHeld)
			if m.Status == "pending" && m.ConfirmationMails != 2 {
				t.Errorf("%d mails were sent for two grants that wait to be confirmed", m.ConfirmationMails)
			}
		})
	}
}

// Somebody whom Mailchimp holds in one status, and what a record does to them.
func TestTransitions(t *testing.T) {
	type cell struct {
		kind sdk.Kind
		code string
		now  string
	}
	var (
		stays  = func(now string) cell { return cell{sdk.KindUnchanged, "", now} }
		moves  = func(now string) cell { return cell{sdk.KindDelivered, "", now} }
		waits  = func(now string) cell { return cell{sdk.KindAccepted, "", now} }
		stands = func(code, now string) cell { return cell{sdk.KindRejected, code, now} }
	)
	for _, tc := range []struct {
		held, wanted          string
		never, confirm, force cell
	}{
		{"subscribed", "subscribed", stays("subscribed"), stays("subscribed"), stays("subscribed")},
		{"subscribed", "pending", stays("subscribed"), stays("subscribed"), stays("subscribed")},
		{"subscribed", "unsubscribed", moves("unsubscribed"), moves("unsubscribed"), moves("unsubscribed")},

		{"pending", "subscribed", waits("pending"), waits("pending"), moves("subscribed")},
		{"pending", "pending", stays("pending"), stays("pending"), stays("pending")},
		{"pending", "unsubscribed", moves("unsubscribed"), moves("unsubscribed"), moves("unsubscribed")},

		{"unsubscribed", "subscribed", stands("OPTED_OUT", "unsubscribed"), waits("pending"), moves("subscribed")},
		{"unsubscribed", "pending", stands("OPTED_OUT", "unsubscribed"), moves("pending"), moves("pending")},
		{"unsubscribed", "unsubscribed", stays("unsubscribed"), stays("unsubscribed"), stays("unsubscribed")},

		{"cleaned", "subscribed", stands("CLEANED", "cleaned"), waits("pending"), stands("COMPLIANCE_STATE", "cleaned")},
		{"cleaned", "pending", stands("CLEANED", "cleaned"), moves("pending"), moves("pending")},
		{"cleaned", "unsubscribed", stays("cleaned"), stays("cleaned"), stays("cleaned")},

		{"archived", "subscribed", stands("ARCHIVED", "archived"), waits("pending"), moves("subscribed")},
		{"archived", "pending", stands("ARCHIVED", "archived"), moves("pending"), moves("pending")},
		{"archived", "unsubscribed", moves("unsubscribed"), moves("unsubscribed"), moves("unsubscribed")},

		{"transactional", "subscribed", moves("subscribed"), moves("subscribed"), moves("subscribed")},
		{"transactional", "pending", moves("pending"), moves("pending"), moves("pending")},
		{"transactional", "unsubscribed", moves("unsubscribed"), moves("unsubscribed"), moves("unsubscribed")},
	} {
		for resubscribe, expected := range map[string]cell{"never": tc.never, "confirm": tc.confirm, "force": tc.force} {
			t.Run(tc.held+"/"+tc.wanted+"/"+resubscribe, func(t *testing.T) {
				a := newAccount(t)
				a.Put(sim.Member{Email: ada, Status: tc.held})
				target := a.target(t, fields{"resubscribe": resubscribe})
				want(t, target, expected.kind, expected.code, fields{"email": ada, "status": tc.wanted})
				a.wantStatus(t, ada, expected.now)
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
		held   string
	}{
		{"opt in", false, grant, sdk.KindDelivered, "", "subscribed"},
		{"asked to confirm", false, fields{"email": ada, "status": "pending"}, sdk.KindDelivered, "", "pending"},
		{"opt out", false, withdraw, sdk.KindUnchanged, "", ""},
		{"opt out, create", true, withdraw, sdk.KindDelivered, "", "unsubscribed"},
		{"no status, gives", true, fields{"email": ada, "interests": fields{"jazz": true}}, sdk.KindRejected, "NOT_A_MEMBER", ""},
		{"no status, takes", true, fields{"email": ada, "interests": fields{"jazz": false}, "language": nil}, sdk.KindUnchanged, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			target := a.target(t, fields{"create": tc.create})
			want(t, target, tc.kind, tc.code, tc.record)
			a.wantStatus(t, ada, tc.held)
		})
	}
}

// Mailchimp's own records of somebody whom it forgot, or bars, show only when they are written.
func TestUnknownButBarred(t *testing.T) {
	t.Run("forgotten", func(t *testing.T) {
		a := newAccount(t)
		target := a.target(t, fields{"create": true})
		want(t, target, sdk.KindDelivered, "", grant)
		erased := target.(sdk.Eraser).Erase(t.Context(), []sdk.Record{plugintest.Record(t, grant)})
		if erased[0].Kind != sdk.KindDelivered {
			t.Fatal(erased)
		}
		want(t, target, sdk.KindRejected, "FORGOTTEN_EMAIL", grant)
		want(t, target, sdk.KindUnchanged, "", withdraw)
	})
	t.Run("compliance state", func(t *testing.T) {
		a := newAccount(t)
		bar := sim.Fault{Times: 1, Method: "PUT", Problem: sim.ComplianceState(ada)}
		a.Inject(bar)
		want(t, a.target(t, nil), sdk.KindRejected, "COMPLIANCE_STATE", grant)
		a.Inject(bar)
		want(t, a.target(t, fields{"resubscribe": "force"}), sdk.KindRejected, "COMPLIANCE_STATE", grant)
		a.Inject(bar)
		want(t, a.target(t, fields{"create": true}), sdk.KindUnchanged, "", withdraw)
		a.wantStatus(t, ada, "")
		a.Inject(bar)
		want(t, a.target(t, fields{"resubscribe": "confirm"}), sdk.KindAccepted, "", grant)
		a.wantStatus(t, ada, "pending")
	})
}

// No update of anything else may carry a status, or it would undo what the person did meanwhile.
func TestStatusIsSentOnlyWhenItMustChange(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	want(t, target, sdk.KindDelivered, "", grant)
	for _, w := range a.writes() {
		if strings.Contains(w.Body, `"status"`) {
			t.Errorf("a new member is sent with a status beside status_if_new: %s", w.Body)
		}
	}
	want(t, target, sdk.KindDelivered, "", fields{"email": ada, "status": "subscribed", "merge_fields": fields{"FNAME": "Ada"}})
	writes := a.writes()
	if len(writes) != 1 || strings.Contains(writes[0].Body, `"status"`) {
		t.Errorf("an update of a name wrote %v", writes)
	}
}

// The person leaves after they were read and before they are written.
func TestLeavingMeanwhile(t *testing.T) {
	named := fields{"email": ada, "status": "subscribed", "merge_fields": fields{"FNAME": "Ada"}}
	for _, resubscribe := range []string{"never", "confirm", "force"} {
		t.Run(resubscribe, func(t *testing.T) {
			a := newAccount(t)
			a.Put(sim.Member{Email: ada, Status: "subscribed"})
			a.beforeWrite = func() { a.Unsubscribe(ada) }
			want(t, a.target(t, fields{"resubscribe": resubscribe}), sdk.KindRejected, "OPTED_OUT", named)
			a.wantStatus(t, ada, "unsubscribed")
		})
	}
}

func TestSameRecordTwice(t *testing.T) {
	full := fields{
		"email": ada, "status": "subscribed", "language": "de",
		"merge_fields": fields{
			"FNAME": "Ada", "CHILDREN": 3, "SINCE": "12", "BIRTHDAY": "12/10",
			"ADDRESS": fields{"addr1": "12 St James's Square", "city": "London", "state": "-", "zip": "SW1Y"},
		},
		"interests":             fields{"jazz": true, "blues": false},
		"tags":                  fields{"vip": true, "lapsed": false},
		"marketing_permissions": fields{"caa8dcb11e": true, "bb7f": false},
	}
	a := newAccount(t)
	a.DefineMergeFields(
		sim.MergeField{Tag: "FNAME", Type: "text"}, sim.MergeField{Tag: "CHILDREN", Type: "number"},
		sim.MergeField{Tag: "SINCE", Type: "number"}, sim.MergeField{Tag: "BIRTHDAY", Type: "birthday"},
		sim.MergeField{Tag: "ADDRESS", Type: "address"},
	)
	target := a.target(t, nil)
	want(t, target, sdk.KindDelivered, "", full)
	first := a.wantStatus(t, ada, "subscribed")
	a.writes()
	want(t, target, sdk.KindUnchanged, "", full)
	if writes := a.writes(); len(writes) > 0 {
		t.Errorf("the second time wrote %v", writes)
	}
	if second := a.wantStatus(t, ada, "subscribed"); !reflect.DeepEqual(first, second) {
		t.Errorf("held after the first %+v, after the second %+v", first, second)
	}
	if !first.Interests["jazz"] || first.Interests["blues"] || !first.MarketingPermissions["caa8dcb11e"] ||
		!slices.Equal(first.Tags, []string{"vip"}) || first.Language != "de" || first.MergeFields["FNAME"] != "Ada" {
		t.Errorf("held %+v", first)
	}
}

func TestNullAbsentFalse(t *testing.T) {
	held := sim.Member{
		Email: ada, Status: "subscribed", Language: "de",
		MergeFields:          fields{"FNAME": "Ada", "LNAME": "Lovelace"},
		Interests:            map[string]bool{"jazz": true, "blues": true},
		Tags:                 []string{"lapsed", "vip"},
		MarketingPermissions: map[string]bool{"caa8": true, "bb7f": true},
	}
	on := func(names ...string) map[string]bool {
		flags := map[string]bool{}
		for _, name := range names {
			flags[name] = true
		}
		return flags
	}
	for _, tc := range []struct {
		name   string
		record fields
		expect func(m *sim.Member)
	}{
		{"absent", fields{}, func(*sim.Member) {}},
		{"empty maps", fields{"merge_fields": fields{}, "interests": fields{}, "tags": fields{}, "marketing_permissions": fields{}}, func(*sim.Member) {}},
		{"status null", fields{"status": nil}, func(*sim.Member) {}},
		{"merge field null", fields{"merge_fields": fields{"FNAME": nil}}, func(m *sim.Member) { m.MergeFields["FNAME"] = "" }},
		{"merge fields null", fields{"merge_fields": nil}, func(m *sim.Member) { m.MergeFields = fields{"FNAME": "", "LNAME": ""} }},
		{"language null", fields{"language": nil}, func(m *sim.Member) { m.Language = "" }},
		{"interest false", fields{"interests": fields{"jazz": false}}, func(m *sim.Member) { m.Interests = on("blues") }},
		{"interest null", fields{"interests": fields{"jazz": nil}}, func(m *sim.Member) { m.Interests = on("blues") }},
		{"interests null", fields{"interests": nil}, func(m *sim.Member) { m.Interests = on() }},
		{"tag false", fields{"tags": fields{"vip": false}}, func(m *sim.Member) { m.Tags = []string{"lapsed"} }},
		{"tag null", fields{"tags": fields{"vip": nil}}, func(m *sim.Member) { m.Tags = []string{"lapsed"} }},
		{"tags null", fields{"tags": nil}, func(m *sim.Member) { m.Tags = nil }},
		{"permission false", fields{"marketing_permissions": fields{"caa8": false}}, func(m *sim.Member) { m.MarketingPermissions = on("bb7f") }},
		{"permission null", fields{"marketing_permissions": fields{"caa8": nil}}, func(m *sim.Member) { m.MarketingPermissions = on("bb7f") }},
		{"permissions null", fields{"marketing_permissions": nil}, func(m *sim.Member) { m.MarketingPermissions = on() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			a.DefineInterests("jazz", "blues")
			a.DefineMarketingPermissions("caa8", "bb7f")
			a.Put(held)
			expected, _ := a.Member(ada)
			tc.expect(&expected)
			kind := sdk.KindDelivered
			if before, _ := a.Member(ada); reflect.DeepEqual(before, expected) {
				kind = sdk.KindUnchanged
			}
			tc.record["email"] = ada
			want(t, a.target(t, nil), kind, "", tc.record)
			got, _ := a.Member(ada)
			trim(got.Interests)
			trim(got.MarketingPermissions)
			got.LastChanged = expected.LastChanged
			if !reflect.DeepEqual(got, expected) {
				t.Errorf("held\n%+v, want\n%+v", got, expected)
			}
		})
	}
}

// trim takes out what is off, which the account lists beside what it never heard of.
func trim(flags map[string]bool) {
	maps.DeleteFunc(flags, func(_ string, yes bool) bool { return !yes })
}

// More tags than come with a member.
func TestManyTags(t *testing.T) {
	a := newAccount(t)
	held := sim.Member{Email: ada, Status: "subscribed"}
	for i := range 60 {
		held.Tags = append(held.Tags, fmt.Sprintf("tag-%02d", i))
	}
	a.Put(held)
	target := a.target(t, nil)
	want(t, target, sdk.KindUnchanged, "", fields{"email": ada, "tags": fields{"tag-59": true}})
	want(t, target, sdk.KindDelivered, "", fields{"email": ada, "tags": nil})
	if m, _ := a.Member(ada); len(m.Tags) != 0 {
		t.Errorf("held tags %v", m.Tags)
	}
}

// What a record takes away gets through, whatever Mailchimp says to the rest of it.
func TestTakingAwayIsNotHeldBack(t *testing.T) {
	person := sim.Member{
		Email: ada, Status: "subscribed", Tags: []string{"vip"},
		Interests: map[string]bool{"jazz": true}, MarketingPermissions: map[string]bool{"caa8": true},
	}
	takes := fields{"interests": fields{"jazz": false, "blues": true}, "tags": fields{"vip": false}, "marketing_permissions": fields{"caa8": false}}
	with := func(more fields) fields {
		all := fields{"email": ada}
		maps.Copy(all, takes)
		maps.Copy(all, more)
		return all
	}
	for _, tc := range []struct {
		name   string
		held   string
		record fields
		code   string
		now    string
	}{
		{"a grant against an opt-out", "unsubscribed", with(fields{"status": "subscribed"}), "OPTED_OUT", "unsubscribed"},
		{"a withdrawal with a bad merge field", "subscribed", with(fields{"status": "unsubscribed", "merge_fields": fields{"BIRTHDAY": "tomorrow"}}), "INVALID_MERGE_FIELDS", "unsubscribed"},
		{"a withdrawal with an unknown interest", "subscribed", with(fields{"status": "unsubscribed", "interests": fields{"jazz": false, "polka": true}}), "INVALID_INTEREST", "unsubscribed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			a.DefineInterests("jazz", "blues")
			held := person
			held.Status = tc.held
			a.Put(held)
			target := a.target(t, nil)
			check := func() {
				t.Helper()
				want(t, target, sdk.KindRejected, tc.code, tc.record)
				m := a.wantStatus(t, ada, tc.now)
				if m.Interests["jazz"] || m.Interests["blues"] || m.MarketingPermissions["caa8"] || len(m.Tags) > 0 {
					t.Errorf("held %+v", m)
				}
			}
			check()
			check() // as a replayed dead letter
		})
	}
	t.Run("the vendor fails in between", func(t *testing.T) {
		a := newAccount(t)
		held := person
		held.Status = "unsubscribed"
		a.Put(held)
		a.Inject(sim.Fault{Times: 1, Method: "PUT", Problem: sim.InternalServerError()})
		want(t, a.target(t, nil), sdk.KindRetry, "HTTP_500", with(fields{"status": "subscribed"}))
	})
}

// A required merge field is asked of new subscribers alone.
func TestRequiredMergeFields(t *testing.T) {
	a := newAccount(t)
	a.DefineMergeFields(sim.MergeField{Tag: "MMERGE3", Type: "text", Required: true}, sim.MergeField{Tag: "FNAME", Type: "text"})
	target := a.target(t, fields{"create": true})
	o := want(t, target, sdk.KindRejected, "INVALID_MERGE_FIELDS", grant)
	if !strings.Contains(o.Message, "MMERGE3") {
		t.Errorf("the message does not name the field: %s", o.Message)
	}
	want(t, target, sdk.KindDelivered, "", withdraw)
	want(t, target, sdk.KindDelivered, "", fields{"email": ada, "merge_fields": fields{"FNAME": "Ada"}})
}

// Mailchimp answers 200 and keeps nothing of what it does not know.
func TestSilentlyIgnored(t *testing.T) {
	for _, tc := range []struct {
		name string
		give fields
		code string
	}{
		{"merge field", fields{"merge_fields": fields{"SHOE": "44"}}, "UNKNOWN_MERGE_FIELD"},
		{"marketing permission", fields{"marketing_permissions": fields{"nope": true}}, "UNKNOWN_MARKETING_PERMISSION"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			a.DefineMergeFields(sim.MergeField{Tag: "FNAME", Type: "text"})
			a.DefineMarketingPermissions("caa8")
			give := maps.Clone(grant)
			maps.Copy(give, tc.give)
			want(t, a.target(t, nil), sdk.KindRejected, tc.code, give)
			a.wantStatus(t, ada, "subscribed")
		})
	}
	a := newAccount(t)
	a.DefineMarketingPermissions()
	want(t, a.target(t, nil), sdk.KindDelivered, "", fields{"email": ada, "status": "subscribed", "marketing_permissions": fields{"caa8": false}})
}

func TestUpperCase(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	want(t, target, sdk.KindDelivered, "", fields{"email": "Ada.Lovelace@Example.ORG", "status": "subscribed"})
	want(t, target, sdk.KindUnchanged, "", grant)
	want(t, target, sdk.KindDelivered, "", fields{"email": "ADA.LOVELACE@EXAMPLE.ORG", "status": "unsubscribed"})
	a.wantStatus(t, ada, "unsubscribed")
	if a.Len() != 1 {
		t.Errorf("%d members for one person", a.Len())
	}
}

func TestNotAnAddress(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	for _, email := range []any{nil, "", "cust-1234", "@example.org", "ada@", " " + ada, ada + "\n"} {
		// A withdrawal for an address that nobody has must not pass for done.
		want(t, target, sdk.KindRejected, "INVALID_EMAIL", fields{"email": email, "status": "unsubscribed"})
	}
	want(t, target, sdk.KindRejected, "INVALID_STATUS", fields{"email": ada, "status": "cleaned"})
	want(t, target, sdk.KindRejected, "INVALID_RECORD", fields{"email": ada, "interests": "jazz"})
}
