package marketo

import (
	"strings"
	"sync"
	"testing"

	"github.com/consentd/consentd/plugins/marketo/sim"
	"github.com/consentd/consentd/sdk/sdktest"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestConformance(t *testing.T) {
	sdktest.Run(t, sdktest.Suite{
		Plugin: Plugin,
		Config: fields{"base_url": sdktest.URL, "client_id": sim.ClientID, "client_secret": sim.ClientSecret, "resubscribe": "force"},
		Vendor: func(string) sdktest.Vendor {
			c := &crowd{people: map[string]bool{}}
			c.Server = sim.New(c.note)
			return sdktest.Vendor{Handler: c, State: c.state}
		},
		Record: func(person string, allowed bool) fields {
			return lead(person+"@example.org", fields{"unsubscribed": !allowed, "vip": allowed})
		},
		Rejected: func(person string) fields { return lead(person, fields{"unsubscribed": false}) },
		Presence: func(person string) sdktest.Presence {
			with := func(set fields) fields { return lead(person+"@example.org", set) }
			return sdktest.Presence{
				Set:    with(fields{"unsubscribed": false, "vip": true, "firstName": "Ada"}),
				Null:   with(fields{"firstName": nil}),
				Absent: with(fields{}),
				False:  with(fields{"vip": false}),
			}
		},
		WrongConfig: fields{"munchkin_id": "x", "client_secret": "two words", "lookup_field": "e-mail", "base_url": "not a URL"},
		ErrorBody: func(_ int, request string) string {
			return string(plugintest.Encode(t, fields{"requestId": "1", "error": request, "message": request}))
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
		if is, found := c.Lead("email", name); found {
			delete(is, "id")
			held[name] = is
		}
	}
	return held
}
