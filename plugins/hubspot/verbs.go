package hubspot

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// Check reads one contact, and lists the subscription types. A target whose rules write properties alone
// may lack the scope for those; HubSpot says so, and it is passed on.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	for _, r := range []httpclient.Request{
		{Method: http.MethodGet, Path: contacts, Query: url.Values{"limit": {"1"}, "properties": {"email"}}},
		{Method: http.MethodGet, Path: "/communication-preferences/v4/definitions"},
	} {
		var answer struct {
			Results []struct{} `json:"results"`
		}
		if err := t.call(ctx, r, &answer); err != nil {
			return sdk.FromError(err)
		}
		if answer.Results == nil {
			return unexpected()
		}
	}
	return sdk.Delivered("")
}

// Read tells what HubSpot holds in the words of the record's schema. Of the properties it tells those
// that the record names: a contact has hundreds, and HubSpot gives none that it is not asked for.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	readings := make([]sdk.Reading, len(records))
	var jobs []*job
	index := map[*job]int{}
	for i, r := range records {
		rec, err := parse(r)
		if err != nil {
			readings[i].Outcome = sdk.FromError(err)
			continue
		}
		j := &job{record: rec}
		index[j] = i
		jobs = append(jobs, j)
	}
	for start := 0; start < len(jobs); start += maxBatch {
		some := jobs[start:min(start+maxBatch, len(jobs))]
		if err := t.look(ctx, some); err != nil {
			for _, j := range some {
				j.fail(sdk.FromError(err))
			}
		}
	}
	concurrently(jobs, func(j *job) { readings[index[j]] = t.read(ctx, j) })
	return readings
}

func (t *target) read(ctx context.Context, j *job) sdk.Reading {
	if j.failed() {
		return sdk.Reading{Outcome: sdk.FromError(j.failure)}
	}
	if j.held == nil {
		return sdk.Reading{Outcome: sdk.Delivered("")}
	}
	held, err := t.readStatuses(ctx, j.Email)
	if err != nil {
		return sdk.Reading{Outcome: sdk.FromError(err)}
	}
	properties := make(map[string]any, len(j.values))
	for name := range j.values {
		properties[name] = j.held.property(name)
	}
	subscriptions := make(map[string]any, len(held))
	for id, s := range held {
		// Who left all e-mail gets none, whatever stands beside the subscription.
		switch {
		case s == unsubscribed || j.held.optedOutOfAll():
			subscriptions[strconv.FormatInt(id, 10)] = false
		case s == subscribed:
			subscriptions[strconv.FormatInt(id, 10)] = true
		default:
			subscriptions[strconv.FormatInt(id, 10)] = nil
		}
	}
	return sdk.Reading{Outcome: sdk.Delivered(j.held.ID), Found: true, Fields: map[string]any{
		"email":         j.Email,
		"properties":    properties,
		"subscriptions": subscriptions,
	}}
}

// Erase deletes contacts for good, by HubSpot's own call for the GDPR. HubSpot keeps the address on a
// list of those that it does not take again, also when there was no such contact.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, maxInFlight, func(ctx context.Context, r sdk.Record) sdk.Outcome {
		rec, err := parse(r)
		if err != nil {
			return sdk.FromError(err)
		}
		body := map[string]string{"idProperty": "email", "objectId": rec.Email}
		err = t.post(ctx, contacts+"/gdpr-delete", body, nil)
		if err != nil && sdk.FromError(err).Code != categoryNotFound {
			return sdk.FromError(err)
		}
		return sdk.Delivered("")
	})
}
