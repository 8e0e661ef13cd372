package dataverse

import (
	"testing"

	"github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/sdk/sdktest"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// errorBody answers as the Web API does, which often repeats what was sent.
func errorBody(t *testing.T) func(int, string) string {
	return func(status int, request string) string {
		code := map[int]string{403: "0x80040220", 429: "0x80072322", 412: "0x80060892"}[status]
		return string(plugintest.Encode(t, attrs{"error": attrs{"code": code, "message": request}}))
	}
}

func TestConformance(t *testing.T) {
	record := func(person string, columns attrs) attrs {
		return attrs{"table": "contacts", "key": attrs{"acme_cpmid": person}, "columns": columns}
	}
	sdktest.Run(t, sdktest.Suite{
		Plugin: Plugin,
		Config: config(sdktest.URL, attrs{"resubscribe": "force"}),
		Vendor: func(string) sdktest.Vendor {
			server := sim.New(nil)
			return sdktest.Vendor{Handler: server, State: func() any {
				held := attrs{}
				for _, row := range server.Rows("contacts") {
					delete(row, "contactid")
					held[row["acme_cpmid"].(string)] = row
				}
				return held
			}}
		},
		Record: func(person string, allowed bool) attrs {
			return record(person, attrs{"lastname": "Jansen", "emailaddress1": person + "@example.org", "donotemail": !allowed})
		},
		Rejected: func(person string) attrs { return record(person, attrs{"birthdate": "someday"}) },
		Presence: func(person string) sdktest.Presence {
			return sdktest.Presence{
				Set:    record(person, attrs{"description": "met in Utrecht", "donotphone": true, "donotemail": false}),
				Null:   record(person, attrs{"description": nil}),
				Absent: record(person, attrs{}),
				False:  record(person, attrs{"donotphone": false}),
			}
		},
		WrongConfig: attrs{"base_url": "ftp://example.com", "tenant_id": "no tenant", "api_version": "9", "resubscribe": "confirm"},
		ErrorBody:   errorBody(t),
	})
}

// The same for consents.
func TestConformanceOfConsents(t *testing.T) {
	record := func(person, status string, more ...attrs) attrs {
		c := attrs{"contact_point": person + "@example.org", "channel": "email", "purpose": sim.PurposeID, "status": status}
		for _, m := range more {
			for name, v := range m {
				c[name] = v
			}
		}
		return attrs{"consent": c}
	}
	sdktest.Run(t, sdktest.Suite{
		Plugin: Plugin,
		Config: config(sdktest.URL, attrs{"resubscribe": "force"}),
		Vendor: func(string) sdktest.Vendor {
			server := sim.New(nil)
			return sdktest.Vendor{Handler: server, State: func() any {
				held := attrs{}
				for _, row := range server.Rows("msdynmkt_contactpointconsent4s") {
					held[row["msdynmkt_contactpointvalue"].(string)] = []any{row["msdynmkt_value"], row["msdynmkt_reason"]}
				}
				return held
			}}
		},
		Record: func(person string, allowed bool) attrs {
			if allowed {
				return record(person, "opted_in")
			}
			return record(person, "opted_out")
		},
		Rejected:  func(person string) attrs { return record("no address "+person, "opted_in") },
		Skip:      map[string]string{"presence": "a consent is one word, which cannot be null; TestReasonOfAConsent tells null from absent"},
		ErrorBody: errorBody(t),
	})
}
