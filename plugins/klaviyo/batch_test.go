package klaviyo

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/consentd/consentd/plugins/klaviyo/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func someone(n int, yes bool) fields {
	return fields{"email": fmt.Sprintf("p%d@example.org", n), "subscriptions": fields{"email_marketing": yes}}
}

func kinds(outcomes []sdk.Outcome) []sdk.Kind {
	all := make([]sdk.Kind, len(outcomes))
	for i, o := range outcomes {
		all[i] = o.Kind
	}
	return all
}

// Grants, withdrawals, what is right already, and what cannot be, in one batch.
func TestBatch(t *testing.T) {
	a := newAccount(t)
	for n := range 20 {
		a.Put(sim.Profile{Email: fmt.Sprintf("p%d@example.org", n)})
	}
	a.Put(sim.Profile{Email: "p3@example.org", Consent: map[string]string{"email.marketing": "SUBSCRIBED"}})
	a.Put(sim.Profile{Email: "p4@example.org", Consent: map[string]string{"email.marketing": "UNSUBSCRIBED"}})
	a.Put(sim.Profile{PhoneNumber: "+441632960961"})
	target := a.target(t, nil)
	outcomes := target.deliverAll(t,
		someone(0, true), someone(1, false), fields{"email": "nobody"}, someone(3, true), someone(4, true), someone(5, false),
		fields{"phone_number": "+441632960961", "subscriptions": fields{"sms_marketing": true}}, someone(7, true), someone(0, false),
	)
	want := []sdk.Kind{sdk.KindDelivered, sdk.KindDelivered, sdk.KindRejected, sdk.KindUnchanged, sdk.KindRejected, sdk.KindDelivered,
		sdk.KindDelivered, sdk.KindDelivered, sdk.KindDelivered}
	if !slices.Equal(kinds(outcomes), want) {
		t.Fatalf("outcomes %v, want %v", outcomes, want)
	}
	for n, consent := range map[int]string{0: "UNSUBSCRIBED", 1: "UNSUBSCRIBED", 3: "SUBSCRIBED", 4: "UNSUBSCRIBED", 5: "UNSUBSCRIBED", 7: "SUBSCRIBED"} {
		p := a.held(t, fmt.Sprintf("p%d@example.org", n))
		if p.Consent["email.marketing"] != consent {
			t.Errorf("p%d is %s, want %s", n, p.Consent["email.marketing"], consent)
		}
		if o := outcomes[n]; n != 0 && o.Kind == sdk.KindDelivered && o.Reference != p.ID {
			t.Errorf("p%d: the reference is %q, want %q", n, o.Reference, p.ID)
		}
	}
	var jobs []string
	for _, c := range a.calls() {
		jobs = append(jobs, c.Path)
	}
	// The person who comes twice takes a round of their own.
	if len(jobs) != 3 {
		t.Errorf("calls %v, want a job for who leaves, one for who joins, and one for the second round", jobs)
	}
}

// A profile that Klaviyo refuses is named by its place in the job, or not at all.
func TestPoison(t *testing.T) {
	for _, told := range []bool{true, false} {
		a := newAccount(t)
		target := a.target(t, nil)
		var records []fields
		for n := range 16 {
			records = append(records, someone(n, true))
			a.Put(sim.Profile{Email: fmt.Sprintf("p%d@example.org", n)})
		}
		// Klaviyo holds an address that its own jobs do not take.
		records[11]["email"] = "p11@nowhere"
		a.Put(sim.Profile{Email: "p11@nowhere"})
		if !told {
			a.Server.HideRows(true)
		}
		outcomes := target.deliverAll(t, records...)
		for n, o := range outcomes {
			switch {
			case n == 11 && (o.Kind != sdk.KindRejected || o.Code != "INVALID"):
				t.Errorf("told %v: the bad one is %+v", told, o)
			case n != 11 && !o.Kind.Done():
				t.Errorf("told %v: %d is %+v", told, n, o)
			}
		}
		if told {
			if calls := a.calls(); len(calls) != 2 {
				t.Errorf("%d calls, want the job and the job without the bad one", len(calls))
			}
		}
	}
}

