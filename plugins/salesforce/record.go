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
	Create          *bool          `json:"create"`
	withdrawal      bool
}

// maxExternalID is the length of the longest text field that can be an external id.
const maxExternalID = 255

var apiName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// readRecord decodes r and checks who it is about. The error is fit for sdk.FromError, as all in this
// package are.
func readRecord(r sdk.Record) (record, error) {
	var rec record
	if err := r.Decode(&rec); err != nil {
		return rec, sdk.Rejected("INVALID_RECORD", "%v", err).Err()
	}
	rec.withdrawal = r.Withdrawal
	id := rec.ExternalID
	switch {
	case !apiName.MatchString(rec.Object):
		return rec, sdk.Rejected("INVALID_OBJECT", "object must be the API name of one object").Err()
	case strings.EqualFold(rec.ExternalIDField, "Id"):
		return rec, sdk.Rejected("INVALID_EXTERNAL_ID_FIELD", "external_id_field cannot be Id: Salesforce upserts by an external id field only").Err()
	case !apiName.MatchString(rec.ExternalIDField):
		return rec, sdk.Rejected("INVALID_EXTERNAL_ID_FIELD", "external_id_field must be the API name of one field").Err()
	case id == "" || len(id) > maxExternalID || strings.TrimSpace(id) != id || strings.ContainsFunc(id, unicode.IsControl):
		return rec, sdk.Rejected("INVALID_EXTERNAL_ID", "external_id must be 1 to %d bytes, without surrounding space and control characters", maxExternalID).Err()
	}
	return rec, nil
}

// readWhole also refuses names of fields that Salesforce reads as something else than a field to set. It
// compares names without regard to case.
func readWhole(r sdk.Record) (record, error) {
	rec, err := readRecord(r)
	if err != nil {
		return rec, err
	}
	for name := range rec.Fields {
		switch {
		case strings.EqualFold(name, "Id"):
			return rec, sdk.Rejected("ID_IN_FIELDS", "fields must not hold Id: the record is found by its external id").Err()
		case strings.EqualFold(name, rec.ExternalIDField):
			return rec, sdk.Rejected("EXTERNAL_ID_IN_FIELDS", "fields must not repeat the external id field %s", rec.ExternalIDField).Err()
		case strings.EqualFold(name, "attributes"):
			return rec, sdk.Rejected("ATTRIBUTES_IN_FIELDS", "fields must not hold attributes: the plugin writes them").Err()
		}
	}
	return rec, nil
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

func quote(s string) string { return "'" + soqlEscape.Replace(s) + "'" }

// query is a SOQL query for the record's id.
func (r record) query() string {
	return "SELECT Id FROM " + r.Object + " WHERE " + r.ExternalIDField + " = " + quote(r.ExternalID) + " LIMIT 2"
}
