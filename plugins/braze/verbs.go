package braze

import (
	"context"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
)

// Check exports nobody: it needs a right key, the right instance and the permission that reading needs.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	res, err := t.call(ctx, exportUsers, nil, map[string]any{
		"external_ids": []string{"consentd-check"}, "fields_to_export": []string{"external_id"},
	})
	if err != nil {
		return sdk.FromError(err)
	}
	return res.Outcome()
}

// Read tells what Braze holds in the words of the record's schema.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	readings := make([]sdk.Reading, len(records))
	var ask []record
	var index []int
	for i, r := range records {
		rec, err := parseIdentity(r)
		if err != nil {
			readings[i].Outcome = sdk.FromError(err)
			continue
		}
		ask, index = append(ask, rec), append(index, i)
	}
	for n, h := range t.look(ctx, ask, true) {
		readings[index[n]] = h.reading(ask[n])
	}
	return readings
}

// Erase deletes profiles. By e-mail address or telephone number Braze deletes one profile at most, so
// the ids of all that have it are read first.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return batch.Call[record]{
		Max:   maxUsers,
		Parse: parseIdentity,
		Group: func(r record) string { return r.who.kind.erase },
		Send: func(ctx context.Context, people []record) ([]sdk.Outcome, error) {
			if field := people[0].who.kind.erase; field != "" {
				var ids []any
				for _, r := range people {
					ids = append(ids, r.who.value)
				}
				return t.remove(ctx, field, ids, len(people))
			}
			return t.removeFound(ctx, people)
		},
	}.Deliver(ctx, records)
}

func (t *target) remove(ctx context.Context, field string, ids []any, people int) ([]sdk.Outcome, error) {
	outcomes := make([]sdk.Outcome, people)
	for i := range outcomes {
		outcomes[i] = sdk.Accepted("") // Braze has queued it
	}
	res, err := t.call(ctx, deleteUsers, nil, map[string]any{field: ids})
	if err != nil {
		return nil, err
	}
	return outcomes, res.Err()
}

func (t *target) removeFound(ctx context.Context, people []record) ([]sdk.Outcome, error) {
	outcomes := make([]sdk.Outcome, len(people))
	for i, h := range t.look(ctx, people, false) {
		outcomes[i] = sdk.Delivered("") // nobody has it
		if h.err != nil {
			outcomes[i] = sdk.FromError(h.err)
			continue
		}
		var ids []any
		for _, p := range h.profiles {
			ids = append(ids, p.text("braze_id"))
		}
		for len(ids) > 0 {
			some := ids[:min(len(ids), maxUsers)]
			ids = ids[len(some):]
			removed, err := t.remove(ctx, identifiers.brazeID.erase, some, 1)
			if err != nil {
				outcomes[i] = sdk.FromError(err)
				break
			}
			outcomes[i] = removed[0]
		}
	}
	return outcomes, nil
}
