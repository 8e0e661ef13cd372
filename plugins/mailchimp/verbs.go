package mailchimp

import (
	"context"
	"net/http"
	"sync"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// Check reads the audience.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	res, failed := t.call(ctx, http.MethodGet, t.list+"?fields=id", nil)
	switch {
	case res == nil:
		return failed
	case res.Status == http.StatusNotFound:
		return sdk.Unauthorized(codeListNotFound, "the account has no audience with this list_id")
	case !res.OK():
		return classify(res)
	}
	var list struct {
		ID string `json:"id"`
	}
	if res.Decode(&list) != nil || list.ID == "" {
		return classify(res)
	}
	return sdk.Delivered("")
}

// decodeMember reads a member out of an answer, or what else it means.
func decodeMember(res *httpclient.Response) (*member, *sdk.Outcome) {
	var m member
	if res.OK() && res.Decode(&m) == nil && m.known() {
		return &m, nil
	}
	o := classify(res)
	return nil, &o
}

// listMissing is asked after a 404 for a member, which says the same when there is no such audience.
// Nil means that the audience is there, so it is the member who is not.
func (t *target) listMissing(ctx context.Context) *sdk.Outcome {
	if o := t.Check(ctx); !o.Kind.Done() {
		return &o
	}
	return nil
}

// member reads what Mailchimp holds; somebody whom it does not find is the zero member. The answer to
// the member's own address has at most 50 tags, so with allTags the others are read too.
func (t *target) member(ctx context.Context, rec record, allTags bool) (*member, *sdk.Outcome) {
	res, failed := t.call(ctx, http.MethodGet, t.list+rec.path()+"?fields="+memberFields, nil)
	switch {
	case res == nil:
		return nil, &failed
	case res.Status == http.StatusNotFound:
		return &member{}, nil
	}
	m, failure := decodeMember(res)
	if failure != nil || !allTags || m.TagsCount <= len(m.Tags) {
		return m, failure
	}
	res, failed = t.call(ctx, http.MethodGet, t.list+rec.path()+"/tags?count=1000", nil)
	if res == nil {
		return nil, &failed
	}
	var all struct {
		Tags []tag `json:"tags"`
	}
	if !res.OK() || res.Decode(&all) != nil {
		o := classify(res)
		return nil, &o
	}
	m.Tags = all.Tags
	return m, nil
}

// Read tells what Mailchimp holds in the words of the record's schema.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	readings := make([]sdk.Reading, len(records))
	var reads sync.WaitGroup
	for i, r := range records {
		reads.Go(func() { readings[i] = t.read(ctx, r) })
	}
	reads.Wait()
	return readings
}

func (t *target) read(ctx context.Context, r sdk.Record) sdk.Reading {
	rec, refused := parse(r)
	if refused != nil {
		return sdk.Reading{Outcome: *refused}
	}
	m, failure := t.member(ctx, rec, true)
	if failure != nil {
		return sdk.Reading{Outcome: *failure}
	}
	if !m.known() {
		if missing := t.listMissing(ctx); missing != nil {
			return sdk.Reading{Outcome: *missing}
		}
		return sdk.Reading{Outcome: sdk.Delivered("")}
	}
	status := m.Status
	if status != subscribed && status != pending {
		status = unsubscribed // the others get no marketing mail, and the schema has no word for them
	}
	return sdk.Reading{
		Outcome: sdk.Delivered(m.ContactID),
		Found:   true,
		Fields: map[string]any{
			"email":                 rec.Email,
			"status":                status,
			"merge_fields":          m.MergeFields,
			"interests":             m.Interests,
			"tags":                  m.tags(),
			"marketing_permissions": m.permissions(),
			"language":              m.Language,
		},
	}
}

// Erase deletes members for good. Mailchimp refuses their addresses from then on.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, maxConnections, func(ctx context.Context, r sdk.Record) sdk.Outcome {
		rec, refused := parse(r)
		if refused != nil {
			return *refused
		}
		res, failed := t.call(ctx, http.MethodPost, t.list+rec.path()+"/actions/delete-permanent", nil)
		switch {
		case res == nil:
			return failed
		case res.OK():
			return sdk.Delivered("")
		case res.Status == http.StatusNotFound:
			if missing := t.listMissing(ctx); missing != nil {
				return *missing
			}
			return sdk.Delivered("")
		}
		return classify(res)
	})
}
