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
	res, err := t.call(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return sdk.FromError(err)
	}
	return res.Outcome()
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
	rec, err := readRecord(r)
	if err != nil {
		return sdk.Reading{Outcome: sdk.FromError(err)}
	}
	res, err := t.single(ctx, http.MethodGet, rec)
	if err != nil {
		return sdk.Reading{Outcome: sdk.FromError(err)}
	}
	if res == nil {
		return sdk.Reading{Outcome: sdk.Delivered("")}
	}
	var fields map[string]any
	if err := res.Decode(&fields); err != nil {
		return sdk.Reading{Outcome: sdk.FromError(err)}
	}
	for name := range fields {
		if name == "Id" || name == "attributes" || strings.EqualFold(name, rec.ExternalIDField) {
			delete(fields, name)
		}
	}
	return sdk.Reading{Outcome: sdk.Delivered(""), Found: true, Fields: map[string]any{
		"object":            rec.Object,
		"external_id_field": rec.ExternalIDField,
		"external_id":       rec.ExternalID,
		"fields":            fields,
	}}
}

// Erase deletes the records.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, maxInFlight, func(ctx context.Context, r sdk.Record) sdk.Outcome {
		rec, err := readRecord(r)
		if err != nil {
			return sdk.FromError(err)
		}
		if _, err := t.single(ctx, http.MethodDelete, rec); err != nil {
			return sdk.FromError(err)
		}
		return sdk.Delivered("")
	})
}

// single makes a call to one record by its external id. The answer is a success, or nil when Salesforce
// holds no such record.
//
// A 404 alone does not prove that. An object or a field that does not exist, or that the user may not
// see, is a 404 too, and so is an external id that ends like a file name (Salesforce documents it for
// addresses in the domain .inc). So a query has the last word.
func (t *target) single(ctx context.Context, method string, rec record) (*httpclient.Response, error) {
	res, err := t.call(ctx, method, rec.path(), nil)
	if err == nil && res.Status == http.StatusNotFound {
		id, failed := t.lookup(ctx, rec)
		if failed != nil || id == "" {
			return nil, failed
		}
		res, err = t.call(ctx, method, "/sobjects/"+rec.Object+"/"+id, nil)
		if err == nil && res.Status == http.StatusNotFound {
			return nil, nil // gone in the meantime
		}
	}
	if err != nil {
		return nil, err
	}
	return res, res.Err()
}

// lookup asks for a record's id. It is empty when there is none.
func (t *target) lookup(ctx context.Context, rec record) (id string, err error) {
	res, err := t.call(ctx, http.MethodGet, "/query/?q="+url.QueryEscape(rec.query()), nil)
	if err != nil {
		return "", err
	}
	if err := res.Err(); err != nil {
		return "", err
	}
	var answer struct {
		TotalSize json.Number `json:"totalSize"`
		Records   []struct {
			ID string `json:"Id"`
		} `json:"records"`
	}
	switch {
	case res.Decode(&answer) != nil || answer.TotalSize == "":
		return "", unreadableQuery()
	case len(answer.Records) == 0:
		return "", nil
	case len(answer.Records) > 1:
		return "", sdk.Rejected("DUPLICATE_EXTERNAL_ID", "several Salesforce records have this external id").Err()
	case !recordID.MatchString(answer.Records[0].ID):
		return "", unreadableQuery()
	}
	return answer.Records[0].ID, nil
}
