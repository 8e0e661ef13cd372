package brevo

import (
	"context"
	"net/http"
	"strconv"

	"github.com/consentd/consentd/sdk"
)

// Check lists the attributes, which needs the key alone and counts as a call to contacts: those to the
// account itself are a hundred an hour.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	res, err := t.call(ctx, http.MethodGet, "/contacts/attributes", nil)
	if err != nil {
		return sdk.FromError(err)
	}
	var answer struct {
		Attributes []struct{} `json:"attributes"`
	}
	if res.Decode(&answer) != nil || answer.Attributes == nil {
		return unexpected()
	}
	return sdk.Delivered("")
}

// Read tells what Brevo holds in the words of the record's schema.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	return sdk.ReadEach(ctx, records, maxInFlight, t.read)
}

func (t *target) read(ctx context.Context, r sdk.Record) sdk.Reading {
	rec, err := parse(r)
	if err != nil {
		return sdk.Reading{Outcome: sdk.FromError(err)}
	}
	held, err := t.contact(ctx, rec)
	if err != nil {
		return sdk.Reading{Outcome: sdk.FromError(err)}
	}
	if !held.known() {
		return sdk.Reading{Outcome: sdk.Delivered("")}
	}
	lists := make(map[string]any, len(held.ListIDs))
	for _, id := range held.ListIDs {
		lists[strconv.FormatInt(id, 10)] = true
	}
	for _, id := range held.LeftLists {
		lists[strconv.FormatInt(id, 10)] = false
	}
	return sdk.Reading{Outcome: sdk.Delivered(held.reference()), Found: true, Fields: map[string]any{
		"email":             rec.Email,
		"ext_id":            held.ExtID,
		"attributes":        held.Attributes,
		"lists":             lists,
		"email_blacklisted": held.NoEmail,
		"sms_blacklisted":   held.NoSMS,
	}}
}

// Erase deletes contacts.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, maxInFlight, func(ctx context.Context, r sdk.Record) sdk.Outcome {
		rec, err := parse(r)
		if err != nil {
			return sdk.FromError(err)
		}
		if _, err := t.call(ctx, http.MethodDelete, rec.path(), nil); err != nil && sdk.FromError(err).Code != codeNotFound {
			return sdk.FromError(err)
		}
		return sdk.Delivered("")
	})
}
