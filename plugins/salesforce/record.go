package salesforce

import (
	"maps"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/consentd/consentd/sdk"
)

// record is what a rule rendered, checked as far as it can be without Salesforce.
type record struct {
	Object          string         `json:"object"`
	ExternalIDField string         `json:"external_id_field"`
	ExternalID      string         `json:"external_id"`
	Fields          map[string]any `json:"fields"`
}

// maxExternalID is the length of the longest text field that can be an external id.
const maxExternalID = 255

var apiName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// readRecord decodes r and checks who it is about. When ok is false, the outcome is the answer for it.
func readRecord(r sdk.Record) (rec record, o sdk.Outcome, ok bool) {
	if err := r.Decode(&rec); err != nil {
		return rec, sdk.Rejected("INVALID_RECORD", "%v", err), false
	}
	id := rec.ExternalID
	switch {
	case !apiName.MatchString(rec.Object):
		o = sdk.Rejected("INVALID_OBJECT", "object must be the API name of one object")
	case strings.EqualFold(rec.ExternalIDField, "Id"):
		o = sdk.Rejected("INVALID_EXTERNAL_ID_FIELD", "external_id_field cannot be Id: Salesforce upserts by an external id field only")
	case !apiName.MatchString(rec.ExternalIDField):
		o = sdk.Rejected("INVALID_EXTERNAL_ID_FIELD", "external_id_field must be the API name of one field")
	case id == "" || len(id) > maxExternalID || strings.TrimSpace(id) != id || strings.ContainsFunc(id, unicode.IsControl):
		o = sdk.Rejected("INVALID_EXTERNAL_ID", "external_id must be 1 to %d bytes, without surrounding space and control characters", maxExternalID)
	default:
		return rec, o, true
	}
	return rec, o, false
}

// checkFields refuses names that Salesforce reads as something else than a field to set. It compares
// names without regard to case.
func (r record) checkFields() (o sdk.Outcome, ok bool) {
	for name := range r.Fields {
		switch {
		case strings.EqualFold(name, "Id"):
			return sdk.Rejected("ID_IN_FIELDS", "fields must not hold Id: the record is found by its external id"), false
		case strings.EqualFold(name, r.ExternalIDField):
			return sdk.Rejected("EXTERNAL_ID_IN_FIELDS", "fields must not repeat the external id field %s", r.ExternalIDField), false
		case strings.EqualFold(name, "attributes"):
			return sdk.Rejected("ATTRIBUTES_IN_FIELDS", "fields must not hold attributes: the plugin writes them"), false
		}
	}
	return o, true
}

// row is the record as a collections call takes it.
func (r record) row() map[string]any {
	row := make(map[string]any, len(r.Fields)+2)
	maps.Copy(row, r.Fields)
	row["attributes"] = map[string]string{"type": r.Object}
	row[r.ExternalIDField] = r.ExternalID
	return row
}

// path is the record's own address, below the API's root.
func (r record) path() string {
	return "/sobjects/" + r.Object + "/" + r.ExternalIDField + "/" + url.PathEscape(r.ExternalID)
}

// key is the external id as Salesforce compares it: without regard to case, unless the field is marked
// otherwise. Taking two ids for one costs a call and no more.
func (r record) key() string { return strings.ToLower(r.ExternalID) }

var soqlEscape = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// query is a SOQL query for the record's id.
func (r record) query() string {
	return "SELECT Id FROM " + r.Object + " WHERE " + r.ExternalIDField + " = '" + soqlEscape.Replace(r.ExternalID) + "' LIMIT 2"
}
