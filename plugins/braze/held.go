package braze

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// held is what Braze holds about the person of one record. An e-mail address may be several profiles'; the
// first is then the one that is told of, and an opt-out in any of them counts.
type held struct {
	err         error
	profiles    []profile
	email, push string          // states; empty is not told
	groups      map[string]bool // in or out; one that is not told of is neither
}

// profile is one of the users of /users/export/ids.
type profile map[string]any

func (p profile) text(name string) string {
	s, _ := p[name].(string)
	return s
}

// is whether the identity is the profile's.
func (p profile) is(id identity) bool {
	if id.kind != identifiers.userAlias {
		return p.text(id.kind.field) == id.key
	}
	aliases, _ := p["user_aliases"].([]any)
	return slices.ContainsFunc(aliases, func(a any) bool {
		one, _ := a.(map[string]any)
		return alias{profile(one).text("alias_name"), profile(one).text("alias_label")}.key() == id.key
	})
}

// profileFields are those of a profile that stand among a record's attributes. The custom ones come in a field of
// their own.
var profileFields = []string{"first_name", "last_name", "country", "dob", "gender", "home_city", "language", "time_zone"}

// exported are the fields to ask for: the longer list of all would cost the faster rate limit.
var exported = append([]string{
	"external_id", "user_aliases", "braze_id", "email", "phone", "email_subscribe", "push_subscribe", "custom_attributes",
}, profileFields...)

// look reads what Braze holds of each record's person: the profiles, and the groups if they are asked for.
func (t *target) look(ctx context.Context, records []record, withGroups bool) []held {
	found := make([]held, len(records))
	t.each(ctx, found, exportCalls(records), t.export)
	if !withGroups {
		return found
	}
	var calls []lookup
	for i := range found {
		if h := &found[i]; h.err == nil && len(h.profiles) > 0 {
			if id, ok := groupsBy(records[i].who, h.profiles[0]); ok {
				calls = addTo(calls, id, i, true)
			}
		}
	}
	t.each(ctx, found, calls, t.readGroups)
	return found
}

// lookup is one call that reads: people of one kind of identifier, and whose records they are.
type lookup struct {
	kind  *identifier
	ids   []identity
	index []int
	size  int // of the ids together
}

// maxIDs is how long the ids of one call may be together, in bytes: some stand in an address.
const maxIDs = 4000

func exportCalls(records []record) []lookup {
	var calls []lookup
	for i, r := range records {
		calls = addTo(calls, r.who, i, r.who.kind.many)
	}
	return calls
}

// addTo puts a person into a call with others of the kind, where one takes many.
func addTo(calls []lookup, id identity, i int, many bool) []lookup {
	for n := range calls {
		if c := &calls[n]; many && c.kind == id.kind && len(c.ids) < maxUsers && c.size+len(id.key) <= maxIDs {
			c.ids, c.index = append(c.ids, id), append(c.index, i)
			c.size += len(id.key)
			return calls
		}
	}
	return append(calls, lookup{id.kind, []identity{id}, []int{i}, len(id.key)})
}

// reader makes one call and adds what it is told to the found of the call's index.
type reader func(context.Context, lookup, []held) error

// each makes the calls, some at once, and notes their errors with the people they are about.
func (t *target) each(ctx context.Context, found []held, calls []lookup, read reader) {
	var group errgroup.Group
	group.SetLimit(maxInFlight)
	for _, c := range calls {
		group.Go(func() error {
			c.make(ctx, found, read)
			return nil
		})
	}
	_ = group.Wait() // no call returns an error
}

// make halves a call that is refused: one of the people is to blame.
func (c lookup) make(ctx context.Context, found []held, read reader) {
	err := read(ctx, c, found)
	if err == nil {
		return
	}
	if half := len(c.ids) / 2; half > 0 && sdk.FromError(err).Kind == sdk.KindRejected {
		lookup{kind: c.kind, ids: c.ids[:half], index: c.index[:half]}.make(ctx, found, read)
		lookup{kind: c.kind, ids: c.ids[half:], index: c.index[half:]}.make(ctx, found, read)
		return
	}
	for _, i := range c.index {
		found[i].err = err
	}
}

