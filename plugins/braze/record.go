package braze

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

// The states of a subscription. Those of email_subscribe and push_subscribe are three, of which subscribed
// says that nobody has chosen; a group knows no opted_in.
const (
	optedIn      = "opted_in"
	subscribed   = "subscribed"
	unsubscribed = "unsubscribed"
)

// record is what a rule wants a profile to be.
type record struct {
	ExternalID     sdk.Optional[string]         `json:"external_id"`
	UserAlias      sdk.Optional[alias]          `json:"user_alias"`
	BrazeID        sdk.Optional[string]         `json:"braze_id"`
	Email          sdk.Optional[string]         `json:"email"`
	Phone          sdk.Optional[string]         `json:"phone"`
	EmailSubscribe sdk.Optional[string]         `json:"email_subscribe"`
	PushSubscribe  sdk.Optional[string]         `json:"push_subscribe"`
	Groups         sdk.Optional[groups]         `json:"subscription_groups"`
	Attributes     sdk.Optional[map[string]any] `json:"attributes"`

	who identity
}

type alias struct {
	Name  string `json:"alias_name"`
	Label string `json:"alias_label"`
}

// key is empty if a part is missing.
func (a alias) key() string {
	if a.Name == "" || a.Label == "" {
		return ""
	}
	return a.Label + " " + a.Name
}

// groups are in, out or, for a null, nil: out.
type groups map[string]*bool

// identity is by what Braze is to find a profile.
type identity struct {
	kind  *identifier
	value any    // as Braze takes it
	key   string // to compare with
}

// identifier is one of the names that a profile has. Empty fields mean that the endpoint does not take it.
type identifier struct {
	field  string // of an attributes object, and of a record
	export string // of /users/export/ids
	many   bool   // export is a list of up to 50
	groups string // of /subscription/user/status
	erase  string // of /users/delete
}

// identifiers are in the order in which Braze looks at them. The first three are what it calls primary: of
// those one alone may be there, and beside one of them email and phone are values to set.
var identifiers = struct{ externalID, userAlias, brazeID, email, phone *identifier }{
	externalID: &identifier{field: "external_id", export: "external_ids", many: true, groups: "external_id", erase: "external_ids"},
	userAlias:  &identifier{field: "user_alias", export: "user_aliases", many: true, erase: "user_aliases"},
	brazeID:    &identifier{field: "braze_id", export: "braze_id", erase: "braze_ids"},
	email:      &identifier{field: "email", export: "email_address", groups: "email"},
	phone:      &identifier{field: "phone", export: "phone", groups: "phone"},
}

// maxExternalID is the longest external id, in bytes.
const maxExternalID = 987

var (
	phoneForm = regexp.MustCompile(`^\+[1-9][0-9]{4,14}$`)
	groupID   = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
)

// reserved are names in an attributes object that are no attributes. The names of the record's own fields are
// the others.
var reserved = []string{
	"external_id", "user_alias", "braze_id", "email", "phone", "email_subscribe", "push_subscribe", "subscription_groups",
	"_update_existing_only", "_merge_objects", "push_token_import", "push_tokens",
}

// parse checks a record. The error is fit for sdk.FromError, as all in this package are.
func parse(r sdk.Record) (record, error) {
	rec, err := parseIdentity(r)
	if err != nil {
		return rec, err
	}
	if rec.Groups.Present {
		for id := range rec.Groups.Value {
			if !groupID.MatchString(id) {
				return rec, invalid("INVALID_SUBSCRIPTION_GROUP", "subscription_groups must be by the ids of groups, which are UUIDs")
			}
		}
	}
	for _, state := range []*sdk.Optional[string]{&rec.EmailSubscribe, &rec.PushSubscribe} {
		if state.Null {
			*state = sdk.Optional[string]{Present: true, Value: unsubscribed}
		}
		if state.Present && !slices.Contains([]string{optedIn, subscribed, unsubscribed}, state.Value) {
			return rec, invalid("INVALID_STATUS", "email_subscribe and push_subscribe must be opted_in, subscribed or unsubscribed")
		}
	}
	if rec.Attributes.Null {
		return rec, invalid("NULL_ATTRIBUTES", "attributes cannot be null, since a profile holds those of others too: write a null for each name")
	}
	for name, value := range rec.Attributes.Value {
		if name == "" || slices.Contains(reserved, name) {
			return rec, invalid("RESERVED_ATTRIBUTE", "attributes must not hold what the record or Braze has a field for, such as %s", name)
		}
		if accumulates(value) {
			return rec, invalid("ACCUMULATING_ATTRIBUTE", "attributes must say what should be: inc and $add would count twice when a delivery is repeated")
		}
	}
	return rec, nil
}

