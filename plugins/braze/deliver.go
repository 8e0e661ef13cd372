package braze

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
	"github.com/consentd/consentd/sdk/httpclient"
)

// Deliver brings profiles to the wanted state.
//
// Groups go with the rest, through /users/track: it can be told to make no profiles. Of the endpoint that is
// for groups alone, /v2/subscription/status/set, that is not known, and one page of Braze's documentation has
// users made with it.
func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return batch.Call[record]{Max: maxObjects, Parse: parse, Key: record.key, Send: t.update}.Deliver(ctx, records)
}

// update writes profiles: at first of those of whom nothing must be known, since a look-up may have to wait
// and withdrawals need none.
func (t *target) update(ctx context.Context, items []record) ([]sdk.Outcome, error) {
	outcomes := make([]sdk.Outcome, len(items))
	for _, asking := range []bool{false, true} {
		var some []record
		var index []int // of the items
		for i, r := range items {
			if t.mustLook(r) == asking {
				some, index = append(some, r), append(index, i)
			}
		}
		for n := range some {
			outcomes[index[n]] = sdk.Unchanged()
		}
		if asking {
			for n, h := range t.look(ctx, some, slices.ContainsFunc(some, func(r record) bool { return r.grantsGroup() || r.Groups.Null })) {
				some[n], outcomes[index[n]] = t.allowed(some[n], h)
			}
		}
		written, err := t.write(ctx, some)
		if err != nil {
			return nil, err
		}
		for n, o := range written {
			// Why not all of the record was sent stands, unless the rest is better tried again.
			if was := &outcomes[index[n]]; was.Kind.Done() || !o.Kind.Done() && o.Kind != sdk.KindRejected {
				*was = o
			}
		}
	}
	return outcomes, nil
}

// write sends what there is to change of records, and returns the outcomes of those that had something.
func (t *target) write(ctx context.Context, records []record) (map[int]sdk.Outcome, error) {
	var objects []map[string]any
	var index []int // of the records
	for i, r := range records {
		if o, changes := r.object(t.create); changes {
			objects, index = append(objects, o), append(index, i)
		}
	}
	if len(objects) == 0 {
		return nil, nil
	}
	written, err := t.track(ctx, objects)
	if err != nil {
		return nil, err
	}
	outcomes := map[int]sdk.Outcome{}
	for n, i := range index {
		outcomes[i] = written[n]
	}
	return outcomes, nil
}

// mustLook is whether what Braze holds decides what is sent.
func (t *target) mustLook(r record) bool {
	return r.Groups.Null || t.resubscribe == subscriber.Never && r.grants()
}

// allowed is what of a record may be sent to somebody of whom Braze holds this. Where that is not all of it,
// the outcome says why: only what the record takes away is sent, and the outcome stands.
func (t *target) allowed(r record, h held) (record, sdk.Outcome) {
	if h.err != nil {
		return r.takings(), sdk.FromError(h.err)
	}
	if r.Groups.Null {
		r.Groups.Value = groups{}
		for id, in := range h.groups {
			if in {
				r.Groups.Value[id] = nil
			}
		}
	}
	if t.resubscribe == subscriber.Never {
		if out := r.optedOut(h); out != "" {
			return r.takings(), sdk.Rejected("OPTED_OUT", "Braze holds the person as unsubscribed (%s), and resubscribe does not let a grant overrule it", out)
		}
	}
	return r, sdk.Unchanged()
}

// optedOut names the first subscription that the record gives and the person has left.
func (r record) optedOut(h held) string {
	switch {
	case grantsState(r.EmailSubscribe) && h.email == unsubscribed:
		return "email_subscribe"
	case grantsState(r.PushSubscribe) && h.push == unsubscribed:
		return "push_subscribe"
	}
	for _, id := range slices.Sorted(maps.Keys(r.Groups.Value)) {
		if in, known := h.groups[id]; isIn(r.Groups.Value[id]) && known && !in {
			return "subscription group " + id
		}
	}
	return ""
}

// track sends attributes objects and returns one outcome each. A success means that Braze has queued them.
func (t *target) track(ctx context.Context, objects []map[string]any) ([]sdk.Outcome, error) {
	res, err := t.call(ctx, trackUsers, nil, map[string]any{"attributes": objects})
	if err != nil {
		return nil, err
	}
	outcomes := slices.Repeat([]sdk.Outcome{sdk.Accepted("")}, len(objects))
	found, loose := objectErrors(res, objects)
	for n, o := range found {
		outcomes[n] = o
	}
	switch {
	case len(found) == len(objects) && (res.OK() || res.Status == http.StatusBadRequest):
		return outcomes, nil // when no object is any good the call is refused too
	case res.Err() != nil:
		return nil, res.Err()
	case loose && len(objects) > 1:
		return nil, batch.Divisible(sdk.Retry("UNASSIGNED_ERROR", "Braze reports an error and does not say which profile it is about").Err())
	case loose:
		return []sdk.Outcome{sdk.Rejected("INVALID_OBJECT", "Braze does not take the record")}, nil
	}
	return outcomes, nil
}

// objectErrors reads the errors array of an answer: outcomes by the object's index. loose is whether one of
// them is about no object that was sent.
func objectErrors(res *httpclient.Response, objects []map[string]any) (found map[int]sdk.Outcome, loose bool) {
	found = map[int]sdk.Outcome{}
	var answer struct {
		Errors []json.RawMessage `json:"errors"`
	}
	if res.Decode(&answer) != nil {
		return found, false
	}
	for _, raw := range answer.Errors {
		var e objectError
		if json.Unmarshal(raw, &e) != nil || e.Index == nil || *e.Index < 0 || *e.Index >= len(objects) ||
			e.Array != "" && e.Array != "attributes" {
			loose = true
			continue
		}
		found[*e.Index] = e.outcome(objects[*e.Index])
	}
	return found, loose
}
