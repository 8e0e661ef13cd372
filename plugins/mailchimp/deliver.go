package mailchimp

import (
	"cmp"
	"context"
	"net/http"
	"reflect"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

// Deliver brings members to the wanted state, one record at a time.
func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, maxConnections, t.deliver)
}

func (t *target) deliver(ctx context.Context, r sdk.Record) sdk.Outcome {
	rec, err := parse(r)
	if err != nil {
		return sdk.FromError(err)
	}
	held, err := t.member(ctx, rec, rec.Tags.Present)
	switch {
	case err != nil:
		return sdk.FromError(err)
	case held.known():
		return t.update(ctx, rec, held)
	default:
		return t.introduce(ctx, rec, held)
	}
}

// introduce is for somebody whom the audience does not know.
func (t *target) introduce(ctx context.Context, rec record, nobody *member) sdk.Outcome {
	optOut := rec.Status == unsubscribed
	if rec.Status == "" || optOut && !t.create {
		if err := t.listMissing(ctx); err != nil {
			return sdk.FromError(err)
		}
		if rec.Status == "" && !diff(rec, nobody).empty() {
			return sdk.Rejected("NOT_A_MEMBER", "the audience does not know this person, and the record has no status to make a member with")
		}
		return sdk.Unchanged()
	}
	o := t.apply(ctx, rec, nobody, diff(rec, nobody))
	if optOut && (o.Code == codeForgotten || o.Code == codeCompliance) {
		return sdk.Unchanged() // Mailchimp will not mail this person, nor take them as a member
	}
	return o
}

// update is for a member.
func (t *target) update(ctx context.Context, rec record, held *member) sdk.Outcome {
	status, err := t.transition(rec, held)
	if err != nil {
		return t.takeAway(ctx, rec, held, change{}, sdk.FromError(err))
	}
	c := diff(rec, held)
	c.write.Status = status
	o := t.apply(ctx, rec, held, c)
	if o.Kind != sdk.KindRejected {
		return o
	}
	if rec.Status == unsubscribed && o.Code == codeMethodNotAllowed && held.Status != subscribed {
		// Mailchimp does not let members who bounced, are pending or archived leave once more.
		return sdk.Unchanged()
	}
	return t.takeAway(ctx, rec, held, c, o)
}

// takeAway delivers what the record takes away, after the whole of it was refused with o. It returns o,
// so that the fault is seen, except where the rest is better tried again.
func (t *target) takeAway(ctx context.Context, rec record, held *member, tried change, o sdk.Outcome) sdk.Outcome {
	takings := rec.takings()
	c := diff(takings, held)
	c.write.Status, _ = t.transition(takings, held)
	if c.empty() || reflect.DeepEqual(c, tried) {
		return o
	}
	if rest := t.apply(ctx, takings, held, c); !rest.Kind.Done() && rest.Kind != sdk.KindRejected {
		return rest
	}
	return o
}

// transition says which status to send, if any, so that a member becomes what is wanted. A refusal is the
// vendor's opt-out standing against a grant.
func (t *target) transition(rec record, is *member) (send string, refused error) {
	held := is.Status
	switch wanted := rec.Status; wanted {
	case subscribed, pending:
		if is.grantedSince(rec.OptedIn) {
			return wanted, nil
		}
		switch held {
		case subscribed:
			return "", nil // a member who has confirmed is what "pending" asked for
		case transactional:
			return wanted, nil // a customer who never opted in, nor out
		case pending:
			if wanted == subscribed && t.resubscribe == subscriber.Force {
				return subscribed, nil
			}
			return "", nil
		}
		switch t.resubscribe {
		case subscriber.Confirm:
			return pending, nil
		case subscriber.Force:
			return wanted, nil
		}
		return "", optedOut(is).Err()
	case unsubscribed:
		if held == unsubscribed || held == cleaned {
			return "", nil
		}
		return unsubscribed, nil
	}
	return "", nil
}