func (t *target) export(ctx context.Context, c lookup, found []held) error {
	body := map[string]any{"fields_to_export": exported}
	if c.kind.many {
		var values []any
		for _, id := range c.ids {
			values = append(values, id.value)
		}
		body[c.kind.export] = values
	} else {
		body[c.kind.export] = c.ids[0].value
	}
	var answer struct {
		Users []profile `json:"users"`
	}
	res, err := t.call(ctx, exportUsers, nil, body)
	if err := decode(res, err, &answer); err != nil {
		return err
	}
	for n, i := range c.index {
		for _, p := range answer.Users {
			if !c.kind.many || p.is(c.ids[n]) {
				found[i].add(p)
			}
		}
	}
	return nil
}

func (h *held) add(p profile) {
	h.profiles = append(h.profiles, p)
	h.email = either(h.email, p.text("email_subscribe"))
	h.push = either(h.push, p.text("push_subscribe"))
}

func either(one, other string) string {
	if one == unsubscribed || other == unsubscribed {
		return unsubscribed
	}
	return cmp.Or(one, other)
}

// groupsBy is how to ask for the groups of a person: Braze does not look for them by an alias or its own id.
func groupsBy(who identity, p profile) (identity, bool) {
	if who.kind.groups != "" {
		return who, true
	}
	if id := p.text("external_id"); id != "" {
		return identity{identifiers.externalID, id, id}, true
	}
	if email := p.text("email"); email != "" {
		return identity{identifiers.email, email, strings.ToLower(email)}, true
	}
	phone := p.text("phone")
	return identity{identifiers.phone, phone, phone}, phone != ""
}

func (t *target) readGroups(ctx context.Context, c lookup, found []held) error {
	query := url.Values{}
	for _, id := range c.ids {
		value, _ := id.value.(string) // an alias is never asked with
		query.Add(c.kind.groups+"[]", value)
	}
	var answer struct {
		Users []struct {
			ExternalID string `json:"external_id"`
			Email      string `json:"email"`
			Phone      string `json:"phone"`
			Groups     []struct {
				ID     string `json:"id"`
				Status string `json:"status"`
			} `json:"subscription_groups"`
		} `json:"users"`
	}
	res, err := t.call(ctx, readGroups, query, nil)
	if err := decode(res, err, &answer); err != nil {
		return err
	}
	for n, i := range c.index {
		for _, u := range answer.Users {
			key := map[*identifier]string{identifiers.externalID: u.ExternalID, identifiers.email: strings.ToLower(u.Email), identifiers.phone: u.Phone}[c.kind]
			if key != c.ids[n].key {
				continue
			}
			if found[i].groups == nil {
				found[i].groups = map[string]bool{}
			}
			for _, g := range u.Groups {
				switch strings.ToLower(g.Status) {
				case subscribed:
					if _, told := found[i].groups[g.ID]; !told {
						found[i].groups[g.ID] = true
					}
				case unsubscribed:
					found[i].groups[g.ID] = false
				}
			}
		}
	}
	return nil
}

// decode reads the answer of a call that must succeed.
func decode(res *httpclient.Response, err error, into any) error {
	if err != nil {
		return err
	}
	if err := res.Err(); err != nil {
		return err
	}
	return res.Decode(into)
}

// reading is in the words of the record's schema.
func (h held) reading(r record) sdk.Reading {
	switch {
	case h.err != nil:
		return sdk.Reading{Outcome: sdk.FromError(h.err)}
	case len(h.profiles) == 0:
		return sdk.Reading{Outcome: sdk.Delivered("")}
	}
	p := h.profiles[0]
	attributes := map[string]any{}
	if custom, ok := p["custom_attributes"].(map[string]any); ok {
		maps.Copy(attributes, custom)
	}
	for _, name := range profileFields {
		if value, ok := p[name]; ok {
			attributes[name] = value
		}
	}
	fields := map[string]any{r.who.kind.field: r.who.value, "attributes": attributes}
	if h.groups != nil {
		fields["subscription_groups"] = h.groups
	}
	for name, value := range map[string]string{
		"email": p.text("email"), "phone": p.text("phone"), "email_subscribe": h.email, "push_subscribe": h.push,
	} {
		if value != "" {
			fields[name] = value
		}
	}
	return sdk.Reading{Outcome: sdk.Delivered(""), Found: true, Fields: fields}
}
