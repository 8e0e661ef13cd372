package marketo

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

// record is what a rule wants a lead to be.
type record struct {
	LookupValue string                       `json:"lookup_value"`
	Fields      sdk.Optional[map[string]any] `json:"fields"`
	Lists       sdk.Optional[flags]          `json:"lists"`
}

// flags are yes, no or, for a null, nil: no.
type flags map[string]*bool

// optOuts are the standard fields in which true means no, with the fields that tell why.
var optOuts = map[string]string{
	"unsubscribed":       "unsubscribedReason",
	"marketingSuspended": "marketingSuspendedCause",
	"doNotCall":          "doNotCallReason",
	"blackListed":        "blackListedCause",
}

var listID = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)

// parse checks a record. The error is fit for sdk.FromError, as all in this package are.
func (t *target) parse(r sdk.Record) (record, error) {
	var rec record
	if err := r.Decode(&rec); err != nil {
		return record{}, sdk.Rejected("INVALID_RECORD", "%v", err).Err()
	}
	// Commas part the values of a filter, and Marketo does not say how to escape one.
	v := rec.LookupValue
	switch {
	case v == "" || strings.ContainsAny(v, ",\r\n\t") || strings.TrimSpace(v) != v:
		return record{}, sdk.Rejected("INVALID_LOOKUP_VALUE", "lookup_value must not be empty, nor hold commas, line ends or surrounding space").Err()
	case t.lookupField == email && !subscriber.IsEmail(v):
		return record{}, sdk.Rejected("INVALID_EMAIL", "lookup_value is not an e-mail address").Err()
	case rec.Fields.Null || rec.Lists.Null:
		return record{}, sdk.Rejected("INVALID_RECORD", "fields and lists cannot be null: name what is to be cleared").Err()
	}
	for name, value := range rec.Fields.Value {
		switch _, optOut := optOuts[name]; {
		case !fieldName.MatchString(name):
			return record{}, sdk.Unauthorized("INVALID_FIELD_NAME", "fields holds a name that is not the REST API name of a field").Err()
		case name == "id" || name == t.lookupField:
			return record{}, sdk.Unauthorized("LOOKUP_FIELD_IN_FIELDS", "fields must not hold id, nor the lookup field: it is lookup_value").Err()
		case optOut && value != nil && value != true && value != false:
			return record{}, sdk.Rejected("INVALID_RECORD", "%s must be true, false or null", name).Err()
		}
	}
	for id := range rec.Lists.Value {
		if !listID.MatchString(id) {
			return record{}, sdk.Rejected("INVALID_LIST_ID", "lists must have the ids of static lists, which are numbers").Err()
		}
	}
	return rec, nil
}

// key is the person as Marketo compares it.
func (t *target) key(value string) string {
	if t.lookupField == email {
		return strings.ToLower(value)
	}
	return value
}

// takings are the fields that take something away, with their reasons: what must reach the vendor whatever
// else is wrong with the record.
func takings(fields map[string]any) map[string]any {
	part := map[string]any{}
	for name, why := range optOuts {
		if fields[name] == true {
			part[name] = true
			if reason, there := fields[why]; there {
				part[why] = reason
			}
		}
	}
	return part
}

// gives is whether the record grants something: an opt-out that does not hold, or a list.
func (r record) gives() bool {
	for name := range optOuts {
		if value, there := r.Fields.Value[name]; there && value != true {
			return true
		}
	}
	return len(r.lists(true)) > 0
}

// takes is whether the record takes something away.
func (r record) takes() bool {
	return len(takings(r.Fields.Value)) > 0 || len(r.lists(false)) > 0
}

// lists are the ids of those that the lead is to be on, or not.
func (r record) lists(on bool) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(r.Lists.Value)) {
		if yes := r.Lists.Value[id]; (yes != nil && *yes) == on {
			ids = append(ids, id)
		}
	}
	return ids
}