// parseIdentity reads whom a record is about, which is all that reading and erasing need.
func parseIdentity(r sdk.Record) (record, error) {
	var rec record
	if err := r.Decode(&rec); err != nil {
		return record{}, invalid("INVALID_RECORD", "%v", err)
	}
	if rec.Email.Present && !rec.Email.Null && !subscriber.IsEmail(rec.Email.Value) {
		return record{}, invalid("EMAIL_BAD_FORMAT", "the record's email is not an e-mail address")
	}
	if rec.Phone.Present && !rec.Phone.Null && !phoneForm.MatchString(rec.Phone.Value) {
		return record{}, invalid("PHONE_BAD_FORMAT", "the record's phone is not a number in the form +4930123456 (E.164)")
	}
	// A primary identifier that is there and empty does not give way to the e-mail address: the record would be
	// about another profile.
	var primary []identity
	if id := rec.ExternalID; id.Present {
		primary = append(primary, identity{identifiers.externalID, id.Value, id.Value})
	}
	if id := rec.UserAlias; id.Present {
		primary = append(primary, identity{identifiers.userAlias, id.Value, id.Value.key()})
	}
	if id := rec.BrazeID; id.Present {
		primary = append(primary, identity{identifiers.brazeID, id.Value, id.Value})
	}
	switch {
	case len(primary) > 1:
		return record{}, invalid("SEVERAL_IDENTIFIERS", "a record must have one of external_id, user_alias and braze_id, not several")
	case len(primary) == 1:
		rec.who = primary[0]
	case rec.Email.Value != "":
		rec.who = identity{identifiers.email, rec.Email.Value, strings.ToLower(rec.Email.Value)}
	case rec.Phone.Value != "":
		rec.who = identity{identifiers.phone, rec.Phone.Value, rec.Phone.Value}
	default:
		return record{}, invalid("NO_IDENTIFIER", "a record needs an external_id, user_alias, braze_id, email or phone")
	}
	id := rec.who.key
	if id == "" || len(id) > maxExternalID || strings.TrimSpace(id) != id || strings.ContainsFunc(id, unicode.IsControl) {
		return record{}, invalid("INVALID_IDENTIFIER", "%s must be 1 to %d bytes, without surrounding space and control characters", rec.who.kind.field, maxExternalID)
	}
	return rec, nil
}

func invalid(code, format string, args ...any) error {
	return sdk.Rejected(code, format, args...).Err()
}

// accumulates is whether Braze would add a value to what is there, at any depth.
func accumulates(value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, accumulates)
	case map[string]any:
		for name, inner := range v {
			if name == "inc" && len(v) == 1 || name == "$add" || accumulates(inner) {
				return true
			}
		}
	}
	return false
}

// key tells people apart.
func (r record) key() string { return r.who.kind.field + "\x00" + r.who.key }

// grants is whether the record gives a subscription, or says that nobody has chosen, which gets mail too.
func (r record) grants() bool {
	return grantsState(r.EmailSubscribe) || grantsState(r.PushSubscribe) || r.grantsGroup()
}

func (r record) grantsGroup() bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(r.Groups.Value)), isIn)
}

func grantsState(s sdk.Optional[string]) bool { return s.Present && s.Value != unsubscribed }

func isIn(in *bool) bool { return in != nil && *in }

// takings is the part of the record that takes something away: what must reach Braze whatever becomes of the
// rest.
func (r record) takings() record {
	part := record{who: r.who}
	if !grantsState(r.EmailSubscribe) {
		part.EmailSubscribe = r.EmailSubscribe
	}
	if !grantsState(r.PushSubscribe) {
		part.PushSubscribe = r.PushSubscribe
	}
	part.Groups = r.Groups
	part.Groups.Value = maps.Clone(r.Groups.Value)
	maps.DeleteFunc(part.Groups.Value, func(_ string, in *bool) bool { return isIn(in) })
	return part
}

// object is the record as /users/track takes it; changes is whether it has anything to change.
func (r record) object(create bool) (o map[string]any, changes bool) {
	o = maps.Clone(r.Attributes.Value)
	if o == nil {
		o = map[string]any{}
	}
	for name, value := range map[string]sdk.Optional[string]{
		"email": r.Email, "phone": r.Phone, "email_subscribe": r.EmailSubscribe, "push_subscribe": r.PushSubscribe,
	} {
		switch {
		case value.Null:
			o[name] = nil
		case value.Present && name != r.who.kind.field:
			o[name] = value.Value
		}
	}
	var states []map[string]string
	for _, id := range slices.Sorted(maps.Keys(r.Groups.Value)) {
		states = append(states, map[string]string{"subscription_group_id": id, "subscription_state": groupState(r.Groups.Value[id])})
	}
	if len(states) > 0 {
		o["subscription_groups"] = states
	}
	changes = len(o) > 0
	o[r.who.kind.field] = r.who.value
	o["_update_existing_only"] = !r.grants() && !create
	return o, changes
}

func groupState(in *bool) string {
	if isIn(in) {
		return subscribed
	}
	return unsubscribed
}
