package salesforce

import (
	"context"
	"net/http"

	"github.com/consentd/consentd/sdk"
)

// chunk is what one collections call takes: rows of one object by one external id field, no external
// id twice.
type chunk struct {
	object, field string
	rows          []row
}

type row struct {
	index int // of the record
	body  map[string]any
}

// collection is the body of a collections call.
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
	outcomes := make([]sdk.Outcome, len(records))
	for _, c := range plan(records, outcomes) {
		t.upsert(ctx, c, outcomes)
	}
	return outcomes
}

// plan sorts the records into chunks, in their order, and answers those that cannot be sent. The
// second and later records with one external id go into later chunks: in one call Salesforce fails
// all rows with an id that stands there twice.
func plan(records []sdk.Record, outcomes []sdk.Outcome) []*chunk {
	type group struct {
		object, field string
		turn          int // how often the external id came before
	}
	type identity struct{ object, field, key string }
	var chunks []*chunk
	open := map[group]*chunk{}
	turns := map[identity]int{}
	for i, r := range records {
		rec, o, ok := readRecord(r)
		if ok {
			o, ok = rec.checkFields()
		}
		if !ok {
			outcomes[i] = o
			continue
		}
		id := identity{rec.Object, rec.ExternalIDField, rec.key()}
		g := group{rec.Object, rec.ExternalIDField, turns[id]}
		turns[id]++
		c := open[g]
		if c == nil || len(c.rows) == maxRows {
			c = &chunk{object: rec.Object, field: rec.ExternalIDField}
			open[g] = c
			chunks = append(chunks, c)
		}
		c.rows = append(c.rows, row{index: i, body: rec.row()})
	}
	return chunks
}

// upsert sends a chunk. When Salesforce refuses it as a whole because of what is in it, the halves are
// sent on their own, down to the row that is to blame.
func (t *target) upsert(ctx context.Context, c *chunk, outcomes []sdk.Outcome) {
	body := collection{Records: make([]map[string]any, len(c.rows))}
	for i, r := range c.rows {
		body.Records[i] = r.body
	}
	all := func(o sdk.Outcome) {
		for _, r := range c.rows {
			outcomes[r.index] = o
		}
	}
	res, err := t.session.call(ctx, http.MethodPatch, t.root+"/composite/sobjects/"+c.object+"/"+c.field, body)
	if err != nil {
		all(outcomeOf(err))
		return
	}
	if res.Status != http.StatusOK {
		o := refused(res)
		if half := len(c.rows) / 2; half > 0 && divisible(res.Status, o) {
			t.upsert(ctx, &chunk{c.object, c.field, c.rows[:half]}, outcomes)
			t.upsert(ctx, &chunk{c.object, c.field, c.rows[half:]}, outcomes)
			return
		}
		all(o)
		return
	}
	var results []result
	if err := res.Decode(&results); err != nil {
		all(sdk.Retry("UNREADABLE_ANSWER", "%v", err))
		return
	}
	if len(results) != len(c.rows) {
		all(sdk.Retry("ROW_COUNT_MISMATCH", "Salesforce answered %d rows for %d", len(results), len(c.rows)))
		return
	}
	for i, r := range c.rows {
		if results[i].Success {
			outcomes[r.index] = sdk.Delivered(results[i].ID)
		} else {
			outcomes[r.index] = worst(results[i].Errors)
		}
	}
}

// divisible is whether one row may be to blame for the refusal of all: a row that cannot be read, or
// one whose lookup leads nowhere yet.
func divisible(status int, o sdk.Outcome) bool {
	return o.Kind == sdk.KindRejected || status == http.StatusBadRequest && o.Kind == sdk.KindRetry && o.Code == "INVALID_FIELD"
}
