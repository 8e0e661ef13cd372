package brevo

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

// record is what a rule wants a contact to be.
type record struct {
	Email      string                         `json:"email"`
	ExtID      string                         `json:"ext_id"`
	Attributes map[string]any                 `json:"attributes"`
	Lists      sdk.Optional[map[string]*bool] `json:"lists"`
	// NoEmail and NoSMS are nil when absent or null: a flag cannot be empty.
	NoEmail *bool `json:"email_blacklisted"`
	NoSMS   *bool `json:"sms_blacklisted"`

	lists      map[int64]bool
	withdrawal bool
}

// parse checks a record. The error is fit for sdk.FromError, as all in this package are.
func parse(r sdk.Record) (record, error) {
	rec := record{withdrawal: r.Withdrawal}
	if err := r.Decode(&rec); err != nil {
		return rec, sdk.Rejected("INVALID_RECORD", "%v", err).Err()
	}
	if !subscriber.IsEmail(rec.Email) {
		return rec, sdk.Rejected(codeInvalidEmail, "the record's email is not an e-mail address").Err()
	}
	attributes := make(map[string]any, len(rec.Attributes))
	for name, v := range rec.Attributes {
		switch v := v.(type) {
		case nil:
			attributes[strings.ToUpper(name)] = "" // what empties an attribute
		case string, bool, json.Number, []any:
			attributes[strings.ToUpper(name)] = v
		default:
			return rec, sdk.Rejected("INVALID_ATTRIBUTE", "an attribute must be a string, a number, a bool, null or a list of these").Err()
		}
	}
	if _, there := attributes["EMAIL"]; there {
		return rec, sdk.Rejected("EMAIL_IN_ATTRIBUTES", "attributes must not hold EMAIL: it is the record's identity").Err()
	}
	rec.Attributes = attributes
	rec.lists = make(map[int64]bool, len(rec.Lists.Value))
	for name, on := range rec.Lists.Value {
		id, err := strconv.ParseInt(name, 10, 64)
		if err != nil || id <= 0 {
			return rec, sdk.Rejected("INVALID_LIST", "lists must be named by their ids, which are numbers").Err()
		}
		rec.lists[id] = on != nil && *on
	}
	return rec, nil
}

// missing are the attributes of a record that are not among those known.
func missing(rec record, known map[string]bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(rec.Attributes)) {
		if !known[name] {
			names = append(names, name)
		}
	}
	return names
}

func (r record) path() string { return "/contacts/" + url.PathEscape(r.Email) }

// grants is whether the record gives any permission.
func (r record) grants() bool {
	return r.NoEmail != nil && !*r.NoEmail || r.NoSMS != nil && !*r.NoSMS || slices.Contains(slices.Collect(maps.Values(r.lists)), true)
}

// takes is whether the record takes any permission away.
func (r record) takes() bool {
	return r.NoEmail != nil && *r.NoEmail || r.NoSMS != nil && *r.NoSMS || r.Lists.Null ||
		slices.Contains(slices.Collect(maps.Values(r.lists)), false)
}

// takings is the part of the record that takes something away: what must reach the vendor whatever else
// is wrong with the record.
func (r record) takings() record {
	part := record{Email: r.Email, lists: map[int64]bool{}}
	part.Lists.Null = r.Lists.Null
	if r.NoEmail != nil && *r.NoEmail {
		part.NoEmail = r.NoEmail
	}
	if r.NoSMS != nil && *r.NoSMS {
		part.NoSMS = r.NoSMS
	}
	for id, on := range r.lists {
		if !on {
			part.lists[id] = false
		}
	}
	return part
}

// contact is what Brevo holds. The zero contact is somebody whom it does not know.
type contact struct {
	ID         int64          `json:"id"`
	ExtID      string         `json:"ext_id"`
	NoEmail    bool           `json:"emailBlacklisted"`
	NoSMS      bool           `json:"smsBlacklisted"`
	Attributes map[string]any `json:"attributes"`
	ListIDs    []int64        `json:"listIds"`
	// LeftLists are those that the person left by themselves, in accounts where they can.
	LeftLists []int64 `json:"listUnsubscribed"`
}

func (c *contact) known() bool { return c.ID != 0 }

func (c *contact) reference() string { return strconv.FormatInt(c.ID, 10) }

// write is the body of a new contact, and of a change.
type write struct {
	Email      string         `json:"email,omitempty"` // of a new one
	ExtID      string         `json:"ext_id,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"`
	NoEmail    *bool          `json:"emailBlacklisted,omitempty"`
	NoSMS      *bool          `json:"smsBlacklisted,omitempty"`
	Link       []int64        `json:"listIds,omitempty"`
	Unlink     []int64        `json:"unlinkListIds,omitempty"`
}

func (w write) empty() bool {
	return w.ExtID == "" && len(w.Attributes) == 0 && w.NoEmail == nil && w.NoSMS == nil && len(w.Link) == 0 && len(w.Unlink) == 0
}

// diff compares a record with what is held. refused is the person's opt-out, which stands against a grant
// unless force is set; the rest of the change does not wait for it.
func diff(rec record, held *contact, force bool) (w write, refused bool) {
	w.Attributes = map[string]any{}
	for name, value := range rec.Attributes {
		if canonical(value) != canonical(held.Attributes[name]) {
			w.Attributes[name] = value
		}
	}
	if rec.ExtID != held.ExtID {
		w.ExtID = rec.ExtID
	}
	flag := func(want *bool, is bool) *bool {
		switch {
		case want == nil || *want == is && held.known():
			return nil
		case !*want && is && !force:
			refused = true
			return nil
		}
		return want
	}
	w.NoEmail, w.NoSMS = flag(rec.NoEmail, held.NoEmail), flag(rec.NoSMS, held.NoSMS)
	lists := maps.Clone(rec.lists)
	if rec.Lists.Null {
		for _, id := range held.ListIDs {
			lists[id] = false
		}
	}
	for _, id := range slices.Sorted(maps.Keys(lists)) {
		on, left := slices.Contains(held.ListIDs, id), slices.Contains(held.LeftLists, id)
		switch {
		case lists[id] && left && !force:
			refused = true
		case lists[id] && (!on || left):
			w.Link = append(w.Link, id)
		case !lists[id] && on:
			w.Unlink = append(w.Unlink, id)
		}
	}
	return w, refused
}

// canonical is a value in a form that compares: Brevo gives numbers for texts of digits and the like.
func canonical(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		parts := make([]string, len(v))
		for i, one := range v {
			parts[i] = canonical(one)
		}
		slices.Sort(parts) // the choices of an attribute have no order
		return strings.Join(parts, "\x00")
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return strconv.FormatFloat(f, 'f', -1, 64)
		}
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == v {
			return v
		}
	}
	return fmt.Sprint(v)
}
