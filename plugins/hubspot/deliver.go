package hubspot

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
)

// job is a record on its way. It outlives the halves that a batch is divided into, so that nothing is
// done twice.
type job struct {
	record
	withdrawal bool

	looked    bool
	held      *contact        // nil for somebody whom HubSpot does not know
	states    map[int64]state // of the subscriptions; nil until they are read
	upserted  bool
	confirmed map[int64]bool // subscriptions written

	changed   bool
	reference string
	refused   error // the vendor's opt-out, which stops nothing but that grant
	failure   error
}

func (j *job) fail(o sdk.Outcome) {
	if j.failure == nil {
		j.failure = o.Err()
	}
}

func (j *job) failed() bool { return j.failure != nil }

func (j *job) outcome() sdk.Outcome {
	switch {
	case j.failure != nil:
		return sdk.FromError(j.failure)
	case j.refused != nil:
		return sdk.FromError(j.refused)
	case j.changed:
		return sdk.Delivered(j.reference)
	}
	return sdk.Unchanged()
}

// Deliver brings contacts and their subscriptions to the wanted state.
func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return batch.Call[*job]{
		Max: maxBatch,
		Parse: func(r sdk.Record) (*job, error) {
			rec, err := parse(r)
			return &job{record: rec, withdrawal: r.Withdrawal, confirmed: map[int64]bool{}}, err
		},
		Key:  func(j *job) string { return j.key() },
		Send: t.send,
	}.Deliver(ctx, records)
}

// send takes away first, so that nothing that is wrong with the rest of a record holds that back.
func (t *target) send(ctx context.Context, jobs []*job) ([]sdk.Outcome, error) {
	if err := t.look(ctx, jobs); err != nil {
		return nil, err
	}
	var there []*job
	for _, j := range jobs {
		if j.held != nil || t.creates(j) {
			there = append(there, j)
		}
	}
	if err := t.readAll(ctx, there); err != nil {
		return nil, err
	}
	var first, then []write
	var kept []*job
	for _, j := range there {
		if j.failed() {
			continue
		}
		takes, gives, refused := t.plan(j)
		if j.refused == nil {
			j.refused = refused
		}
		if j.held == nil && refused != nil && len(gives) == 0 && !t.create {
			continue // HubSpot remembers the address, and nothing is left to make a contact for
		}
		kept = append(kept, j)
		if j.held != nil {
			first = append(first, takes...)
		} else {
			then = append(then, takes...) // a contact first
		}
		then = append(then, gives...)
	}
	t.writeAll(ctx, first)
	if err := t.upsert(ctx, kept); err != nil {
		return nil, err
	}
	t.writeAll(ctx, then)
	outcomes := make([]sdk.Outcome, len(jobs))
	for i, j := range jobs {
		outcomes[i] = j.outcome()
	}
	return outcomes, nil
}

// creates is whether a record makes a contact of somebody whom HubSpot does not know: one that
// subscribes does, one that only opts out does not.
func (t *target) creates(j *job) bool {
	return t.create || j.grants() || len(j.wanted) == 0 && !j.Subscriptions.Null && !j.withdrawal
}

func (t *target) look(ctx context.Context, jobs []*job) error {
	var records []record
	for _, j := range jobs {
		if !j.looked {
			records = append(records, j.record)
		}
	}
	if len(records) == 0 {
		return nil
	}
	found, err := t.readContacts(ctx, records)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if !j.looked {
			j.looked, j.held = true, found[j.key()]
		}
		if j.held != nil {
			j.reference = j.held.ID
		}
	}
	return nil
}

// readAll reads the subscriptions of those whose records name any.
func (t *target) readAll(ctx context.Context, jobs []*job) error {
	unread := func() (some []*job) {
		for _, j := range jobs {
			if j.states == nil && !j.failed() && (len(j.wanted) > 0 || j.Subscriptions.Null) {
				some = append(some, j)
			}
		}
		return some
	}
	if some := unread(); t.batches && len(some) > 1 {
		if err := t.readBatch(ctx, some); err != nil {
			return err
		}
	}
	concurrently(unread(), func(j *job) {
		var err error
		if j.states, err = t.readStatuses(ctx, j.Email); err != nil {
			j.fail(sdk.FromError(err))
		}
	})
	return nil
}

func concurrently(jobs []*job, do func(*job)) {
	var calls errgroup.Group
	calls.SetLimit(maxInFlight)
	for _, j := range jobs {
		calls.Go(func() error {
			do(j)
			return nil
		})
	}
	_ = calls.Wait() // no call returns an error
}
