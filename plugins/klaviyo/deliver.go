package klaviyo

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
)

// Deliver reads who the people are to Klaviyo, and brings to it what differs. A call that Klaviyo refuses
// without naming the profile to blame is made again in halves, from the reading on.
func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return batch.Call[record]{Max: maxBatch, Parse: parse, Key: record.key, Send: t.send}.Deliver(ctx, records)
}

// work is one record on its way.
type work struct {
	rec     record
	held    *profile // never nil
	refused error    // the vendor's opt-out against a grant: what is taken away goes through all the same

	write                write
	subscribe            []string // channels
	unsubscribe          []string
	suppress, unsuppress bool
	taken, wrote         bool // done

	// failed is the outcome of a record that got no further.
	failed error
}

func (t *target) send(ctx context.Context, records []record) ([]sdk.Outcome, error) {
	held, err := t.lookup(ctx, records)
	if err != nil {
		return nil, err
	}
	works := make([]*work, len(records))
	for i, rec := range records {
		works[i] = t.plan(rec, held[i])
	}
	for _, step := range []func(context.Context, []*work) error{t.takeAway, t.writeAll, t.takeAway, t.give} {
		if err := step(ctx, works); err != nil {
			return nil, err
		}
	}
	waiting := t.confirm(ctx, works)
	outcomes := make([]sdk.Outcome, len(works))
	for i, w := range works {
		switch {
		case w.failed != nil:
			outcomes[i] = sdk.FromError(w.failed)
		case w.refused != nil:
			outcomes[i] = sdk.FromError(w.refused)
		case waiting[w]:
			outcomes[i] = sdk.Accepted(w.held.ID)
		case w.wrote || w.changesConsent():
			outcomes[i] = sdk.Delivered(w.held.ID)
		default:
			outcomes[i] = sdk.Unchanged()
		}
	}
	return outcomes, nil
}

// plan finds what must change so that a profile is as the record says. Nobody is nil.
func (t *target) plan(rec record, held *profile) *work {
	w := &work{rec: rec, held: held}
	wanted := rec.wanted()
	gives := false
	for _, yes := range wanted {
		gives = gives || yes
	}
	if held == nil {
		w.held = &profile{}
		switch {
		case gives || t.create:
		case len(wanted) > 0 || rec.Suppressed.Present || !w.held.differences(rec).gives():
			return w // nothing can be taken from nobody
		default:
			w.refused = sdk.Rejected("UNKNOWN_PROFILE", "Klaviyo has no such profile, and the record grants nothing: set create, or subscriptions").Err()
			return w
		}
	}
	w.write = w.held.differences(rec)
	for name, yes := range wanted {
		c := channels[name]
		is := w.held.standing(name, t.list)
		switch {
		case yes && w.held.text(c.identifier) == "" && w.write.attributes[c.identifier] == nil:
			w.refused = sdk.Rejected("NO_"+identifierWord(c), "a subscription of the record needs %s, which neither the record nor the profile has", c.identifier).Err()
		case yes && name == emailMarketing && rec.Suppressed.Value:
			w.refused = sdk.Rejected("CONTRADICTION", "the record both subscribes to marketing mail and suppresses it").Err()
		case yes && is == out && t.resubscribe != subscriber.Force:
			w.refused = sdk.Rejected("OPTED_OUT", "the person is opted out of %s, and resubscribe does not let a grant overrule it", name).Err()
		case yes && is != agreed:
			w.subscribe = append(w.subscribe, name)
		case !yes && w.held.consent(c) != unsubscribed:
			w.unsubscribe = append(w.unsubscribe, name)
		}
	}
	slices.Sort(w.subscribe)
	slices.Sort(w.unsubscribe)
	if rec.Suppressed.Present {
		is := slices.Contains(w.held.suppressions(""), userSuppressed)
		switch {
		case rec.Suppressed.Value:
			w.suppress = !is
		case is && t.resubscribe != subscriber.Force:
			w.refused = sdk.Rejected("OPTED_OUT", "the profile is suppressed, and resubscribe does not let the record overrule it").Err()
		default:
			w.unsuppress = is
		}
	}
	return w
}

// gives is whether anything is set, beside what tells who it is.
func (w write) gives() bool {
	for name, value := range w.attributes {
		switch name {
		case "email", "phone_number", "external_id":
		default:
			if value != nil {
				return true
			}
		}
	}
	return false
}

func (w *work) changesConsent() bool {
	return len(w.subscribe)+len(w.unsubscribe) > 0 || w.suppress || w.unsuppress
}

// takeAway ends subscriptions, and suppresses, of those whom Klaviyo knows. It comes before all else, so
// that nothing that is wrong with the rest of a record holds it back; and once more for those who were
// created.
func (t *target) takeAway(ctx context.Context, works []*work) error {
	var leave, suppress []*work
	for _, w := range works {
		if w.failed != nil || w.taken || w.held.ID == "" {
			continue
		}
		w.taken = true
		w.unsubscribe = slices.DeleteFunc(w.unsubscribe, func(name string) bool {
			return w.held.text(channels[name].identifier) == "" // cannot be reached there
		})
		w.suppress = w.suppress && w.held.text("email") != ""
		if len(w.unsubscribe) > 0 {
			leave = append(leave, w)
		}
		if w.suppress {
			suppress = append(suppress, w)
		}
	}
	// The job names no list: it would be about that list alone for its members, and global for others.
	if err := t.job(ctx, leave, "profile-subscription-bulk-delete-job", nil, func(w *work) resource {
		return w.entry(w.unsubscribe, unsubscribed)
	}); err != nil {
		return err
	}
	return t.job(ctx, suppress, "profile-suppression-bulk-create-job", nil, (*work).address)
}

