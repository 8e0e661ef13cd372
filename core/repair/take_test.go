package repair

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm/sim"
	"github.com/consentd/consentd/core/store"
)

// What the API says and nobody understands is kept, as with a webhook.
func TestQuarantine(t *testing.T) {
	w := begin(t)
	w.api = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		json.NewEncoder(rw).Encode([]any{map[string]any{"citizenId": "a", "permissions": []any{}}, map[string]any{"citizenId": "b", "permissions": "none"}})
	})
	w.start()
	if p := w.backfill(); p.Accepted != 1 || p.Quarantined != 1 {
		t.Errorf("%+v", p)
	}
	all, err := w.store.ListQuarantine(ctx, store.QuarantineFilter{})
	if err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestShapesThatAreNotKnown: what the API leaves out is not taken for gone.
func TestShapesThatAreNotKnown(t *testing.T) {
	w := begin(t)
	var answer []any
	w.api = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("includeTotal") == "false" { // the clock
			answer := []any{}
			json.NewEncoder(rw).Encode(answer)
			return
		}
		json.NewEncoder(rw).Encode(answer)
	})
	id := w.sim.Add("ada")
	w.sim.Record(id, sim.Grant(option))
	w.sim.Prefer(id, "interests", "jazz")
	w.webhook(id, time.Now().Add(-time.Minute))
	of := func(fields map[string]any) { fields["citizenId"] = id; answer = []any{fields} }
	w.start()

	of(map[string]any{"preferences": []any{}})
	if p := w.backfill(); p.Quarantined != 1 {
		t.Errorf("without permissions: %+v", p)
	}
	if is, _ := w.state(id); is != "GRANTED" {
		t.Errorf("without permissions it is %s", is)
	}
	permission := w.sim.State(id).Permissions[0]
	permission.State, permission.RecordedAt = "DENIED", time.Now()
	of(map[string]any{"permissions": []any{permission}, "externalRef": "ada"})
	if p := w.backfill(); p.Accepted != 1 {
		t.Errorf("without preferences: %+v", p)
	}
	c, err := w.store.Citizen(ctx, "dataguard", id)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := consent.Decode(c.Body); err != nil || len(s.Preferences) != 1 || s.Permissions[0].State != "DENIED" {
		t.Errorf("without preferences it is %+v, %v", s, err)
	}

	answer = []any{map[string]any{"id": "a"}, map[string]any{"id": "b"}}
	if _, err := w.source.Backfill(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.wait("it says that it understands nothing", func() bool {
		return strings.Contains(w.progress().Error, "none of 2 citizens can be understood")
	})
	if all, err := w.store.ListQuarantine(ctx, store.QuarantineFilter{}); err != nil || len(all) != 1 {
		t.Errorf("%d in quarantine, %v", len(all), err)
	}
}

func TestSame(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	state := consent.State{CitizenID: "a", ExternalRef: "r", SentAt: at, Permissions: []consent.Permission{
		{OptionType: "option", OptionID: "x", State: "GRANTED", RecordedAt: at}, {OptionType: "option", OptionID: "y", State: "DENIED", RecordedAt: at},
	}, Preferences: []consent.Preference{{Preference: "p", Choices: []consent.Choice{{Reference: "1"}}, UpdatedAt: at}}}
	for name, tc := range map[string]struct {
		change func(*consent.State)
		same   bool
	}{
		"when it was sent": {func(s *consent.State) { s.SentAt = at.Add(time.Hour) }, true},
		"the order":        {func(s *consent.State) { slices.Reverse(s.Permissions) }, true},
		"who recorded it":  {func(s *consent.State) { s.Permissions[0].RecordedByName = "J. Roe" }, true},
		"what lapsed": {func(s *consent.State) {
			s.Permissions = append(s.Permissions, consent.Permission{OptionType: "option", OptionID: "z"})
		}, true},
		"another zone":        {func(s *consent.State) { s.Permissions[0].RecordedAt = at.In(time.FixedZone("x", 3600)) }, true},
		"the state":           {func(s *consent.State) { s.Permissions[0].State = "DENIED" }, false},
		"the evidence":        {func(s *consent.State) { s.Permissions[0].RecordedAt = at.Add(time.Second) }, false},
		"the window":          {func(s *consent.State) { s.Permissions[0].ValidUntil = at.Add(time.Second) }, false},
		"a choice":            {func(s *consent.State) { s.Preferences[0].Choices = nil }, false},
		"the reference":       {func(s *consent.State) { s.ExternalRef = "q" }, false},
		"one permission less": {func(s *consent.State) { s.Permissions = s.Permissions[:1] }, false},
	} {
		other := state
		other.Permissions, other.Preferences = slices.Clone(state.Permissions), slices.Clone(state.Preferences)
		tc.change(&other)
		if got := Same(consent.Encode(state), other); got != tc.same {
			t.Errorf("%s: %v", name, got)
		}
	}
}
