package sim

import (
	"maps"
	"slices"
	"strings"
)

// Profile is one person.
type Profile struct {
	ID, Email, PhoneNumber, ExternalID string
	// Attributes are first_name and the other texts, and location, a map.
	Attributes map[string]any
	Properties map[string]any
	// Consent is by medium and kind: "email.marketing". What is not there is NEVER_SUBSCRIBED.
	Consent map[string]string
	// Suppressions are reasons: UNSUBSCRIBE, SPAM_COMPLAINT, USER_SUPPRESSED, HARD_BOUNCE, INVALID_EMAIL.
	Suppressions []string
	// LeftLists are those that the person left, and no more than those.
	LeftLists []string
	// Lists are those that the person was added to by subscribing.
	Lists []string
	// Asked is how often the person was asked to confirm.
	Asked int
}

func (p Profile) clone() Profile {
	p.Attributes = cloneMap(p.Attributes)
	p.Properties = cloneMap(p.Properties)
	p.Consent = maps.Clone(p.Consent)
	if p.Consent == nil {
		p.Consent = map[string]string{}
	}
	p.Suppressions = slices.Clone(p.Suppressions)
	p.LeftLists = slices.Clone(p.LeftLists)
	p.Lists = slices.Clone(p.Lists)
	return p
}

func cloneMap(m map[string]any) map[string]any {
	c := maps.Clone(m)
	if c == nil {
		c = map[string]any{}
	}
	return c
}

func (p *Profile) name() string {
	for _, identifier := range []string{p.Email, p.PhoneNumber, p.ExternalID} {
		if identifier != "" {
			return identifier
		}
	}
	return p.ID
}

func (p *Profile) line() string {
	var given []string
	for name, consent := range p.Consent {
		given = append(given, name+"="+consent)
	}
	slices.Sort(given)
	for _, reason := range p.Suppressions {
		given = append(given, "suppressed="+reason)
	}
	return strings.TrimSpace(p.name() + " " + strings.Join(given, " "))
}

func (p *Profile) lift(reasons ...string) {
	p.Suppressions = slices.DeleteFunc(p.Suppressions, func(r string) bool { return slices.Contains(reasons, r) })
}

func (p *Profile) suppress(reason string) {
	if !slices.Contains(p.Suppressions, reason) {
		p.Suppressions = append(p.Suppressions, reason)
	}
}

const at = "2026-03-02T09:14:04+00:00"

// resource is the profile as the API writes it.
func (p *Profile) resource(subscriptions bool) map[string]any {
	attributes := cloneMap(p.Attributes)
	for name, value := range map[string]string{"email": p.Email, "phone_number": p.PhoneNumber, "external_id": p.ExternalID} {
		attributes[name] = nil
		if value != "" {
			attributes[name] = value
		}
	}
	attributes["properties"] = p.Properties
	attributes["created"], attributes["updated"] = at, at
	if subscriptions {
		attributes["subscriptions"] = p.subscriptions()
	}
	return map[string]any{
		"type": "profile", "id": p.ID, "attributes": attributes,
		"links": map[string]any{"self": "https://a.klaviyo.com/api/profiles/" + p.ID},
	}
}

func (p *Profile) subscriptions() map[string]any {
	consent := func(name string, more map[string]any) map[string]any {
		c := p.Consent[name]
		if c == "" {
			c = "NEVER_SUBSCRIBED"
		}
		more["consent"] = c
		for key, value := range more {
			if value == nil {
				more[key] = c == "SUBSCRIBED"
			}
		}
		return more
	}
	suppression, left := []map[string]any{}, []map[string]any{}
	for _, reason := range p.Suppressions {
		suppression = append(suppression, map[string]any{"reason": reason, "timestamp": at})
	}
	for _, list := range p.LeftLists {
		left = append(left, map[string]any{"list_id": list, "reason": "UNSUBSCRIBE", "timestamp": at})
	}
	can := func(name string) map[string]any { return map[string]any{name: nil} }
	return map[string]any{
		"email": map[string]any{
			"marketing": consent("email.marketing", map[string]any{
				"can_receive_email_marketing": len(suppression) == 0, "suppression": suppression, "list_suppressions": left,
			}),
			"open_tracking": consent("email.open_tracking", can("can_receive")),
		},
		"sms": map[string]any{
			"marketing":     consent("sms.marketing", can("can_receive_sms_marketing")),
			"transactional": consent("sms.transactional", can("can_receive_sms_transactional")),
		},
		"whatsapp": map[string]any{
			"marketing":     consent("whatsapp.marketing", can("can_receive")),
			"transactional": consent("whatsapp.transactional", can("can_receive")),
		},
	}
}
