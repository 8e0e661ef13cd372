package klaviyo

import (
	"strings"
	"sync"
	"testing"

	"github.com/consentd/consentd/plugins/klaviyo/sim"
	"github.com/consentd/consentd/sdk/sdktest"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestConformance(t *testing.T) {
	sdktest.Run(t, sdktest.Suite{
		Plugin: Plugin,
		Config: fields{"api_key": sim.APIKey, "base_url": sdktest.URL + sim.BasePath, "list_id": sim.ListID, "resubscribe": "force"},
		Vendor: func(string) sdktest.Vendor {
			c := &crowd{people: map[string]bool{}}
			c.Server = sim.New(c.note)
			return sdktest.Vendor{Handler: c, State: c.state}
		},
		Record: func(person string, allowed bool) fields {
			return fields{"email": person + "@example.org", "subscriptions": fields{"email_marketing": allowed}, "properties": fields{"jazz": allowed}}
		},
		Rejected: func(person string) fields { return fields{"email": person, "properties": fields{"jazz": true}} },
		Presence: func(person string) sdktest.Presence {
			with := func(more fields) fields {
				more["email"] = person + "@example.org"
				return more
			}
			return sdktest.Presence{
				Set:    with(fields{"subscriptions": fields{"email_marketing": true}, "properties": fields{"jazz": true}}),
				Null:   with(fields{"properties": fields{"jazz": nil}}),
				Absent: with(fields{}),
				False:  with(fields{"properties": fields{"jazz": false}}),
			}
		},
		WrongConfig: fields{"api_key": "two words", "list_id": "a/b", "base_url": "not a URL"},
		ErrorBody: func(status int, request string) string {
			return string(plugintest.Encode(t, fields{"errors": []fields{{"id": request, "status": status, "code": "simulated", "title": request, "detail": request,
				"source": fields{"pointer": "/data/" + request}}}}))
		},
	})
}

// crowd is the simulator with everybody who was ever changed.
type crowd struct {
	*sim.Server
	mu     sync.Mutex
	people map[string]bool
}

func (c *crowd) note(line string) {
	name, _, _ := strings.Cut(line, " ")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.people[name] = true
}

func (c *crowd) state() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := fields{}
	for name := range c.people {
		if p, found := c.Profile(name); found {
			held[name] = fields{"consent": p.Consent, "properties": p.Properties, "suppressions": strings.Join(p.Suppressions, ",")}
		}
	}
	return held
}
