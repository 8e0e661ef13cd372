package hubspot

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const statuses = "/communication-preferences/v4/statuses/"

var channel = url.Values{"channel": {"EMAIL"}}

// status is one subscription of a person, in an answer.
type status struct {
	Subscriber     string `json:"subscriberIdString"`
	SubscriptionID int64  `json:"subscriptionId"`
	Status         state  `json:"status"`
	Reason         string `json:"setStatusSuccessReason"`
}

// write is one change of a subscription.
type write struct {
	job         *job
	Subscriber  string `json:"subscriberIdString,omitempty"`
	ID          int64  `json:"subscriptionId"`
	State       state  `json:"statusState"`
	Channel     string `json:"channel"`
	LegalBasis  string `json:"legalBasis,omitempty"`
	Explanation string `json:"legalBasisExplanation,omitempty"`
}

// readStatuses returns the states of a person's subscriptions. That of one who never said anything is
// notSpecified or absent.
func (t *target) readStatuses(ctx context.Context, email string) (map[int64]state, error) {
	res, err := t.client.Do(ctx, httpclient.Request{Method: http.MethodGet, Path: statuses + url.PathEscape(email), Query: channel})
	if err != nil {
		return nil, err
	}
	if err := res.Err(); err != nil {
		if sdk.FromError(err).Code == categoryNotFound {
			return map[int64]state{}, nil // documented for v3 of an address without any
		}
		return nil, err
	}
	var answer struct {
		Results []status `json:"results"`
	}
	if res.Decode(&answer) != nil || answer.Results == nil {
		return nil, unexpected().Err()
	}
	return states(answer.Results), nil
}

func states(all []status) map[int64]state {
	held := make(map[int64]state, len(all))
	for _, s := range all {
		held[s.SubscriptionID] = s.Status
	}
	return held
}

// readBatch does so for many at once. Whoever it leaves out is read alone.
func (t *target) readBatch(ctx context.Context, jobs []*job) error {
	request := struct {
		Inputs []string `json:"inputs"`
	}{}
	for _, j := range jobs {
		request.Inputs = append(request.Inputs, j.Email)
	}
	var answer struct {
		Results []struct {
			Subscriber string   `json:"subscriberIdString"`
			Statuses   []status `json:"statuses"`
		} `json:"results"`
	}
	err := t.call(ctx, httpclient.Request{Method: http.MethodPost, Path: statuses + "batch/read", Query: channel, Body: request}, &answer)
	if err != nil && sdk.FromError(err).Kind != sdk.KindRejected {
		return err
	}
	held := map[string]map[int64]state{}
	for _, r := range answer.Results {
		held[strings.ToLower(r.Subscriber)] = states(r.Statuses)
	}
	for _, j := range jobs {
		j.states = held[j.key()]
	}
	return nil
}

// plan compares what is wanted with what is held. takes are the writes that end or clear a
// subscription, gives those that begin one, and refused the vendor's opt-out standing against a grant.
func (t *target) plan(j *job) (takes, gives []write, refused error) {
	wanted := maps.Clone(j.wanted)
	if j.Subscriptions.Null {
		for id, held := range j.states {
			if held == subscribed {
				wanted[id] = notSpecified
			}
		}
	}
	outOfAll := j.held != nil && j.held.optedOutOfAll()
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		want, held := wanted[id], j.states[id]
		w := write{job: j, ID: id, State: want, Channel: "EMAIL", LegalBasis: j.LegalBasis, Explanation: j.Explanation}
		switch {
		case want == subscribed && t.resubscribe == subscriber.Never && (outOfAll || held == unsubscribed):
			refused = optedOut()
		case want == subscribed && (held != subscribed || outOfAll):
			gives = append(gives, w)
		case want == unsubscribed && held != unsubscribed, want == notSpecified && held == subscribed:
			// A null takes back a grant. It does not take back an opt-out.
			takes = append(takes, w)
		}
	}
	return takes, gives, refused
}

func optedOut() error {
	return sdk.Rejected("OPTED_OUT", "HubSpot holds the person as unsubscribed, and resubscribe does not let a grant overrule it").Err()
}

// writeAll makes the writes, in one call where the account has it, and tells each one's job. What the
// batch call does not confirm is written alone, which gives it an answer of its own.
func (t *target) writeAll(ctx context.Context, writes []write) {
	done := func(w write) bool { return w.job.failed() || w.job.confirmed[w.ID] }
	writes = slices.DeleteFunc(writes, done)
	if t.batches {
		for chunk := range slices.Chunk(writes, maxBatch) {
			t.writeBatch(ctx, chunk)
		}
	}
	byJob := map[*job][]write{}
	for _, w := range writes {
		if !done(w) {
			byJob[w.job] = append(byJob[w.job], w)
		}
	}
	concurrently(slices.Collect(maps.Keys(byJob)), func(j *job) {
		for _, w := range byJob[j] {
			if err := t.writeOne(ctx, w); err != nil {
				j.fail(sdk.FromError(err))
				return
			}
		}
	})
}

func (t *target) writeBatch(ctx context.Context, writes []write) {
	type key struct {
		email string
		id    int64
	}
	open := map[key]write{}
	request := struct {
		Inputs []write `json:"inputs"`
	}{}
	for _, w := range writes {
		w.Subscriber = w.job.Email
		request.Inputs = append(request.Inputs, w)
		open[key{w.job.key(), w.ID}] = w
	}
	var answer struct {
		Results []status `json:"results"`
	}
	if err := t.post(ctx, statuses+"batch/write", request, &answer); err != nil {
		if o := sdk.FromError(err); o.Kind != sdk.KindRejected {
			for _, w := range writes {
				w.job.fail(o)
			}
		}
		return
	}
	for _, s := range answer.Results {
		if w, asked := open[key{strings.ToLower(s.Subscriber), s.SubscriptionID}]; asked && s.Status == w.State {
			t.settle(ctx, w, s)
		}
	}
}

func (t *target) writeOne(ctx context.Context, w write) error {
	var answer struct {
		Results []status `json:"results"`
	}
	if err := t.post(ctx, statuses+url.PathEscape(w.job.Email), w, &answer); err != nil {
		return err
	}
	for _, s := range answer.Results {
		if s.SubscriptionID == w.ID && s.Status == w.State {
			t.settle(ctx, w, s)
			return nil
		}
	}
	return unexpected().Err()
}

// settle notes a write that HubSpot confirmed. Where a person opted out between the look and the write,
// HubSpot says that it subscribed them again, and that is undone.
func (t *target) settle(ctx context.Context, w write, s status) {
	w.job.confirmed[w.ID] = true
	if s.Reason != "NO_STATUS_CHANGE" {
		w.job.changed = true
	}
	if s.Reason != "RESUBSCRIBE_OCCURRED" || w.State != subscribed || t.resubscribe != subscriber.Never {
		return
	}
	w.State, w.Subscriber = unsubscribed, ""
	if err := t.writeOne(ctx, w); err != nil {
		w.job.fail(sdk.FromError(err))
		return
	}
	w.job.refused = optedOut()
}
