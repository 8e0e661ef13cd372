package hubspot

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

// record is what a rule wants a contact to be.
type record struct {
	Email         string                         `json:"email"`
	Properties    map[string]any                 `json:"properties"`
	Subscriptions sdk.Optional[map[string]*bool] `json:"subscriptions"`
	LegalBasis    string                         `json:"legal_basis"`
	Explanation   string                         `json:"legal_basis_explanation"`

	values map[string]string // Properties, in HubSpot's form
	wanted map[int64]state   // Subscriptions
}

// state is a subscription's, in HubSpot's words.
type state string

const (
	subscribed   state = "SUBSCRIBED"
	unsubscribed state = "UNSUBSCRIBED"
	notSpecified state = "NOT_SPECIFIED"
)

// parse checks a record. The error is fit for sdk.FromError, as all in this package are.
func parse(r sdk.Record) (record, error) {
	var rec record
	if err := r.Decode(&rec); err != nil {
		return rec, sdk.Rejected("INVALID_RECORD", "%v", err).Err()
	}
	if !subscriber.IsEmail(rec.Email) {
		return rec, sdk.Rejected(codeInvalidEmail, "the record's email is not an e-mail address").Err()
	}
	rec.values = make(map[string]string, len(rec.Properties))
	for name, v := range rec.Properties {
		value, ok := propertyValue(v)
		switch {
		case strings.EqualFold(name, "email"):
			return rec, sdk.Rejected("EMAIL_IN_PROPERTIES", "properties must not hold email: it is the record's identity").Err()
		case name == "" || !ok:
			return rec, sdk.Rejected("INVALID_PROPERTY", "a property must have a name, and be a string, a number, a bool, null or a list of these").Err()
		}
		rec.values[name] = value
	}
	rec.wanted = make(map[int64]state, len(rec.Subscriptions.Value))
	for name, yes := range rec.Subscriptions.Value {
		id, err := strconv.ParseInt(name, 10, 64)
		if err != nil || id <= 0 {
			return rec, sdk.Rejected("INVALID_SUBSCRIPTION", "subscriptions must be named by their ids, which are numbers").Err()
		}
		switch {
		case yes == nil:
			rec.wanted[id] = notSpecified
		case *yes:
			rec.wanted[id] = subscribed
		default:
			rec.wanted[id] = unsubscribed
		}
	}
	return rec, nil
}

// propertyValue is a value as HubSpot takes and gives it: all are strings, the choices of a multiple
// checkbox are separated by semicolons, and the empty string clears.
func propertyValue(v any) (value string, ok bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		return v.String(), true
	case []any:
		parts := make([]string, len(v))
		for i, one := range v {
			if _, nested := one.([]any); nested {
				return "", false
			}
			if parts[i], ok = propertyValue(one); !ok {
				return "", false
			}
		}
		return strings.Join(parts, ";"), true
	}
	return "", false
}

// grants is whether the record subscribes to anything.
func (r record) grants() bool {
	for _, s := range r.wanted {
		if s == subscribed {
			return true
		}
	}
	return false
}

// key is the address as HubSpot compares it.
func (r record) key() string { return strings.ToLower(r.Email) }
