package salesforce

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/sdk/sdktest"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestConformance(t *testing.T) {
	record := func(person string, fields attrs) attrs {
		return attrs{"object": "Contact", "external_id_field": "CPM_Id__c", "external_id": person, "fields": fields}
	}
	sdktest.Run(t, sdktest.Suite{
		Plugin: Plugin,
		Config: clientCredentials(sdktest.URL),
		Vendor: func(string) sdktest.Vendor {
			c := &contacts{Server: sim.New(nil), people: map[string]bool{}}
			return sdktest.Vendor{Handler: c, State: c.state}
		},
		Record: func(person string, allowed bool) attrs {
			return record(person, attrs{"LastName": "Jansen", "Email": person + "@example.org", "HasOptedOutOfEmail": !allowed})
		},
		Rejected: func(person string) attrs { return record(person, attrs{"Email": person}) },
		Presence: func(person string) sdktest.Presence {
			// A checkbox cannot be null, so a null is told apart in a text.
			return sdktest.Presence{
				Set:    record(person, attrs{"LastName": "Jansen", "Description": "met in Utrecht", "HasOptedOutOfEmail": false, "DoNotCall": true}),
				Null:   record(person, attrs{"Description": nil}),
				Absent: record(person, attrs{}),
				False:  record(person, attrs{"DoNotCall": false}),
			}
		},
		WrongConfig: attrs{"login_url": "ftp://example.com", "api_version": "62", "audience": "alone"},
		ErrorBody: func(status int, request string) string {
			code := map[int]string{400: "JSON_PARSER_ERROR", 401: "INVALID_SESSION_ID", 403: "INSUFFICIENT_ACCESS", 404: "NOT_FOUND"}[status]
			if code == "" {
				code = "UNKNOWN_EXCEPTION"
			}
			return string(plugintest.Encode(t, []attrs{{"message": request, "errorCode": code}}))
		},
	})
}

// contacts is the simulator with everybody who was ever sent.
type contacts struct {
	*sim.Server
	mu     sync.Mutex
	people map[string]bool
}

func (c *contacts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var sent struct {
		Records []struct {
			ID string `json:"CPM_Id__c"`
		}
	}
	if json.Unmarshal(body, &sent) == nil {
		c.mu.Lock()
		for _, row := range sent.Records {
			c.people[row.ID] = true
		}
		c.mu.Unlock()
	}
	c.Server.ServeHTTP(w, r)
}

func (c *contacts) state() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := attrs{}
	for id := range c.people {
		if row, found := c.Record("Contact", "CPM_Id__c", id); found {
			delete(row, "Id")
			held[id] = row
		}
	}
	return held
}
