package salesforce

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
	"github.com/consentd/consentd/sdk/httpclient"
)

// optOutFields are Salesforce's own checkboxes that are ticked when the person refuses, of Contact, Lead
// and Individual, in lower case.
var optOutFields = map[string]bool{
	"hasoptedoutofemail": true, "hasoptedoutoffax": true, "donotcall": true,
	"hasoptedouttracking": true, "hasoptedoutprofiling": true, "hasoptedoutprocessing": true,
	"hasoptedoutsolicit": true, "hasoptedoutgeotracking": true,
}

// optsOut is whether the record refuses and gives nothing, by Salesforce's own words for consent. Of a
// record without any of them, the host says whether it carries a withdrawal.
func (r record) optsOut() bool {
	gives, refuses := false, false
	for name, value := range r.Fields {
		switch name = strings.ToLower(name); {
		case optOutFields[name]:
			gives = gives || value == false
			refuses = refuses || value == true
		case name == "privacyconsentstatus":
			gives = gives || value == "OptIn"
			refuses = refuses || value != "OptIn"
		}
	}
	if !gives && !refuses {
		return r.withdrawal
	}
	return !gives
}

// mayCreate is whether a record that Salesforce does not hold is made.
func (t *target) mayCreate(r record) bool {
	switch {
	case r.Create != nil:
		return *r.Create
	case r.optsOut():
		return t.create
	}
	return true
}

// absent is the outcome of a record that Salesforce does not hold and that is not made.
func (r record) absent() sdk.Outcome {
	if r.optsOut() {
		return sdk.Unchanged() // nobody is there to be left in peace
	}
	return sdk.Rejected("NOT_IN_SALESFORCE", "Salesforce holds no %s with this external id, and create = false", r.Object)
}

// present says which of the rows may be upserted. Those that must not be created are asked for first, all
// in one request; a row that is deleted between that and the upsert is created after all.
func (t *target) present(ctx context.Context, rows []record) ([]bool, error) {
	present := make([]bool, len(rows))
	var ask []record
	for i, r := range rows {
		if present[i] = t.mayCreate(r); !present[i] {
			ask = append(ask, r)
		}
	}
	if len(ask) == 0 {
		return present, nil
	}
	held, err := t.held(ctx, ask)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		present[i] = present[i] || held[r.key()]
	}
	return present, nil
}

// subrequest is one request within a composite one. A query goes there because an address may be 16,384
// bytes long with its headers, which 200 external ids can exceed (Salesforce help, article 000386264).
type subrequest struct {
	Method      string `json:"method"`
	URL         string `json:"url"`
	ReferenceID string `json:"referenceId"`
}

type composite struct {
	AllOrNone bool         `json:"allOrNone"`
	Requests  []subrequest `json:"compositeRequest"`
}

// held are the keys of those rows, all of one object by one external id field, that Salesforce holds.
func (t *target) held(ctx context.Context, rows []record) (map[string]bool, error) {
	res, err := t.call(ctx, http.MethodPost, "/composite/", composite{Requests: []subrequest{{
		Method: http.MethodGet, URL: t.root + "/query/?q=" + url.QueryEscape(queryHeld(rows)), ReferenceID: "held",
	}}})
	if err != nil {
		return nil, err
	}
	if err := res.Err(); err != nil {
		return nil, err
	}
	var outer struct {
		Responses []struct {
			Status int             `json:"httpStatusCode"`
			Body   json.RawMessage `json:"body"`
		} `json:"compositeResponse"`
	}
	if res.Decode(&outer) != nil || len(outer.Responses) != 1 {
		return nil, unreadableQuery()
	}
	inner := &httpclient.Response{Status: outer.Responses[0].Status, Body: outer.Responses[0].Body}
	if err := classify(inner, sdk.FromResponse(inner.Status, nil)).Err(); err != nil {
		return nil, err
	}
	var answer struct {
		Done    bool             `json:"done"`
		Records []map[string]any `json:"records"`
	}
	if inner.Decode(&answer) != nil || answer.Records == nil {
		return nil, unreadableQuery()
	}
	if !answer.Done { // external ids that are not unique
		return nil, batch.Divisible(sdk.Retry("QUERY_NOT_DONE", "Salesforce holds more records with these external ids than one answer has").Err())
	}
	held := map[string]bool{}
	for _, found := range answer.Records {
		for name, value := range found {
			if id, isText := value.(string); isText && strings.EqualFold(name, rows[0].ExternalIDField) {
				held[strings.ToLower(id)] = true
			}
		}
	}
	return held, nil
}

func unreadableQuery() error {
	return sdk.Retry("UNREADABLE_ANSWER", "the answer to a query is not one of the Salesforce API").Err()
}

// queryHeld is a SOQL query for the external ids of rows. SOQL compares them as the field is set up to.
func queryHeld(rows []record) string {
	quoted := make([]string, len(rows))
	for i, r := range rows {
		quoted[i] = quote(r.ExternalID)
	}
	return "SELECT " + rows[0].ExternalIDField + " FROM " + rows[0].Object +
		" WHERE " + rows[0].ExternalIDField + " IN (" + strings.Join(quoted, ",") + ")"
}
