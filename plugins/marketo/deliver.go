package marketo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
)

// Deliver reads the leads, and writes what differs, up to 300 in a call.
func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return batch.Call[record]{
		Max:   maxRows,
		Parse: t.parse,
		Key:   func(r record) string { return t.key(r.LookupValue) },
		Send:  t.send,
	}.Deliver(ctx, records)
}

// work is one record on its way.
type work struct {
	rec     record
	leads   []result // as held; several where Marketo has duplicates
	refused error    // what is taken away goes through all the same
	failed  error
	changed bool
	id      string // of the lead
}

// row is one lead that is written.
type row struct {
	w      *work
	id     string // empty: created
	fields map[string]any
}

func (t *target) send(ctx context.Context, records []record) ([]sdk.Outcome, error) {
	found, err := t.lookup(ctx, records)
	if err != nil {
		return nil, err
	}
	works := make([]*work, len(records))
	var update, create []*row
	for i, rec := range records {
		w := &work{rec: rec, leads: found[t.key(rec.LookupValue)]}
		works[i] = w
		u, c := t.plan(w)
		update, create = append(update, u...), append(create, c...)
	}
	for _, call := range []struct {
		lookup, action string
		rows           []*row
	}{{"id", "updateOnly", update}, {t.lookupField, "createOrUpdate", create}} {
		if err := t.upsert(ctx, call.lookup, call.action, call.rows); err != nil {
			return nil, err
		}
	}
	for _, on := range []bool{false, true} {
		if err := t.lists(ctx, works, on); err != nil {
			return nil, err
		}
	}
	outcomes := make([]sdk.Outcome, len(works))
	for i, w := range works {
		switch {
		case w.failed != nil:
			outcomes[i] = sdk.FromError(w.failed)
		case w.refused != nil:
			outcomes[i] = sdk.FromError(w.refused)
		case w.changed:
			outcomes[i] = sdk.Delivered(w.id)
		default:
			outcomes[i] = sdk.Unchanged()
		}
	}
	return outcomes, nil
}

// plan says what to write so that a lead is as the record says.
func (t *target) plan(w *work) (update, create []*row) {
	fields := w.rec.Fields.Value
	switch {
	case len(w.leads) == 0 && (t.create || w.rec.gives()):
		first := &row{w: w, fields: map[string]any{t.lookupField: w.rec.LookupValue}}
		for name, value := range fields {
			if value != nil {
				first.fields[name] = value
			}
		}
		return nil, []*row{first}
	case len(w.leads) == 0 && !w.rec.takes() && len(fields) > 0:
		w.refused = sdk.Rejected("UNKNOWN_LEAD", "Marketo has no such lead, and the record grants nothing: set create, or an opt-out field").Err()
		return nil, nil
	case len(w.leads) > 1 && (w.rec.gives() || len(takings(fields)) < len(fields)):
		w.refused = sdk.Rejected("MULTIPLE_LEADS", "Marketo holds several leads with this lookup_value; what the record takes away is taken from all of them").Err()
	}
	for _, lead := range w.leads {
		w.id = lead.id()
		if t.resubscribe != subscriber.Force && w.refused == nil {
			w.refused = lead.optedOut(fields)
		}
	}
	for _, lead := range w.leads {
		wanted := fields
		if w.refused != nil {
			wanted = takings(fields)
		}
		if changes := lead.differences(wanted); len(changes) > 0 {
			update = append(update, &row{w: w, id: lead.id(), fields: changes})
		}
	}
	return update, nil
}

// optedOut refuses to take back an opt-out that a lead holds.
func (r result) optedOut(fields map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(optOuts)) {
		if value, there := fields[name]; there && value != true && r[name] == true {
			return sdk.Rejected("OPTED_OUT", "the lead has %s set, and resubscribe does not let a grant overrule it", name).Err()
		}
	}
	return nil
}

// differences are the fields to write. Marketo reads an empty field as null, and a checkbox that nobody
// set as null too.
func (r result) differences(fields map[string]any) map[string]any {
	changes := map[string]any{}
	for name, value := range fields {
		held := r[name]
		if _, optOut := optOuts[name]; optOut && value != true {
			value = false
			if held == nil {
				continue
			}
		}
		if held != value && !reflect.DeepEqual(held, value) {
			changes[name] = value
		}
	}
	return changes
}

func (r result) id() string { return fmt.Sprint(r["id"]) }

