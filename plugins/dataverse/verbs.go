package dataverse

import (
	"context"
	"net/http"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
	"github.com/consentd/consentd/sdk/httpclient"
)

// Check signs in and asks who we are: an app without an application user is refused there. It needs no
// privilege on any table.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	res, err := t.client.Do(ctx, httpclient.Request{Method: http.MethodGet, Path: t.root + "/WhoAmI"})
	if err != nil {
		return sdk.FromError(err)
	}
	if o := res.Outcome(); !o.Kind.Done() {
		return o
	}
	var who struct{ UserID string }
	if res.Decode(&who) != nil || !guidForm.MatchString(who.UserID) {
		return sdk.Retry("UNREADABLE_ANSWER", "the answer to WhoAmI is not one of the Dataverse Web API")
	}
	return sdk.Delivered("")
}

// Read asks for all records in one batch. A batch that is refused whole is halved, as in Deliver.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	readings := make([]sdk.Reading, len(records))
	type at struct {
		item
		index int
	}
	index := 0
	outcomes := batch.Call[at]{
		Max: maxRecords,
		Parse: func(r sdk.Record) (at, error) {
			i, err := parse(r)
			index++
			return at{i, index - 1}, err
		},
		Send: func(ctx context.Context, items []at) ([]sdk.Outcome, error) {
			found, err := t.each(ctx, len(items), func(i int) []operation { return []operation{items[i].find()} })
			if err != nil {
				return nil, err
			}
			outcomes := make([]sdk.Outcome, len(items))
			for i, it := range items {
				held, err := it.reading(found[i][0])
				if err != nil {
					outcomes[i] = sdk.FromError(err)
					continue
				}
				outcomes[i] = sdk.Delivered("")
				readings[it.index] = sdk.Reading{Found: held != nil, Fields: held}
			}
			return outcomes, nil
		},
	}.Deliver(ctx, records)
	for i, o := range outcomes {
		readings[i].Outcome = o
	}
	return readings
}

// Erase deletes rows, and all rows of a consent.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return batch.Call[item]{Max: maxRecords, Parse: parse, Key: item.key, Send: t.erase}.Deliver(ctx, records)
}

func (t *target) erase(ctx context.Context, items []item) ([]sdk.Outcome, error) {
	found, err := t.each(ctx, len(items), func(i int) []operation {
		if c, ok := items[i].(*consent); ok {
			return []operation{c.find()}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	outcomes := make([]sdk.Outcome, len(items))
	answers, err := t.each(ctx, len(items), func(i int) []operation {
		deletes, err := items[i].remove(first(found[i]))
		outcomes[i] = sdk.Delivered("")
		if err != nil {
			outcomes[i] = sdk.FromError(err)
		}
		return deletes
	})
	if err != nil {
		return nil, err
	}
	for i := range items {
		for _, res := range answers[i] {
			if o := outcomeOf(res); !o.Kind.Done() && !missing(res) {
				outcomes[i] = worst([]sdk.Outcome{outcomes[i], o})
			}
		}
	}
	return outcomes, nil
}
