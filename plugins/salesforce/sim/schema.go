package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
)

type fieldType int

const (
	text fieldType = iota
	email
	checkbox
	date
	datetime
	picklist // restricted
	lookup
)

type field struct {
	kind   fieldType
	length int      // of text
	values []string // of a picklist
	to     string   // object of a lookup; several, with blanks between, of a polymorphic one
}

// target is the object that a reference by external id is to: of a polymorphic lookup the reference has
// to say which.
func (f field) target(reference map[string]any) string {
	attributes, _ := reference["attributes"].(map[string]any)
	named, _ := attributes["type"].(string)
	for to := range strings.FieldsSeq(f.to) {
		if to == f.to || to == named {
			return to
		}
	}
	return ""
}

type object struct {
	prefix   string // of record ids
	required []string
	fields   map[string]field
}

var contactPointTypes = []string{"Email", "MailingAddress", "Phone", "Social", "Web"}

// objects are the standard objects that consent is kept in, with the fields that matter for it.
// Source: Salesforce's object reference. The value "Seen", the lengths and the key prefixes of the contact
// points are from memory.
var objects = map[string]object{
	"Contact": {"003", []string{"LastName"}, map[string]field{
		"FirstName": {kind: text, length: 40}, "LastName": {kind: text, length: 80},
		"Email": {kind: email, length: 80}, "Phone": {kind: text, length: 40}, "MobilePhone": {kind: text, length: 40},
		"Fax": {kind: text, length: 40}, "Description": {kind: text, length: 32000}, "LeadSource": {kind: text, length: 40},
		"Birthdate": {kind: date}, "HasOptedOutOfEmail": {kind: checkbox}, "HasOptedOutOfFax": {kind: checkbox},
		"DoNotCall": {kind: checkbox}, "IndividualId": {kind: lookup, to: "Individual"},
	}},
	"Lead": {"00Q", []string{"LastName", "Company"}, map[string]field{
		"FirstName": {kind: text, length: 40}, "LastName": {kind: text, length: 80}, "Company": {kind: text, length: 255},
		"Email": {kind: email, length: 80}, "Phone": {kind: text, length: 40}, "MobilePhone": {kind: text, length: 40},
		"Fax": {kind: text, length: 40}, "Description": {kind: text, length: 32000}, "LeadSource": {kind: text, length: 40},
		"HasOptedOutOfEmail": {kind: checkbox}, "HasOptedOutOfFax": {kind: checkbox}, "DoNotCall": {kind: checkbox},
		"IndividualId": {kind: lookup, to: "Individual"},
	}},
	"Individual": {"0PK", []string{"LastName"}, map[string]field{
		"FirstName": {kind: text, length: 40}, "LastName": {kind: text, length: 80}, "BirthDate": {kind: date},
		"CanStorePiiElsewhere": {kind: checkbox}, "HasOptedOutGeoTracking": {kind: checkbox},
		"HasOptedOutProcessing": {kind: checkbox}, "HasOptedOutProfiling": {kind: checkbox},
		"HasOptedOutSolicit": {kind: checkbox}, "HasOptedOutTracking": {kind: checkbox},
		"SendIndividualData": {kind: checkbox}, "ShouldForget": {kind: checkbox},
	}},
	"ContactPointTypeConsent": {"0ZX", []string{"Name", "PartyId", "ContactPointType", "PrivacyConsentStatus"}, consent(map[string]field{
		"PartyId": {kind: lookup, to: "Individual"}, "ContactPointType": {kind: picklist, values: contactPointTypes},
	})},
	"ContactPointConsent": {"0ZY", []string{"Name", "ContactPointId", "PrivacyConsentStatus"}, consent(map[string]field{
		"ContactPointId": {kind: lookup, to: "ContactPointAddress ContactPointEmail ContactPointPhone"},
	})},
	"ContactPointEmail": {"9Vl", []string{"EmailAddress"}, map[string]field{
		"EmailAddress": {kind: email, length: 80}, "ParentId": {kind: lookup, to: "Account Individual"},
		"ActiveFromDate": {kind: date}, "ActiveToDate": {kind: date}, "IsPrimary": {kind: checkbox},
	}},
	"ContactPointPhone": {"0ow", []string{"TelephoneNumber"}, map[string]field{
		"TelephoneNumber": {kind: text, length: 40}, "ParentId": {kind: lookup, to: "Account Individual"},
		"ActiveFromDate": {kind: date}, "ActiveToDate": {kind: date}, "IsPrimary": {kind: checkbox},
	}},
	"DataUsePurpose": {"0ZW", []string{"Name"}, map[string]field{
		"Name": {kind: text, length: 255}, "Description": {kind: text, length: 255},
	}},
}

