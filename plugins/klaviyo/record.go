package klaviyo

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

// record is what a rule wants a profile to be.
type record struct {
	Email         string                       `json:"email"`
	PhoneNumber   string                       `json:"phone_number"`
	ExternalID    string                       `json:"external_id"`
	Subscriptions sdk.Optional[flags]          `json:"subscriptions"`
	Suppressed    sdk.Optional[bool]           `json:"suppressed"`
	FirstName     sdk.Optional[string]         `json:"first_name"`
	LastName      sdk.Optional[string]         `json:"last_name"`
	Organization  sdk.Optional[string]         `json:"organization"`
	Title         sdk.Optional[string]         `json:"title"`
	Locale        sdk.Optional[string]         `json:"locale"`
	Image         sdk.Optional[string]         `json:"image"`
	Location      sdk.Optional[map[string]any] `json:"location"`
	Properties    sdk.Optional[map[string]any] `json:"properties"`
}

// flags are yes, no or, for a null, nil: no.
type flags map[string]*bool

// texts are the attributes that are plain text, by Klaviyo's names.
func (r record) texts() map[string]sdk.Optional[string] {
	return map[string]sdk.Optional[string]{
		"first_name":   r.FirstName,
		"last_name":    r.LastName,
		"organization": r.Organization,
		"title":        r.Title,
		"locale":       r.Locale,
		"image":        r.Image,
	}
}

// channel is one kind of consent, by the names under which it stands in a profile's subscriptions.
type channel struct {
	medium, kind string
	// identifier is the attribute without which a profile cannot be reached on the channel.
	identifier string
}

// channels are those that a record may name. Push is not among them: it hangs on devices' tokens.
var channels = map[string]channel{
	emailMarketing:           {"email", "marketing", "email"},
	"email_open_tracking":    {"email", "open_tracking", "email"},
	"sms_marketing":          {"sms", "marketing", "phone_number"},
	"sms_transactional":      {"sms", "transactional", "phone_number"},
	"whatsapp_marketing":     {"whatsapp", "marketing", "phone_number"},
	"whatsapp_transactional": {"whatsapp", "transactional", "phone_number"},
}

const emailMarketing = "email_marketing"

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// unquotable cannot stand in a filter: Klaviyo does not say how to escape it.
const unquotable = "\"\\\t\r\n"

// parse checks a record. The error is fit for sdk.FromError, as all in this package are.
func parse(r sdk.Record) (record, error) {
	var rec record
	if err := r.Decode(&rec); err != nil {
		return record{}, sdk.Rejected("INVALID_RECORD", "%v", err).Err()
	}
	switch {
	case rec.Email == "" && rec.PhoneNumber == "" && rec.ExternalID == "":
		return record{}, sdk.Rejected("NO_IDENTIFIER", "the record has neither email nor phone_number nor external_id").Err()
	case rec.Email != "" && (!subscriber.IsEmail(rec.Email) || strings.ContainsAny(rec.Email, unquotable)):
		return record{}, sdk.Rejected("INVALID_EMAIL", "the record's email is not an e-mail address").Err()
	case rec.PhoneNumber != "" && !e164.MatchString(rec.PhoneNumber):
		return record{}, sdk.Rejected("INVALID_PHONE_NUMBER", "phone_number must be in the form of E.164: +441632960961").Err()
	case strings.ContainsAny(rec.ExternalID, unquotable):
		return record{}, sdk.Rejected("INVALID_EXTERNAL_ID", "external_id must not hold quotes, backslashes and control characters").Err()
	}
	for name := range rec.Subscriptions.Value {
		if _, known := channels[name]; !known {
			// The rule names it, so it is wrong for everybody.
			return record{}, sdk.Unauthorized("UNKNOWN_CHANNEL", "subscriptions holds a name that is not one of: %s",
				strings.Join(slices.Sorted(maps.Keys(channels)), ", ")).Err()
		}
	}
	return rec, nil
}

// identity is by what the profile is found: the first identifier that the record has.
func (r record) identity() (attribute, value string) {
	switch {
	case r.Email != "":
		return "email", r.Email
	case r.PhoneNumber != "":
		return "phone_number", r.PhoneNumber
	default:
		return "external_id", r.ExternalID
	}
}

func (r record) key() string { return key(r.identity()) }

// key is an identity as Klaviyo compares it.
func key(attribute, value string) string {
	if attribute == "email" {
		value = strings.ToLower(value)
	}
	return attribute + "=" + value
}

// wanted is the consent that the record asks for, by channel. A null in place of the map takes all away.
func (r record) wanted() map[string]bool {
	all := map[string]bool{}
	if r.Subscriptions.Null {
		for name := range channels {
			all[name] = false
		}
	}
	for name, yes := range r.Subscriptions.Value {
		all[name] = yes != nil && *yes
	}
	return all
}
