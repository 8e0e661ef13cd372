package brevo

import (
	"context"
	"net/http"
	"strconv"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

// Deliver brings contacts to the wanted state, one record at a time.
func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, maxInFlight, t.deliver)
}

func (t *target) deliver(ctx context.Context, r sdk.Record) sdk.Outcome {
	rec, err := parse(r)
	if err != nil {
		return sdk.FromError(err)
	}
	held, err := t.contact(ctx, rec)
	if err != nil {
		return sdk.FromError(err)
	}
	if !held.known() {
		return t.introduce(ctx, rec)
	}
	o := t.whole(ctx, rec, held)
	if o.Kind.Done() || o.Kind == sdk.KindThrottled || o.Kind == sdk.KindRetry {
		return o
	}
	return t.takeAway(ctx, rec, held, o)
}

// whole delivers all of a record to somebody whom Brevo knows.
func (t *target) whole(ctx context.Context, rec record, held *contact) sdk.Outcome {
	if err := t.knows(ctx, rec); err != nil {
		return sdk.FromError(err)
	}
	w, refused := diff(rec, held, t.resubscribe == subscriber.Force)
	o := t.update(ctx, rec, held, w)
	if o.Kind.Done() && refused {
		return sdk.Rejected(codeOptedOut, "the person opted out at Brevo, and resubscribe does not let a grant overrule it")
	}
	return o
}

// takeAway delivers what the record takes away, after the whole of it was refused with o. It returns o, so
// that the fault is seen, except where the rest is better tried again.
func (t *target) takeAway(ctx context.Context, rec record, held *contact, o sdk.Outcome) sdk.Outcome {
	w, _ := diff(rec.takings(), held, false)
	if w.empty() || o.Code == codeOptedOut || o.Code == codeNotApplied { // these were written
		return o
	}
	if rest := t.update(ctx, rec.takings(), held, w); !rest.Kind.Done() && rest.Kind != sdk.KindRejected {
		return rest
	}
	return o
}

// introduce is for somebody whom Brevo does not know.
func (t *target) introduce(ctx context.Context, rec record) sdk.Outcome {
	if !t.create && !rec.grants() && (rec.takes() || rec.withdrawal) {
		return sdk.Unchanged()
	}
	if err := t.knows(ctx, rec); err != nil {
		return sdk.FromError(err)
	}
	w, _ := diff(rec, &contact{}, true)
	w.Email, w.Unlink = rec.Email, nil
	res, err := t.call(ctx, http.MethodPost, "/contacts", w)
	if err != nil {
		if o := sdk.FromError(err); o.Code == codeContactExists {
			return sdk.Retry(o.Code, "the contact was made by somebody else in the meantime")
		}
		return sdk.FromError(err)
	}
	var made struct {
		ID int64 `json:"id"`
	}
	if res.Decode(&made) != nil || made.ID == 0 {
		return unexpected()
	}
	return t.applied(ctx, rec, &contact{}, w, sdk.Delivered(strconv.FormatInt(made.ID, 10)))
}

// update writes a change, if there is one.
func (t *target) update(ctx context.Context, rec record, held *contact, w write) sdk.Outcome {
	if w.empty() {
		return sdk.Unchanged()
	}
	if _, err := t.call(ctx, http.MethodPut, rec.path(), w); err != nil {
		return sdk.FromError(err)
	}
	return t.applied(ctx, rec, held, w, sdk.Delivered(held.reference()))
}

// applied looks after attributes were written: Brevo ignores, and confirms, a value that is not of the
// attribute's type. What it rewrites is another value than before, and so was taken.
func (t *target) applied(ctx context.Context, rec record, before *contact, w write, o sdk.Outcome) sdk.Outcome {
	if len(w.Attributes) == 0 {
		return o
	}
	now, err := t.contact(ctx, rec)
	if err != nil {
		return sdk.FromError(err)
	}
	for name, value := range w.Attributes {
		is := canonical(now.Attributes[name])
		if is != canonical(value) && is == canonical(before.Attributes[name]) {
			return sdk.Rejected(codeNotApplied, "Brevo ignored the value of the attribute %s: is it of the attribute's type?", name)
		}
	}
	return o
}

// contact reads what Brevo holds.
func (t *target) contact(ctx context.Context, rec record) (*contact, error) {
	res, err := t.call(ctx, http.MethodGet, rec.path(), nil)
	if err != nil {
		if sdk.FromError(err).Code == codeNotFound {
			return &contact{}, nil
		}
		return nil, err
	}
	var c contact
	if res.Decode(&c) != nil || !c.known() {
		return nil, unexpected().Err()
	}
	return &c, nil
}