// upsert writes rows, and once more what takes something away where the rest of a row was refused.
func (t *target) upsert(ctx context.Context, lookup, action string, rows []*row) error {
	var again []*row
	for chunk := range slices.Chunk(rows, maxRows) {
		input := make([]map[string]any, len(chunk))
		for i, r := range chunk {
			input[i] = maps.Clone(r.fields)
			if r.id != "" {
				input[i]["id"] = json.Number(r.id)
			}
		}
		body := map[string]any{"action": action, "lookupField": lookup, "input": input}
		if t.partition != "" && lookup != "id" {
			body["partitionName"] = t.partition
		}
		results, err := t.call(ctx, http.MethodPost, "/leads.json", nil, body)
		if err != nil {
			return err
		}
		// Rows come in the order of the request.
		if len(results) != len(chunk) {
			return sdk.Retry("ROW_COUNT_MISMATCH", "Marketo answered for %d leads of %d", len(results), len(chunk)).Err()
		}
		for i, r := range chunk {
			switch status, _ := results[i]["status"].(string); status {
			case "created", "updated":
				r.w.changed, r.w.id = true, results[i].id()
			default:
				o := results[i].reason(time.Now())
				r.w.failed = o.Err()
				part := takings(r.fields)
				rest := len(part) < len(r.fields)
				if o.Kind != sdk.KindRetry && r.id != "" && len(part) > 0 && rest {
					again = append(again, &row{w: r.w, id: r.id, fields: part})
				}
			}
		}
	}
	if len(again) == 0 {
		return nil
	}
	failed := make([]error, len(again))
	for i, r := range again {
		failed[i] = r.w.failed
	}
	err := t.upsert(ctx, lookup, action, again)
	for i, r := range again {
		r.w.failed = failed[i]
	}
	return err
}

// lists puts leads on static lists, or takes them off.
func (t *target) lists(ctx context.Context, works []*work, on bool) error {
	ids := map[string][]string{} // of leads, by list
	who := map[string]*work{}
	for _, w := range works {
		if on && (w.failed != nil || w.refused != nil) {
			continue
		}
		leads := w.leads
		if len(leads) == 0 && w.id != "" {
			leads = []result{{"id": w.id}}
		}
		for _, list := range w.rec.lists(on) {
			for _, lead := range leads {
				ids[list] = append(ids[list], lead.id())
				who[lead.id()] = w
			}
		}
	}
	method := http.MethodDelete
	if on {
		method = http.MethodPost
	}
	for _, list := range slices.Sorted(maps.Keys(ids)) {
		for chunk := range slices.Chunk(ids[list], maxRows) {
			results, err := t.call(ctx, method, "/lists/"+list+"/leads.json", url.Values{"id": chunk}, nil)
			if err != nil {
				return err
			}
			told := map[string]result{}
			for _, r := range results {
				told[r.id()] = r
			}
			for _, id := range chunk {
				w := who[id]
				r, there := told[id]
				switch status, _ := r["status"].(string); {
				case status == "added" || status == "removed":
					w.changed = true
				case there && !on && r.code() == notInList:
				case there && status == "skipped":
					w.failed = r.reason(time.Now()).Err()
				default:
					w.failed = unexpected().Err()
				}
			}
		}
	}
	return nil
}

// code is the first reason's.
func (r result) code() string {
	reasons, _ := r["reasons"].([]any)
	if len(reasons) == 0 {
		return ""
	}
	entry, _ := reasons[0].(map[string]any)
	code, _ := entry["code"].(string)
	return code
}

// maxFilter bounds the values of one filter in the address, in bytes. Marketo refuses addresses of more
// than 8 KB.
const maxFilter = 5000

// lookup finds the leads of the records, with the fields that the records name, by key.
func (t *target) lookup(ctx context.Context, records []record) (map[string][]result, error) {
	names := map[string]bool{"id": true, t.lookupField: true}
	for name := range optOuts {
		names[name] = true
	}
	for _, r := range records {
		for name := range r.Fields.Value {
			names[name] = true
		}
	}
	fields := strings.Join(slices.Sorted(maps.Keys(names)), ",")
	found := map[string][]result{}
	for len(records) > 0 {
		var values []string
		length := len(fields)
		for _, r := range records {
			length += len(url.QueryEscape(r.LookupValue)) + len("%2C")
			if len(values) > 0 && length > maxFilter {
				break
			}
			values = append(values, r.LookupValue)
		}
		records = records[len(values):]
		leads, err := t.filter(ctx, values, fields)
		if err != nil {
			return nil, err
		}
		for _, lead := range leads {
			if lead["id"] == nil {
				return nil, unexpected().Err()
			}
			key := t.key(fmt.Sprint(lead[t.lookupField]))
			found[key] = append(found[key], lead)
		}
	}
	return found, nil
}

func (t *target) filter(ctx context.Context, values []string, fields string) ([]result, error) {
	query := url.Values{"filterType": {t.lookupField}, "filterValues": {strings.Join(values, ",")}, "fields": {fields}}
	var all []result
	for {
		res, err := t.page(ctx, query)
		if err != nil {
			return nil, err
		}
		all = append(all, res.Result...)
		if !res.MoreResult || res.NextPageToken == "" {
			return all, nil
		}
		query.Set("nextPageToken", res.NextPageToken)
	}
}
