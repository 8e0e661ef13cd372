package repair

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
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
