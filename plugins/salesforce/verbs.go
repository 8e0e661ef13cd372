package salesforce

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

var recordID = regexp.MustCompile(`^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$`)

// Check signs in and lists the resources of the API version. The list needs no permission beyond the
// use of the API, unlike the org's limits.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	res, err := t.session.call(ctx, http.MethodGet, t.root+"/", nil)
	switch {
	case err != nil:
		return outcomeOf(err)
	case !res.OK():
		return refused(res)
	}
	return sdk.Delivered("")
}

// Read asks for one record at a time: Salesforce has no collections call to read by external id.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	readings := make([]sdk.Reading, len(records))
	var calls errgroup.Group
	calls.SetLimit(maxInFlight)
	for i, r := range records {
		calls.Go(func() error {
			readings[i] = t.read(ctx, r)
			return nil
		})
	}
	_ = calls.Wait() // no call returns an error
	return readings
}

func (t *target) read(ctx context.Context, r sdk.Record) sdk.Reading {
	rec, o, ok := readRecord(r)
	if !ok {
		return sdk.Reading{Outcome: o}
	}
	res, found, o := t.single(ctx, http.MethodGet, rec)
	if o.Kind != sdk.KindDelivered || !found {
		return sdk.Reading{Outcome: o}
	}
	var fields map[string]any
	if err := res.Decode(&fields); err != nil {
		return sdk.Reading{Outcome: sdk.Retry("UNREADABLE_ANSWER", "%v", err)}
	}
	for name := range fields {
		if name == "Id" || name == "attributes" || strings.EqualFold(name, rec.ExternalIDField) {
			delete(fields, name)
		}
	}
	return sdk.Reading{Outcome: o, Found: true, Fields: map[string]any{
		"object":            rec.Object,
		"external_id_field": rec.ExternalIDField,
		"external_id":       rec.ExternalID,
		"fields":            fields,
	}}
}

// Erase deletes the records.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, maxInFlight, func(ctx context.Context, r sdk.Record) sdk.Outcome {
		rec, o, ok := readRecord(r)
		if !ok {
			return o
		}
		_, _, o = t.single(ctx, http.MethodDelete, rec)
		return o
	})
}

// single makes a call to one record by its external id. Delivered and not found means that Salesforce
// holds no such record.
//
// A 404 alone does not prove that. An object or a field that does not exist, or that the user may not
// see, is a 404 too, and so is an external id that ends like a file name (Salesforce documents it for
// addresses in the domain .inc). So a query has the last word.
func (t *target) single(ctx context.Context, method string, rec record) (res *httpclient.Response, found bool, o sdk.Outcome) {
	res, err := t.session.call(ctx, method, t.root+rec.path(), nil)
	if err == nil && res.Status == http.StatusNotFound {
		var id string
		id, o = t.lookup(ctx, rec)
		if id == "" {
			return nil, false, o
		}
		res, err = t.session.call(ctx, method, t.root+"/sobjects/"+rec.Object+"/"+id, nil)
		if err == nil && res.Status == http.StatusNotFound {
			return nil, false, sdk.Delivered("") // gone in the meantime
		}
	}
	switch {
	case err != nil:
		return nil, false, outcomeOf(err)
	case !res.OK():
		return nil, false, refused(res)
	}
	return res, true, sdk.Delivered("")
}

// lookup asks for a record's id. It is empty when there is none, and when the outcome is not Delivered.
func (t *target) lookup(ctx context.Context, rec record) (id string, o sdk.Outcome) {
	res, err := t.session.call(ctx, http.MethodGet, t.root+"/query/?q="+url.QueryEscape(rec.query()), nil)
	if err != nil {
		return "", outcomeOf(err)
	}
	if !res.OK() {
		return "", refused(res)
	}
	var answer struct {
		TotalSize json.Number `json:"totalSize"`
		Records   []struct {
			ID string `json:"Id"`
		} `json:"records"`
	}
	err = res.Decode(&answer)
	switch {
	case err != nil || answer.TotalSize == "":
		return "", sdk.Retry("UNREADABLE_ANSWER", "the answer to a query is not one of the Salesforce API")
	case len(answer.Records) == 0:
		return "", sdk.Delivered("")
	case len(answer.Records) > 1:
		return "", sdk.Rejected("DUPLICATE_EXTERNAL_ID", "several Salesforce records have this external id")
	case !recordID.MatchString(answer.Records[0].ID):
		return "", sdk.Retry("UNREADABLE_ANSWER", "the answer to a query is not one of the Salesforce API")
	}
	return answer.Records[0].ID, sdk.Delivered("")
}
