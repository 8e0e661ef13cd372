package klaviyo

import (
	"context"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/consentd/consentd/sdk"
)

// profile is what Klaviyo holds about a person.
type profile struct {
	ID         string         `json:"id"`
	Attributes map[string]any `json:"attributes"`
}

func (p *profile) text(name string) string {
	s, _ := p.Attributes[name].(string)
	return s
}

// object is what stands at the end of a path of names, and empty if that is no object.
func (p *profile) object(path ...string) map[string]any {
	at := p.Attributes
	for _, name := range path {
		at, _ = at[name].(map[string]any)
	}
	return at
}

// The words of consent that the guide to consent names. There is no closed list.
const (
	subscribed      = "SUBSCRIBED"
	unsubscribed    = "UNSUBSCRIBED"
	neverSubscribed = "NEVER_SUBSCRIBED"
)

func (p *profile) consent(c channel) string {
	s, _ := p.object("subscriptions", c.medium, c.kind)["consent"].(string)
	return s
}

// userSuppressed is the suppression that people who work with the account set, and the API.
const userSuppressed = "USER_SUPPRESSED"

// overruling are the suppressions that a subscribe call would take away: somebody's decision. The others,
// HARD_BOUNCE and INVALID_EMAIL, are about the address and stay.
var overruling = []string{"UNSUBSCRIBE", "SPAM_COMPLAINT", userSuppressed}

// suppressions are the reasons why a profile gets no marketing mail; one list's own opt-outs are among
// them when the list is given.
func (p *profile) suppressions(list string) []string {
	marketing := p.object("subscriptions", "email", "marketing")
	var reasons []string
	each := func(name string, visit func(entry map[string]any)) {
		all, _ := marketing[name].([]any)
		for _, one := range all {
			if entry, ok := one.(map[string]any); ok {
				visit(entry)
			}
		}
	}
	each("suppression", func(entry map[string]any) {
		reason, _ := entry["reason"].(string)
		reasons = append(reasons, reason)
	})
	each("list_suppressions", func(entry map[string]any) {
		if id, _ := entry["list_id"].(string); list != "" && id == list {
			reasons = append(reasons, "UNSUBSCRIBE")
		}
	})
	return reasons
}

// standing is what a channel's consent means for a grant.
type standing int

const (
	out    standing = iota // the person, or somebody for them, said no; also what is not known
	never                  // nobody said anything
	agreed                 // said yes
)

func (p *profile) standing(name, list string) standing {
	c := channels[name]
	if name == emailMarketing {
		for _, reason := range p.suppressions(list) {
			if slices.Contains(overruling, reason) {
				return out
			}
		}
	}
	switch p.consent(c) {
	case subscribed:
		return agreed
	case neverSubscribed, "":
		return never
	}
	return out
}

// holds is whether the consent is as the record wants it.
func (p *profile) holds(rec record, list string) bool {
	for name, yes := range rec.wanted() {
		switch {
		case yes && p.standing(name, list) != agreed:
			return false
		case !yes && p.consent(channels[name]) != unsubscribed && p.text(channels[name].identifier) != "":
			return false
		}
	}
	return !rec.Suppressed.Present || rec.Suppressed.Value == slices.Contains(p.suppressions(""), userSuppressed)
}

// write is the difference in attributes: what profile-import is sent.
type write struct {
	attributes map[string]any
	unset      []string // custom properties to remove
}

func (w write) empty() bool { return len(w.attributes)+len(w.unset) == 0 }

// differences are what must be written so that a profile is as the record says. Nobody is the empty
// profile.
func (p *profile) differences(rec record) write {
	w := write{attributes: map[string]any{}}
	for name, value := range map[string]string{"email": rec.Email, "phone_number": rec.PhoneNumber, "external_id": rec.ExternalID} {
		if value != "" && key(name, value) != key(name, p.text(name)) {
			w.attributes[name] = value
		}
	}
	for name, value := range rec.texts() {
		switch {
		case value.Null && p.text(name) != "":
			w.attributes[name] = nil
		case value.Present && !value.Null && value.Value != p.text(name):
			w.attributes[name] = value.Value
		}
	}
	if set, cleared := changes(rec.Location, p.object("location")); len(set)+len(cleared) > 0 {
		for _, name := range cleared {
			set[name] = nil
		}
		w.attributes["location"] = set
	}
	set, cleared := changes(rec.Properties, p.object("properties"))
	if len(set) > 0 {
		w.attributes["properties"] = set
	}
	w.unset = cleared
	return w
}

// changes are the names to set and to clear so that a map holds what is wanted.
func changes(wanted sdk.Optional[map[string]any], held map[string]any) (set map[string]any, cleared []string) {
	set = map[string]any{}
	for name, value := range wanted.Value {
		switch is := held[name]; {
		case value == nil && is != nil:
			cleared = append(cleared, name)
		case value != nil && !reflect.DeepEqual(value, is):
			set[name] = value
		}
	}
	if wanted.Null {
		for name, is := range held {
			if is != nil {
				cleared = append(cleared, name)
			}
		}
	}
	slices.Sort(cleared)
	return set, cleared
}

// profiles reads those whose attribute has one of the values.
func (t *target) profiles(ctx context.Context, attribute string, values []string) ([]*profile, error) {
	res, err := t.get(ctx, "/profiles", url.Values{
		"filter":                     {"any(" + attribute + `,["` + strings.Join(values, `","`) + `"])`},
		"additional-fields[profile]": {"subscriptions"},
		"page[size]":                 {"100"},
	})
	if err != nil {
		return nil, err
	}
	if err := res.Err(); err != nil {
		return nil, err
	}
	var answer struct {
		Data []*profile `json:"data"`
	}
	if res.Decode(&answer) != nil || answer.Data == nil {
		return nil, unexpected().Err()
	}
	for _, p := range answer.Data {
		if p == nil || p.ID == "" {
			return nil, unexpected().Err()
		}
	}
	return answer.Data, nil
}

// lookup finds the records' profiles; nil is for somebody whom Klaviyo does not know. There are at most
// maxBatch records.
func (t *target) lookup(ctx context.Context, records []record) ([]*profile, error) {
	values := map[string][]string{}
	for _, r := range records {
		attribute, value := r.identity()
		values[attribute] = append(values[attribute], value)
		// Whether the filter minds the case of an address is not documented. Not to find somebody would
		// look as though a withdrawal had nothing to do.
		if lower := strings.ToLower(value); attribute == "email" && lower != value {
			values[attribute] = append(values[attribute], lower)
		}
	}
	found := map[string]*profile{}
	for attribute, all := range values {
		profiles, err := t.profiles(ctx, attribute, all)
		if err != nil {
			return nil, err
		}
		for _, p := range profiles {
			found[key(attribute, p.text(attribute))] = p
		}
	}
	held := make([]*profile, len(records))
	for i, r := range records {
		held[i] = found[r.key()]
	}
	return held, nil
}
