package klaviyo

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/consentd/consentd/sdk"
)

// Check reads the list, if there is one, and a profile. Whether the key may write shows only when it does.
func (t *target) Check(ctx context.Context) sdk.Outcome {
	if t.list != "" {
		res, err := t.get(ctx, "/lists/"+t.list, nil)
		switch {
		case err != nil:
			return sdk.FromError(err)
		case res.Status == http.StatusNotFound && problems(res) != nil:
			return listNotFound()
		case !res.OK():
			return res.Outcome()
		}
		var answer struct {
			Data struct {
				ID string `json:"id"`
			} `json:"data"`
		}
		if res.Decode(&answer) != nil || answer.Data.ID != t.list {
			return unexpected()
		}
	}
	res, err := t.get(ctx, "/profiles", url.Values{"page[size]": {"1"}})
	if err != nil {
		return sdk.FromError(err)
	}
	if err := res.Err(); err != nil {
		return sdk.FromError(err)
	}
	var answer struct {
		Data []profile `json:"data"`
	}
	if res.Decode(&answer) != nil || answer.Data == nil {
		return unexpected()
	}
	return sdk.Delivered("")
}

// Read tells what Klaviyo holds in the words of the record's schema.
func (t *target) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	return sdk.ReadEach(ctx, records, maxCalls, t.read)
}

func (t *target) read(ctx context.Context, r sdk.Record) sdk.Reading {
	p, err := t.find(ctx, r)
	if err != nil {
		return sdk.Reading{Outcome: sdk.FromError(err)}
	}
	if p == nil {
		return sdk.Reading{Outcome: sdk.Delivered("")}
	}
	held := map[string]any{"suppressed": slices.Contains(p.suppressions(""), userSuppressed)}
	for name := range recordSchema().Attributes {
		if value := p.Attributes[name]; value != nil && name != "subscriptions" {
			held[name] = value
		}
	}
	consents := map[string]any{}
	for name, c := range channels {
		if p.text(c.identifier) != "" {
			consents[name] = p.standing(name, t.list) == agreed
		}
	}
	held["subscriptions"] = consents
	return sdk.Reading{Outcome: sdk.Delivered(p.ID), Found: true, Fields: held}
}

func (t *target) find(ctx context.Context, r sdk.Record) (*profile, error) {
	rec, err := parse(r)
	if err != nil {
		return nil, err
	}
	held, err := t.lookup(ctx, []record{rec})
	if err != nil {
		return nil, err
	}
	return held[0], nil
}

// Erase asks for the deletion of profiles, and looks a few times whether they are gone.
func (t *target) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, maxInFlight, func(ctx context.Context, r sdk.Record) sdk.Outcome {
		p, err := t.find(ctx, r)
		if err != nil {
			return sdk.FromError(err)
		}
		if p == nil {
			return sdk.Delivered("")
		}
		res, err := t.post(ctx, "/data-privacy-deletion-jobs", resource{
			Type: "data-privacy-deletion-job",
			Attributes: map[string]any{"profile": map[string]any{
				"data": resource{Type: "profile", ID: p.ID, Attributes: map[string]any{}},
			}},
		})
		if err != nil {
			return sdk.FromError(err)
		}
		if err := res.Err(); err != nil {
			return sdk.FromError(err)
		}
		if res.Status != http.StatusAccepted {
			return unexpected()
		}
		for _, wait := range t.waits {
			if !sleep(ctx, wait) {
				break
			}
			left, err := t.profiles(ctx, "id", []string{p.ID})
			if err != nil {
				break
			}
			if len(left) == 0 {
				return sdk.Delivered(p.ID)
			}
		}
		return sdk.Accepted(p.ID)
	})
}
