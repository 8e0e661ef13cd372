package marketo

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// page is one answer of a filter.
type page struct {
	Success       bool     `json:"success"`
	Result        []result `json:"result"`
	MoreResult    bool     `json:"moreResult"`
	NextPageToken string   `json:"nextPageToken"`
}

func (t *target) page(ctx context.Context, query url.Values) (page, error) {
	res, err := t.client.Do(ctx, httpclient.Request{Method: http.MethodGet, Path: "/rest/v1/leads.json", Query: query})
	if err != nil {
		return page{}, err
	}
	if err := res.Err(); err != nil {
		return page{}, err
	}
	var p page
	if res.Status != http.StatusOK || res.Decode(&p) != nil || !p.Success {
		return page{}, unexpected().Err()
	}
	return p, nil
}

// Check signs in, and asks whether leads can be found by the lookup field.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	results, err := t.call(ctx, http.MethodGet, "/leads/describe2.json", nil, nil)
	if err != nil {
		return sdk.FromError(err)
	}
	for _, r := range results {
		searchable, _ := r["searchableFields"].([]any)
		for _, one := range searchable {
			if names, _ := one.([]any); len(names) == 1 && names[0] == t.lookupField {
				return sdk.Delivered("")
			}
		}
	}
	return sdk.Unauthorized("LOOKUP_FIELD", "leads cannot be found by the field %s; is lookup_field right?", t.lookupField)
}

// Read tells the opt-outs, and of the other fields those that a record names: a subscription may have
// hundreds. Which lists a lead is on is not told.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	return sdk.ReadEach(ctx, records, maxCalls, t.read)
}

func (t *target) read(ctx context.Context, r sdk.Record) sdk.Reading {
	rec, leads, err := t.find(ctx, r)
	switch {
	case err != nil:
		return sdk.Reading{Outcome: sdk.FromError(err)}
	case len(leads) == 0:
		return sdk.Reading{Outcome: sdk.Delivered("")}
	case len(leads) > 1:
		return sdk.Reading{Outcome: sdk.Rejected("MULTIPLE_LEADS", "Marketo holds several leads with this lookup_value")}
	}
	fields := maps.Clone(map[string]any(leads[0]))
	delete(fields, "id")
	delete(fields, t.lookupField)
	for name := range optOuts {
		fields[name] = fields[name] == true // nobody set it, so it is not set
	}
	return sdk.Reading{
		Outcome: sdk.Delivered(leads[0].id()),
		Found:   true,
		Fields:  map[string]any{"lookup_value": rec.LookupValue, "fields": fields},
	}
}

func (t *target) find(ctx context.Context, r sdk.Record) (record, []result, error) {
	rec, err := t.parse(r)
	if err != nil {
		return record{}, nil, err
	}
	found, err := t.lookup(ctx, []record{rec})
	return rec, found[t.key(rec.LookupValue)], err
}

// Erase deletes leads, all of those that are the person's.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, maxInFlight, func(ctx context.Context, r sdk.Record) sdk.Outcome {
		_, leads, err := t.find(ctx, r)
		if err != nil {
			return sdk.FromError(err)
		}
		o := sdk.Delivered("")
		for chunk := range slices.Chunk(leads, maxRows) {
			input := make([]map[string]any, len(chunk))
			for i, lead := range chunk {
				input[i] = map[string]any{"id": lead["id"]}
			}
			results, err := t.call(ctx, http.MethodPost, "/leads/delete.json", nil, map[string]any{"input": input})
			if err != nil {
				return sdk.FromError(err)
			}
			if len(results) != len(chunk) {
				return unexpected()
			}
			for _, r := range results {
				if r["status"] != "deleted" && r.code() != notFound {
					o = r.reason(time.Now())
				}
			}
		}
		return o
	})
}