// apply writes a change, if there is one, and says what became of it.
func (t *target) apply(ctx context.Context, rec record, held *member, c change) sdk.Outcome {
	if c.empty() && held.known() {
		return waiting(rec, held, sdk.Unchanged())
	}
	now := held
	if c.writes() || !held.known() {
		written, err := t.put(ctx, rec, held, c.write)
		if err != nil {
			return sdk.FromError(err)
		}
		now = written
	}
	if len(c.tags) > 0 {
		if err := t.postTags(ctx, rec, c.tags); err != nil {
			return sdk.FromError(err)
		}
	}
	if err := notApplied(rec, c.write, now); err != nil {
		return sdk.FromError(err)
	}
	return waiting(rec, now, sdk.Delivered(now.ContactID))
}

// waiting is Accepted for a grant that the person has yet to confirm, else o.
func waiting(rec record, now *member, o sdk.Outcome) sdk.Outcome {
	if rec.Status == subscribed && now.Status == pending {
		return sdk.Accepted(now.ContactID)
	}
	return o
}

// notApplied looks in the vendor's answer for what was written: a success does not mean that all of it
// was taken, and the person may have left in the meantime.
func notApplied(rec record, w write, now *member) error {
	var o sdk.Outcome
	for tag := range w.MergeFields {
		if _, known := now.mergeField(tag); !known && len(now.MergeFields) > 0 {
			o = sdk.Rejected("UNKNOWN_MERGE_FIELD", "the audience has no merge field by a tag that the record names")
		}
	}
	for id, want := range w.Interests {
		if is, listed := now.Interests[id]; listed && is != want {
			o = sdk.Rejected("NOT_APPLIED", "Mailchimp did not take all of the record's interests; a group may allow one choice only")
		}
	}
	permissions := now.permissions()
	for _, p := range w.Permissions {
		is, listed := permissions[p.ID]
		switch {
		case !listed && p.Enabled:
			o = sdk.Rejected("UNKNOWN_MARKETING_PERMISSION", "the audience has no marketing permission by an id that the record names; are its GDPR fields on?")
		case is != p.Enabled:
			o = sdk.Rejected("NOT_APPLIED", "Mailchimp did not take all of the record's marketing permissions")
		}
	}
	mailed := now.Status == subscribed || now.Status == pending
	switch {
	case rec.Status == unsubscribed && mailed:
		o = sdk.Retry("NOT_APPLIED", "the member is still %s", now.Status)
	case (rec.Status == subscribed || rec.Status == pending) && !mailed:
		o = optedOut(now)
	}
	if o.Code == "" {
		return nil
	}
	return o.Err()
}

// put writes a member. Whether somebody is in compliance state shows only when they are to be
// subscribed; where people may be asked to confirm, they are asked then.
func (t *target) put(ctx context.Context, rec record, held *member, w write) (*member, error) {
	w.StatusIfNew = cmp.Or(rec.Status, unsubscribed)
	subscribes := w.Status != "" && w.Status != unsubscribed || !held.known() && w.StatusIfNew != unsubscribed
	if subscribes && !rec.OptedIn.IsZero() {
		w.OptedIn = rec.OptedIn.UTC().Format("2006-01-02T15:04:05+00:00") // as the vendor writes it
	}
	path := t.list + rec.path()
	if held.known() || rec.Status == unsubscribed {
		// Required merge fields are for new subscribers. Nothing else is held back by them.
		path += "?skip_merge_validation=true"
	}
	now, err := t.putOnce(ctx, path, w)
	unasked := w.Status == subscribed || !held.known() && w.StatusIfNew == subscribed
	if err == nil || sdk.FromError(err).Code != codeCompliance || t.resubscribe != subscriber.Confirm || !unasked {
		return now, err
	}
	w.StatusIfNew = pending
	if w.Status != "" {
		w.Status = pending
	}
	return t.putOnce(ctx, path, w)
}

func (t *target) putOnce(ctx context.Context, path string, w write) (*member, error) {
	res, err := t.call(ctx, http.MethodPut, path, w)
	if err != nil {
		return nil, err
	}
	if res.Status == http.StatusNotFound {
		if err := t.listMissing(ctx); err != nil {
			return nil, err
		}
	}
	return decodeMember(res)
}

func (t *target) postTags(ctx context.Context, rec record, tags []tagChange) error {
	res, err := t.call(ctx, http.MethodPost, t.list+rec.path()+"/tags", map[string]any{"tags": tags})
	if err != nil {
		return err
	}
	return res.Err()
}
