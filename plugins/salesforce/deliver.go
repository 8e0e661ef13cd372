package salesforce

import (
	"context"
	"net/http"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
)

// collection is the body of a collections call: rows of one object by one external id field, no external
// id twice, for in one call Salesforce fails all rows with an id that stands there twice.
type collection struct {
	AllOrNone bool             `json:"allOrNone"`
	Records   []map[string]any `json:"records"`
}

// result is one element of its answer; they come in the order of the rows.
type result struct {
	ID      string     `json:"id"`
	Success bool       `json:"success"`
	Errors  []apiError `json:"errors"`
}

func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return batch.Call[record]{
		Max:   maxRows,
		Parse: readWhole,
		Group: func(r record) string { return r.Object + "/" + r.ExternalIDField },
		Key:   record.key,
		Send:  t.send,
	}.Deliver(ctx, records)
}

func (t *target) send(ctx context.Context, rows []record) ([]sdk.Outcome, error) {
	present, err := t.present(ctx, rows)
	if err != nil {
		return nil, err
	}
	outcomes := make([]sdk.Outcome, len(rows))
	var some []record
	var at []int
	for i, r := range rows {
		if present[i] {
			some, at = append(some, r), append(at, i)
		} else {
			outcomes[i] = r.absent()
		}
	}
	if len(some) == 0 {
		return outcomes, nil
	}
	each, err := t.upsert(ctx, some)
	switch {
	case err != nil && len(rows) > 1:
		return nil, err // all of them, or one of the halves
	case err != nil:
		each = []sdk.Outcome{sdk.FromError(err)}
	}
	t.takeAway(ctx, some, each)
	for n, i := range at {
		outcomes[i] = each[n]
	}
	return outcomes, nil
}

func (t *target) upsert(ctx context.Context, rows []record) ([]sdk.Outcome, error) {
	body := collection{Records: make([]map[string]any, len(rows))}
	for i, r := range rows {
		body.Records[i] = r.row()
	}
	path := "/composite/sobjects/" + rows[0].Object + "/" + rows[0].ExternalIDField
	res, err := t.call(ctx, http.MethodPatch, path, body)
	if err != nil {
		return nil, err
	}
	if err := res.Err(); err != nil {
		if o := sdk.FromError(err); res.Status == http.StatusBadRequest && o.Kind == sdk.KindRetry && o.Code == codeInvalidField {
			err = batch.Divisible(err) // one row's lookup leads nowhere yet
		}
		return nil, err
	}
	var results []result
	if err := res.Decode(&results); err != nil {
		return nil, err
	}
	if len(results) != len(rows) {
		return nil, sdk.Retry("ROW_COUNT_MISMATCH", "Salesforce answered for %d rows of %d", len(results), len(rows)).Err()
	}
	outcomes := make([]sdk.Outcome, len(results))
	for i, r := range results {
		if r.Success {
			outcomes[i] = sdk.Delivered(r.ID)
		} else {
			outcomes[i] = worst(r.Errors)
		}
	}
	return outcomes, nil
}
