package mailchimp

import (
	"context"
	"net/http"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// Check reads the audience.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	res, err := t.call(ctx, http.MethodGet, t.list+"?fields=id", nil)
	switch {
	case err != nil:
		return sdk.FromError(err)
	case res.Status == http.StatusNotFound:
		return sdk.Unauthorized(codeListNotFound, "the account has no audience with this list_id")
	case !res.OK():
		return res.Outcome()
	}
	var list struct {
		ID string `json:"id"`
	}
	if res.Decode(&list) != nil || list.ID == "" {
		return unexpected()
	}
	return sdk.Delivered("")
}

// decodeMember reads a member out of an answer, or what else it means.
func decodeMember(res *httpclient.Response) (*member, error) {
	if err := res.Err(); err != nil {
		return nil, err
	}
	var m member
	if res.Decode(&m) != nil || !m.known() {
		return nil, unexpected().Err()
	}
	return &m, nil
}

// listMissing is asked after a 404 for a member, which says the same when there is no such audience.
// Nil means that the audience is there, so it is the member who is not.
func (t *target) listMissing(ctx context.Context) error {
	return t.Check(ctx).Err()
}

// member reads what Mailchimp holds; somebody whom it does not find is the zero member. The answer to
// the member's own address has at most 50 tags, so with allTags the others are read too.
func (t *target) member(ctx context.Context, rec record, allTags bool) (*member, error) {
	res, err := t.call(ctx, http.MethodGet, t.list+rec.path()+"?fields="+memberFields, nil)
	switch {
	case err != nil:
		return nil, err
	case res.Status == http.StatusNotFound:
		return &member{}, nil
	}
	m, err := decodeMember(res)
	if err != nil || !allTags || m.TagsCount <= len(m.Tags) {
		return m, err
	}
	res, err = t.call(ctx, http.MethodGet, t.list+rec.path()+"/tags?count=1000", nil)
	if err != nil {
		return nil, err
	}
	if err := res.Err(); err != nil {
		return nil, err
	}
	var all struct {
		Tags []tag `json:"tags"`
	}
	if res.Decode(&all) != nil {
		return nil, unexpected().Err()
	}
	m.Tags = all.Tags
	return m, nil
}

// Read tells what Mailchimp holds in the words of the record's schema.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	return sdk.ReadEach(ctx, records, maxConnections, t.read)
}

func (t *target) read(ctx context.Context, r sdk.Record) sdk.Reading {
	rec, err := parse(r)
	if err != nil {
		return sdk.Reading{Outcome: sdk.FromError(err)}
	}
	m, err := t.member(ctx, rec, true)
	if err != nil {
		return sdk.Reading{Outcome: sdk.FromError(err)}
	}
	if !m.known() {
		return sdk.Reading{Outcome: t.Check(ctx)} // whether it is the audience that is not there
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
		rec, err := parse(r)
		if err != nil {
			return sdk.FromError(err)
		}
		res, err := t.call(ctx, http.MethodPost, t.list+rec.path()+"/actions/delete-permanent", nil)
		switch {
		case err != nil:
			return sdk.FromError(err)
		case res.Status == http.StatusNotFound:
			return t.Check(ctx)
		}
		return res.Outcome()
	})
}