// give subscribes, and takes suppressions away.
func (t *target) give(ctx context.Context, works []*work) error {
	var join, release []*work
	for _, w := range works {
		switch {
		case w.failed != nil || w.refused != nil:
			continue
		case len(w.subscribe) > 0:
			join = append(join, w)
		}
		if w.unsuppress {
			release = append(release, w)
		}
	}
	if err := t.job(ctx, release, "profile-suppression-bulk-delete-job", nil, (*work).address); err != nil {
		return err
	}
	var relationships map[string]any
	if t.list != "" {
		relationships = map[string]any{"list": map[string]any{"data": map[string]any{"type": "list", "id": t.list}}}
	}
	return t.job(ctx, join, "profile-subscription-bulk-create-job", relationships, func(w *work) resource {
		r := w.entry(w.subscribe, subscribed)
		r.ID = w.held.ID
		return r
	})
}

// entry is the profile in a subscription job, with the identifiers of the channels and no others: those
// would be set on the profile.
func (w *work) entry(names []string, consent string) resource {
	attributes := map[string]any{}
	subscriptions := map[string]map[string]any{}
	for _, name := range names {
		c := channels[name]
		attributes[c.identifier] = w.held.text(c.identifier)
		if subscriptions[c.medium] == nil {
			subscriptions[c.medium] = map[string]any{}
		}
		subscriptions[c.medium][c.kind] = map[string]any{"consent": consent}
	}
	attributes["subscriptions"] = subscriptions
	return resource{Type: "profile", Attributes: attributes}
}

// address is the profile in a suppression job.
func (w *work) address() resource {
	return resource{Type: "profile", Attributes: map[string]any{"email": w.held.text("email")}}
}

// job starts a job about several profiles. One bad profile makes Klaviyo refuse all; those that its
// answer points at fail, and the others are sent again.
func (t *target) job(ctx context.Context, works []*work, typ string, relationships map[string]any, entry func(*work) resource) error {
	for len(works) > 0 {
		entries := make([]resource, len(works))
		for i, w := range works {
			entries[i] = entry(w)
		}
		res, err := t.post(ctx, "/"+typ+"s", resource{
			Type:          typ,
			Attributes:    map[string]any{"profiles": map[string]any{"data": entries}},
			Relationships: relationships,
		})
		if err != nil {
			return err
		}
		bad := badRows(res, len(works))
		if bad == nil {
			if err := res.Err(); err != nil {
				return err
			}
			if res.Status != http.StatusAccepted {
				return unexpected().Err()
			}
			return nil
		}
		var rest []*work
		for i, w := range works {
			if o, found := bad[i]; found {
				w.failed = o.Err()
			} else {
				rest = append(rest, w)
			}
		}
		works = rest
	}
	return nil
}

// writeAll creates and updates profiles, a call each: the job for many does not tell in time, for each
// profile, what became of it.
func (t *target) writeAll(ctx context.Context, works []*work) error {
	var calls sync.WaitGroup
	for _, w := range works {
		if w.failed == nil && w.refused == nil && !w.write.empty() {
			calls.Go(func() { w.failed = t.writeOne(ctx, w) })
		}
	}
	calls.Wait()
	return nil
}

func (t *target) writeOne(ctx context.Context, w *work) error {
	r := resource{Type: "profile", ID: w.held.ID, Attributes: w.write.attributes}
	if len(w.write.unset) > 0 {
		r.Meta = map[string]any{"patch_properties": map[string]any{"unset": w.write.unset}}
	}
	res, err := t.post(ctx, "/profile-import", r)
	if err != nil {
		return err
	}
	if err := res.Err(); err != nil {
		return err
	}
	var answer struct {
		Data *profile `json:"data"`
	}
	if res.Decode(&answer) != nil || answer.Data == nil || answer.Data.ID == "" {
		return unexpected().Err()
	}
	w.held = answer.Data
	w.wrote = true
	return nil
}

// confirm looks whether the jobs are done, a few times, and returns those that are not. A subscription job
// cannot be asked for; what it does can be seen. Somebody whom Klaviyo asks to confirm stays among them.
func (t *target) confirm(ctx context.Context, works []*work) map[*work]bool {
	waiting := map[*work]bool{}
	for _, w := range works {
		if w.failed == nil && w.refused == nil && w.changesConsent() {
			waiting[w] = true
		}
	}
	for _, wait := range t.waits {
		if len(waiting) == 0 || !sleep(ctx, wait) {
			break
		}
		var ids []string
		for w := range waiting {
			ids = append(ids, w.held.ID)
		}
		profiles, err := t.profiles(ctx, "id", ids)
		if err != nil {
			break // the jobs were taken, and that is what is known
		}
		now := map[string]*profile{}
		for _, p := range profiles {
			now[p.ID] = p
		}
		for w := range waiting {
			if p := now[w.held.ID]; p != nil && p.holds(w.rec, t.list) {
				delete(waiting, w)
			}
		}
	}
	return waiting
}

// sleep is false when ctx ends first, or is about to.
func sleep(ctx context.Context, wait time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= 2*wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
