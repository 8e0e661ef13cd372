package mailchimp

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/consentd/consentd/sdk"
)

// memberFields are all that is asked for about a member: no more than is compared.
const memberFields = "contact_id,status,unsubscribe_reason,last_changed,merge_fields,interests,marketing_permissions,language,tags,tags_count"

// byAdmin is the reason of those whom the API or a person in the account unsubscribed. Mailchimp does not
// document it; programs in use for years go by it. Whoever left by themselves has another.
const byAdmin = "N/A (Unsubscribed by an admin)"

// member is what Mailchimp holds. The zero member is somebody whom the audience does not know.
type member struct {
	ContactID   string          `json:"contact_id"`
	Status      string          `json:"status"`
	Reason      string          `json:"unsubscribe_reason"`
	LastChanged string          `json:"last_changed"`
	MergeFields map[string]any  `json:"merge_fields"`
	Interests   map[string]bool `json:"interests"`
	Permissions []permission    `json:"marketing_permissions"`
	Language    string          `json:"language"`
	// Tags are at most 50 of TagsCount.
	Tags      []tag `json:"tags"`
	TagsCount int   `json:"tags_count"`
}

type permission struct {
	ID      string `json:"marketing_permission_id"`
	Enabled bool   `json:"enabled"`
}

type tag struct {
	Name string `json:"name"`
}

func (m *member) known() bool { return m.Status != "" }

// grantedSince is whether the person opted in after the account unsubscribed them: not by their own act, so
// that no opt-out of theirs stands against it. Mailchimp tells when the member was last changed, to the
// second; anything that was changed later makes it stricter.
func (m *member) grantedSince(optedIn time.Time) bool {
	changed, err := time.Parse(time.RFC3339, m.LastChanged)
	return err == nil && m.Status == unsubscribed && m.Reason == byAdmin && optedIn.Truncate(time.Second).After(changed)
}

// permissions are the member's by id.
func (m *member) permissions() map[string]bool {
	all := make(map[string]bool, len(m.Permissions))
	for _, p := range m.Permissions {
		all[p.ID] = p.Enabled
	}
	return all
}

func (m *member) tags() map[string]bool {
	all := make(map[string]bool, len(m.Tags))
	for _, t := range m.Tags {
		all[t.Name] = true
	}
	return all
}

// mergeField finds a tag in any case.
func (m *member) mergeField(tag string) (value any, found bool) {
	if value, found = m.MergeFields[tag]; found {
		return value, true
	}
	for name, value := range m.MergeFields {
		if strings.EqualFold(name, tag) {
			return value, true
		}
	}
	return nil, false
}

// change is what has to be written so that a member becomes what a record wants.
type change struct {
	write write
	tags  []tagChange
}

// write is the body of PUT member.
type write struct {
	Email       string          `json:"email_address"`
	StatusIfNew string          `json:"status_if_new"`
	Status      string          `json:"status,omitempty"`
	MergeFields map[string]any  `json:"merge_fields,omitempty"`
	Interests   map[string]bool `json:"interests,omitempty"`
	Permissions []permission    `json:"marketing_permissions,omitempty"`
	Language    *string         `json:"language,omitempty"`
	OptedIn     string          `json:"timestamp_opt,omitempty"` // beside a status that subscribes
}

type tagChange struct {
	Name   string `json:"name"`
	Status string `json:"status"` // active, inactive
}

// writes is whether the member itself has to be written.
func (c change) writes() bool {
	w := c.write
	return w.Status != "" || len(w.MergeFields) > 0 || len(w.Interests) > 0 || len(w.Permissions) > 0 || w.Language != nil
}

func (c change) empty() bool { return !c.writes() && len(c.tags) == 0 }

// diff compares all but the status, which is a matter of policy.
func diff(rec record, held *member) change {
	c := change{write: write{Email: rec.Email}}
	c.write.MergeFields = diffMergeFields(rec.MergeFields, held)
	if changed := diffFlags(rec.Interests, held.Interests); len(changed) > 0 {
		c.write.Interests = changed
	}
	permissions := diffFlags(rec.Permissions, held.permissions())
	for _, id := range slices.Sorted(maps.Keys(permissions)) {
		c.write.Permissions = append(c.write.Permissions, permission{ID: id, Enabled: permissions[id]})
	}
	tags := diffFlags(rec.Tags, held.tags())
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		status := "inactive"
		if tags[name] {
			status = "active"
		}
		c.tags = append(c.tags, tagChange{Name: name, Status: status})
	}
	if rec.Language.Present && rec.Language.Value != held.Language {
		c.write.Language = &rec.Language.Value // empty for a null
	}
	return c
}

// diffFlags returns those that differ. What the vendor does not list is no.
func diffFlags(wanted sdk.Optional[flags], held map[string]bool) map[string]bool {
	changed := map[string]bool{}
	if wanted.Null {
		for id, yes := range held {
			if yes {
				changed[id] = false
			}
		}
	}
	for id, yes := range wanted.Value {
		if want := yes != nil && *yes; want != held[id] {
			changed[id] = want
		}
	}
	return changed
}

// diffMergeFields writes "" for a null: the vendor's schema has no null there.
func diffMergeFields(wanted sdk.Optional[map[string]any], held *member) map[string]any {
	changed := map[string]any{}
	if wanted.Null {
		for tag, value := range held.MergeFields {
			if !sameValue("", value) {
				changed[tag] = ""
			}
		}
	}
	for tag, value := range wanted.Value {
		if value == nil {
			value = ""
		}
		if now, _ := held.mergeField(tag); !sameValue(value, now) {
			changed[tag] = value
		}
	}
	return changed
}

// sameValue is whether the vendor holds what is wanted, in the vendor's form: a number field that was
// given "12" reads as 12, an empty one as "", and an address gains the parts that were not given. What
// the vendor rewrites otherwise (dates, phone numbers) differs and is sent again, which does no harm.
func sameValue(wanted, held any) bool {
	parts, isObject := wanted.(map[string]any)
	heldParts, holdsObject := held.(map[string]any)
	if !isObject || !holdsObject {
		return canonical(wanted) == canonical(held)
	}
	for name, part := range parts {
		if canonical(part) != canonical(heldParts[name]) {
			return false
		}
	}
	return true
}

func canonical(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		text, err := json.Marshal(v) // map keys are sorted
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(text)
	}
}
