package mailchimp_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/consentd/consentd/plugins/mailchimp"
	"github.com/consentd/consentd/plugins/mailchimp/sim"
	"github.com/consentd/consentd/sdk/sdktest"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestConformance(t *testing.T) {
	sdktest.Run(t, sdktest.Suite{
		Plugin: mailchimp.Plugin,
		Config: fields{
			"api_key": sim.APIKey, "list_id": sim.ListID, "base_url": sdktest.URL + sim.BasePath,
			"resubscribe": "force",
		},
		Vendor: func(string) sdktest.Vendor {
			a := newAudience()
			return sdktest.Vendor{Handler: a, State: a.state}
		},
		Record: func(person string, allowed bool) fields {
			status := "unsubscribed"
			if allowed {
				status = "subscribed"
			}
			return fields{"email": person + "@example.org", "status": status, "interests": fields{"sports": allowed}}
		},
		Rejected: func(person string) fields { return fields{"email": person, "status": "subscribed"} },
		Presence: func(person string) sdktest.Presence {
			with := func(more fields) fields {
				more["email"] = person + "@example.org"
				return more
			}
			// Mailchimp has no third state beside yes and no, so a null is told apart in a merge field.
			return sdktest.Presence{
				Set:    with(fields{"status": "subscribed", "interests": fields{"sports": true}, "merge_fields": fields{"FNAME": "Ada"}}),
				Null:   with(fields{"merge_fields": fields{"FNAME": nil}}),
				Absent: with(fields{}),
				False:  with(fields{"interests": fields{"sports": false}}),
			}
		},
		WrongConfig: fields{"api_key": "two words", "list_id": "a/b", "base_url": "not a URL"},
		ErrorBody: func(status int, request string) string {
			return string(plugintest.Encode(t, fields{"title": "Simulated", "status": status, "detail": request, "instance": request}))
		},
	})
}

// audience is the simulator with everybody who was ever written.
type audience struct {
	*sim.Server
	mu     sync.Mutex
	people map[string]bool
}

func newAudience() *audience {
	a := &audience{people: map[string]bool{}}
	a.Server = sim.New(func(line string) {
		email, _, _ := strings.Cut(line, " ")
		a.mu.Lock()
		defer a.mu.Unlock()
		a.people[email] = true
	})
	return a
}

func (a *audience) state() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	held := fields{}
	for email := range a.people {
		if m, found := a.Member(email); found {
			held[email] = fields{"status": m.Status, "interests": m.Interests, "merge_fields": m.MergeFields}
		}
	}
	return held
}
