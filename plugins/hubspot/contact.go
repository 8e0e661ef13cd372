package hubspot

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
)

const contacts = "/crm/v3/objects/contacts"

// contact is what HubSpot holds of a person, and what it answers for one of a batch.
type contact struct {
	ID         string             `json:"id"`
	Properties map[string]*string `json:"properties"`
	TraceID    string             `json:"objectWriteTraceId"`
}

func (c *contact) property(name string) string {
	if v := c.Properties[name]; v != nil {
		return *v
	}
	return ""
}

// email is the primary address, in lower case.
func (c *contact) email() string { return strings.ToLower(c.property("email")) }

// optedOutOfAll is whether the person left all e-mail at once, which is apart from the subscriptions.
func (c *contact) optedOutOfAll() bool { return c.property("hs_email_optout") == "true" }

// contactBatch is the answer of a batch call. Its results are in no order, and with 207 some of the
// inputs have an error instead.
type contactBatch struct {
	Results []*contact `json:"results"`
	Errors  []problem  `json:"errors"`
}

type input struct {
	ID         string            `json:"id"`
	IDProperty string            `json:"idProperty,omitempty"`
	TraceID    string            `json:"objectWriteTraceId,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

// readContacts finds those whom HubSpot knows, by address in lower case.
func (t *target) readContacts(ctx context.Context, records []record) (map[string]*contact, error) {
	names := map[string]bool{"email": true, "hs_additional_emails": true, "hs_email_optout": true}
	request := struct {
		IDProperty string   `json:"idProperty"`
		Inputs     []input  `json:"inputs"`
		Properties []string `json:"properties"`
		History    []string `json:"propertiesWithHistory"` // required, and of no use here
	}{IDProperty: "email", History: []string{}}
	for _, r := range records {
		request.Inputs = append(request.Inputs, input{ID: r.Email})
		for name := range r.values {
			names[name] = true
		}
	}
	request.Properties = slices.Sorted(maps.Keys(names))
	var answer contactBatch
	if err := t.post(ctx, contacts+"/batch/read", request, &answer); err != nil {
		return nil, err
	}
	if answer.Results == nil {
		return nil, unexpected().Err()
	}
	for _, p := range answer.Errors {
		if p.Category != categoryNotFound {
			return nil, p.outcome().Err() // who is not among the results may be known all the same
		}
	}
	found := make(map[string]*contact, len(answer.Results))
	for _, c := range answer.Results {
		found[c.email()] = c
		for other := range strings.SplitSeq(strings.ToLower(c.property("hs_additional_emails")), ";") {
			if other != "" && found[other] == nil {
				found[other] = c
			}
		}
	}
	return found, nil
}

// upsert writes the properties that differ, of those jobs that need it. An error is one job's fault or
// all of them's: see batch.Call.Send.
func (t *target) upsert(ctx context.Context, jobs []*job) error {
	var request struct {
		Inputs []input `json:"inputs"`
	}
	open := map[string]*job{} // by trace id
	for i, j := range jobs {
		changes, needed := j.changes()
		if j.failed() || j.upserted || !needed {
			continue
		}
		trace := strconv.Itoa(i)
		open[trace] = j
		request.Inputs = append(request.Inputs, input{ID: j.address(), IDProperty: "email", TraceID: trace, Properties: changes})
	}
	if len(open) == 0 {
		return nil
	}
	var answer contactBatch
	if err := t.post(ctx, contacts+"/batch/upsert", request, &answer); err != nil {
		return err
	}
	for _, c := range answer.Results {
		trace := c.TraceID
		if open[trace] == nil { // an answer need not repeat it
			trace = ""
			for id, j := range open {
				if strings.EqualFold(j.address(), c.email()) {
					trace = id
				}
			}
		}
		if j := open[trace]; j != nil {
			j.upserted, j.changed, j.reference = true, true, c.ID
			delete(open, trace)
		}
	}
	rest := unexpected()
	for _, p := range answer.Errors {
		for _, trace := range p.Context["objectWriteTraceId"] {
			if j := open[trace]; j != nil {
				j.fail(p.outcome())
				delete(open, trace)
			}
		}
		if len(p.Context["objectWriteTraceId"]) == 0 {
			rest = p.outcome()
		}
	}
	switch len(open) {
	case 0:
		return nil
	case 1:
		for _, j := range open {
			j.fail(rest)
		}
		return nil
	}
	// HubSpot does not say whose the error is. The halves will show.
	return batch.Divisible(rest.Err())
}

// changes are the properties to write. A contact who is not there yet is made even without any.
func (j *job) changes() (changes map[string]string, needed bool) {
	changes = map[string]string{}
	for name, value := range j.values {
		if j.held == nil && value != "" || j.held != nil && j.held.property(name) != value {
			changes[name] = value
		}
	}
	return changes, j.held == nil || len(changes) > 0
}

// address is the one that HubSpot finds the contact by.
func (j *job) address() string {
	if j.held != nil && j.held.email() != "" {
		return j.held.email() // the record's may be one of the others
	}
	return j.Email
}

// unexpected is for a success whose body is something else.
func unexpected() sdk.Outcome {
	return sdk.Retry("UNEXPECTED_ANSWER", "the answer is not one of HubSpot's, or leaves records out; is base_url right?")
}