// consent are the fields that both consent objects have, and those of one.
func consent(own map[string]field) map[string]field {
	fields := map[string]field{
		"Name":                    {kind: text, length: 255},
		"CaptureContactPointType": {kind: picklist, values: contactPointTypes},
		"PrivacyConsentStatus":    {kind: picklist, values: []string{"NotSeen", "Seen", "OptIn", "OptOut"}},
		"CaptureDate":             {kind: datetime}, "CaptureSource": {kind: text, length: 255},
		"EffectiveFrom": {kind: datetime}, "EffectiveTo": {kind: datetime}, "DoubleConsentCaptureDate": {kind: datetime},
		"DataUsePurposeId": {kind: lookup, to: "DataUsePurpose"},
	}
	maps.Copy(fields, own)
	return fields
}

var (
	versionForm  = regexp.MustCompile(`^v(4[6-9]|[5-9][0-9])\.0$`)
	recordIDForm = regexp.MustCompile(`^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$`)
)

// isCustom is whether a field is one that the org has added. Every such name exists here, takes any
// scalar and serves as an external id.
func isCustom(name string) bool { return strings.HasSuffix(name, "__c") && len(name) > len("__c") }

// fieldOf finds a field by name without regard to case, and its spelling.
func (o object) fieldOf(name string) (string, field, bool) {
	if isCustom(name) {
		return name, field{kind: text, length: 255}, true
	}
	for spelled, f := range o.fields {
		if strings.EqualFold(spelled, name) {
			return spelled, f, true
		}
	}
	return "", field{}, false
}

// parse checks a value as Salesforce's JSON reader does: what fails here fails the whole call.
func (f field) parse(name string, v any) *apiError {
	_, isString := v.(string)
	_, isBool := v.(bool)
	_, isNumber := v.(json.Number)
	expected := ""
	switch {
	case v == nil:
	case isCustom(name) && (isString || isBool || isNumber):
	case f.kind == checkbox && !isBool:
		expected = "boolean"
	case f.kind == date && !parses(v, time.DateOnly):
		expected = "date"
	case f.kind == datetime && !parses(v, time.RFC3339, "2006-01-02T15:04:05.999Z0700"):
		expected = "datetime"
	case f.kind != checkbox && !isString:
		expected = "string"
	}
	if expected == "" {
		return nil
	}
	return &apiError{ErrorCode: "JSON_PARSER_ERROR", Message: fmt.Sprintf(
		"Cannot deserialize instance of %s from value %v or request may be missing a required field at [line:1, column:1]", expected, v)}
}

func parses(v any, layouts ...string) bool {
	s, ok := v.(string)
	return ok && slices.ContainsFunc(layouts, func(layout string) bool {
		_, err := time.Parse(layout, s)
		return err == nil
	})
}

// check checks a value that could be read: what fails here fails the row.
func (f field) check(name string, v any) *rowError {
	s, isString := v.(string)
	switch {
	case v == nil && f.kind == checkbox:
		return &rowError{"INVALID_TYPE_ON_FIELD_IN_RECORD", name + ": value not of required type: null", []string{name}}
	case v == nil || !isString:
		return nil
	case f.length > 0 && len([]rune(s)) > f.length:
		return &rowError{"STRING_TOO_LONG", fmt.Sprintf("%s: data value too large: %s (max length=%d)", name, s, f.length), []string{name}}
	case f.kind == email && !isAddress(s):
		return &rowError{"INVALID_EMAIL_ADDRESS", fmt.Sprintf("%s: invalid email address: %s", name, s), []string{name}}
	case f.kind == picklist && !slices.Contains(f.values, s):
		return &rowError{"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", fmt.Sprintf("%s: bad value for restricted picklist field: %s", name, s), []string{name}}
	case f.kind == lookup && !recordIDForm.MatchString(s):
		return &rowError{"MALFORMED_ID", fmt.Sprintf("%s: id value of incorrect type: %s", name, s), []string{name}}
	}
	return nil
}

func isAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}