// A job that is not done in time is accepted, and one that asks the person stays so.
func TestAccepted(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, fields{"list_id": sim.ListID})
	a.HoldJobs(true)
	o := want(t, target, sdk.KindAccepted, "", mail(true))
	if o.Reference == "" || o.Reference != a.held(t, ada).ID {
		t.Errorf("reference %q", o.Reference)
	}
	a.HoldJobs(false)
	want(t, target, sdk.KindUnchanged, "", mail(true))

	a.DoubleOptIn(true)
	record := someone(1, true)
	want(t, target, sdk.KindAccepted, "", record)
	if p := a.held(t, "p1@example.org"); p.Asked != 1 || p.Consent["email.marketing"] == "SUBSCRIBED" {
		t.Errorf("held %+v", p)
	}
	a.HoldJobs(true)
	if erased := target.Erase(t.Context(), []sdk.Record{plugintest.Record(t, record)})[0]; erased.Kind != sdk.KindAccepted {
		t.Errorf("erased: %+v", erased)
	}
	a.HoldJobs(false)
	if _, found := a.Profile("p1@example.org"); found {
		t.Error("not erased")
	}
}

func TestConcurrentBatches(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, nil)
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			var records []fields
			for n := range 10 {
				records = append(records, someone(w*10+n, true))
			}
			for _, o := range target.deliverAll(t, records...) {
				if o.Kind != sdk.KindDelivered {
					t.Errorf("%+v", o)
				}
			}
		})
	}
	workers.Wait()
}

func TestVerbs(t *testing.T) {
	a := newAccount(t)
	target := a.target(t, fields{"list_id": sim.ListID})
	if o := target.Check(t.Context()); o.Kind != sdk.KindDelivered {
		t.Errorf("check: %+v", o)
	}
	if o := a.target(t, fields{"list_id": "Other1"}).Check(t.Context()); o.Kind != sdk.KindUnauthorized || o.Code != "LIST_NOT_FOUND" {
		t.Errorf("check of another list: %+v", o)
	}
	if o := a.target(t, fields{"api_key": "pk_other"}).Check(t.Context()); o.Kind != sdk.KindUnauthorized {
		t.Errorf("check of another key: %+v", o)
	}
	full := fields{
		"email": ada, "phone_number": "+441632960961", "external_id": "c-1",
		"first_name": "Ada", "last_name": "Lovelace", "organization": "AEC", "title": "Countess", "locale": "en-GB", "image": "https://example.org/ada.png",
		"location":      fields{"city": "London"},
		"properties":    fields{"interests": []any{"engines"}, "children": 3},
		"subscriptions": fields{"email_marketing": true, "sms_marketing": false},
	}
	want(t, target, sdk.KindDelivered, "", full)
	want(t, target, sdk.KindUnchanged, "", full)
	for _, identity := range []fields{{"email": ada}, {"phone_number": "+441632960961"}, {"external_id": "c-1"}} {
		r := target.Read(t.Context(), []sdk.Record{plugintest.Record(t, identity)})[0]
		if r.Outcome.Kind != sdk.KindDelivered || !r.Found {
			t.Fatalf("read by %v: %+v", identity, r)
		}
		for name, value := range full {
			if name == "subscriptions" {
				value = fields{"email_marketing": true, "email_open_tracking": false, "sms_marketing": false, "sms_transactional": false,
					"whatsapp_marketing": false, "whatsapp_transactional": false}
			}
			if string(plugintest.Encode(t, r.Fields[name])) != string(plugintest.Encode(t, value)) {
				t.Errorf("%s reads as %s, want %s", name, plugintest.Encode(t, r.Fields[name]), plugintest.Encode(t, value))
			}
		}
		if r.Fields["suppressed"] != false {
			t.Errorf("suppressed reads as %v", r.Fields["suppressed"])
		}
	}
	nobody := plugintest.Record(t, fields{"email": bob})
	if r := target.Read(t.Context(), []sdk.Record{nobody})[0]; r.Outcome.Kind != sdk.KindDelivered || r.Found {
		t.Errorf("read of nobody: %+v", r)
	}
	erased := target.Erase(t.Context(), []sdk.Record{nobody, plugintest.Record(t, full), plugintest.Record(t, fields{"email": "?"})})
	if !slices.Equal(kinds(erased), []sdk.Kind{sdk.KindDelivered, sdk.KindDelivered, sdk.KindRejected}) {
		t.Errorf("erased: %+v", erased)
	}
	if _, found := a.Profile(ada); found {
		t.Error("not erased")
	}
	for _, c := range a.calls() {
		if strings.Contains(c.Path, "data-privacy") && strings.Contains(c.Body, ada) {
			t.Errorf("the deletion names more than the id: %s", c.Body)
		}
	}
}
