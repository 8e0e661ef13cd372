package dataverse

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// item is what one record is about: a row or a consent. It says which operations the record needs, and
// what their answers mean; target.deliver makes them.
type item interface {
	// key tells rows and consents apart.
	key() string
	// look is what has to be known before anything is written. ok is false for nothing.
	look(subscriber.Resubscribe) (o operation, ok bool)
	// plan is what to write, after look was answered (nil if it was not asked). Without operations, the
	// outcome stands.
	plan(found *httpclient.Response, policy subscriber.Resubscribe) ([]operation, sdk.Outcome)
	// outcome reads the answers to plan.
	outcome(answers []*httpclient.Response) sdk.Outcome
	// takings is the part of a record that takes something away: it must reach Dataverse whatever else is
	// wrong with the record. ok is false if there is no such part, or no need after o.
	takings(o sdk.Outcome) (takes operation, ok bool)
	// taken is the outcome of the record, which ended with o, after the answer to takings.
	taken(o sdk.Outcome, answer *httpclient.Response) sdk.Outcome
	// find asks what Dataverse holds.
	find() operation
	// reading is what that is, in the words of the record's schema; nil for nothing.
	reading(found *httpclient.Response) (map[string]any, error)
	// remove is what deletes it, after find was answered for a consent; a row needs no answer.
	remove(found *httpclient.Response) ([]operation, error)
}

// doNot are the columns of Dataverse's own tables that say how not to contact somebody. True is no.
var doNot = []string{"donotbulkemail", "donotbulkpostalmail", "donotemail", "donotfax", "donotphone", "donotpostalmail", "donotsendmm"}

var (
	tableName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
	columnName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(@odata\.bind)?$`)
	lookupName = regexp.MustCompile(`^_[A-Za-z0-9_]+_value$`)
	guidForm   = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

// notInKeys are the characters with which a key is not found, in whatever way they are written:
// learn.microsoft.com/power-apps/maker/data-platform/define-alternate-keys-portal.
const notInKeys = `/#<>*%&:\?+`

// parse checks a record as far as it can be without Dataverse.
func parse(r sdk.Record) (item, error) {
	var in struct {
		Table   string         `json:"table"`
		Key     map[string]any `json:"key"`
		ID      string         `json:"id"`
		Columns map[string]any `json:"columns"`
		Create  *bool          `json:"create"`
		Consent *consent       `json:"consent"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, sdk.Rejected("INVALID_RECORD", "%v", err).Err()
	}
	if in.Consent != nil {
		if in.Table != "" || in.Key != nil || in.ID != "" || in.Columns != nil {
			return nil, sdk.Rejected("ROW_AND_CONSENT", "a record is a row or a consent: table, key, id and columns do not go with consent").Err()
		}
		in.Consent.create = in.Create == nil || *in.Create
		return in.Consent, in.Consent.check()
	}
	w := &row{table: in.Table, keys: in.Key, columns: in.Columns}
	address, err := address(in.Table, in.Key, in.ID)
	if err != nil {
		return nil, err
	}
	w.address = address
	w.create = in.ID == "" && !w.optOut()
	if in.Create != nil {
		w.create = *in.Create
	}
	for name := range in.Columns {
		if !columnName.MatchString(name) {
			return nil, sdk.Rejected("INVALID_COLUMN", "columns must be named by their logical names").Err()
		}
		if _, there := in.Key[name]; there {
			return nil, sdk.Rejected("KEY_IN_COLUMNS", "columns must not repeat the key's column %s", httpclient.Word(name)).Err()
		}
	}
	return w, nil
}

// address is where a row is, below the API's root.
func address(table string, keys map[string]any, id string) (string, error) {
	switch {
	case !tableName.MatchString(table):
		return "", sdk.Rejected("INVALID_TABLE", "table must be the entity set name of one table, and a record without a consent needs it").Err()
	case (id == "") == (len(keys) == 0):
		return "", sdk.Rejected("INVALID_KEY", "a row needs either key or id").Err()
	case id != "" && !guidForm.MatchString(id):
		return "", sdk.Rejected("INVALID_ID", "id must be a GUID").Err()
	case id != "":
		return "/" + table + "(" + strings.ToLower(id) + ")", nil
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		value, err := keyValue(name, keys[name])
		if err != nil {
			return "", err
		}
		parts = append(parts, name+"="+value)
	}
	return "/" + table + "(" + strings.Join(parts, ",") + ")", nil
}

func keyValue(name string, value any) (string, error) {
	if !columnName.MatchString(name) || strings.Contains(name, "@") {
		return "", sdk.Rejected("INVALID_KEY", "key must name its columns by their logical names").Err()
	}
	switch v := value.(type) {
	case json.Number:
		return v.String(), nil
	case string:
		switch {
		case v == "" || strings.TrimSpace(v) != v || strings.ContainsFunc(v, unicode.IsControl):
			return "", sdk.Rejected("INVALID_KEY", "the key's %s must be a text without surrounding space and control characters", name).Err()
		case strings.ContainsAny(v, notInKeys):
			return "", sdk.Rejected("KEY_CHARACTERS", "the key's %s has one of the characters %s, with which Dataverse finds no row: use another key", name, notInKeys).Err()
		case lookupName.MatchString(name) && guidForm.MatchString(v):
			return v, nil
		}
		return "'" + url.PathEscape(strings.ReplaceAll(v, "'", "''")) + "'", nil
	}
	return "", sdk.Rejected("INVALID_KEY", "the key's %s must be a text or a number", name).Err()
}

// row is a row of any table.
type row struct {
	table   string
	keys    map[string]any
	columns map[string]any
	address string
	create  bool
}

func (w *row) key() string { return strings.ToLower(w.address) }

// flags sorts the do-not columns of the record: no are those columns that it sets to true, lifted those that it sets otherwise.
func (w *row) flags() (no, lifted []string) {
	for _, name := range doNot {
		if v, there := w.columns[name]; there && v == true {
			no = append(no, name)
		} else if there {
			lifted = append(lifted, name)
		}
	}
	return no, lifted
}

func (w *row) optOut() bool {
	no, lifted := w.flags()
	return len(no) > 0 && len(lifted) == 0
}

// refers is whether the record sets a lookup: a 404 may then speak of the other row.
func (w *row) refers() bool {
	for name, v := range w.columns {
		if strings.Contains(name, "@") && v != nil {
			return true
		}
	}
	return false
}

func (w *row) look(policy subscriber.Resubscribe) (operation, bool) {
	_, lifted := w.flags()
	if len(lifted) == 0 || policy == subscriber.Force {
		return operation{}, false
	}
	return operation{method: http.MethodGet, path: w.address + "?$select=" + strings.Join(lifted, ",")}, true
}

func (w *row) plan(found *httpclient.Response, _ subscriber.Resubscribe) ([]operation, sdk.Outcome) {
	if found != nil && !missing(found) {
		if o := outcomeOf(found); !o.Kind.Done() {
			return nil, o
		}
		var held map[string]any
		if err := found.Decode(&held); err != nil {
			return nil, sdk.FromError(err)
		}
		_, lifted := w.flags()
		standing := slices.DeleteFunc(lifted, func(name string) bool { return held[name] != true })
		if len(standing) > 0 {
			return nil, sdk.Rejected("OPTED_OUT", "Dataverse holds an opt-out (%s), and resubscribe is never", strings.Join(standing, ", "))
		}
	}
	columns := w.columns
	if columns == nil {
		columns = map[string]any{} // a body that is not there is refused
	}
	return []operation{{method: http.MethodPatch, path: w.address, mustExist: !w.create, body: columns}}, sdk.Outcome{}
}

// referenceNotFound is the one retry after which takings are sent: the lookup may stay empty for long.
const referenceNotFound = "REFERENCE_NOT_FOUND"

func (w *row) outcome(answers []*httpclient.Response) sdk.Outcome {
	res := answers[0]
	o := outcomeOf(res)
	switch {
	case o.Kind.Done():
		return sdk.Delivered(rowID(res))
	case !missing(res):
		return o
	case w.create:
		return sdk.Retry(referenceNotFound, "a row that a lookup names is not in Dataverse yet")
	case w.refers():
		return sdk.Rejected("NOT_FOUND", "the row, or one that a lookup names, is not in Dataverse")
	case w.optOut():
		return sdk.Unchanged()
	}
	return sdk.Rejected("NOT_FOUND", "the row is not in Dataverse, and the record may not create it")
}

func (w *row) takings(o sdk.Outcome) (operation, bool) {
	no, _ := w.flags()
	if o.Kind != sdk.KindRejected && o.Code != referenceNotFound || len(no) == 0 || len(no) == len(w.columns) {
		return operation{}, false
	}
	columns := map[string]any{}
	for _, name := range no {
		columns[name] = true
	}
	return operation{method: http.MethodPatch, path: w.address, mustExist: true, body: columns}, true
}

func (w *row) taken(o sdk.Outcome, answer *httpclient.Response) sdk.Outcome {
	switch rest := outcomeOf(answer); {
	case missing(answer) && w.optOut() && !w.create:
		return sdk.Unchanged() // nobody is there to be opted out
	case rest.Kind.Done() || rest.Kind == sdk.KindRejected:
		return o
	default:
		return rest
	}
}

func (w *row) find() operation { return operation{method: http.MethodGet, path: w.address} }

func (w *row) reading(found *httpclient.Response) (map[string]any, error) {
	if missing(found) {
		return nil, nil
	}
	if err := outcomeOf(found).Err(); err != nil {
		return nil, err
	}
	columns := map[string]any{}
	if err := found.Decode(&columns); err != nil {
		return nil, err
	}
	maps.DeleteFunc(columns, func(name string, _ any) bool {
		_, isKey := w.keys[name]
		return isKey || strings.Contains(name, "@")
	})
	held := map[string]any{"table": w.table, "columns": columns}
	if w.keys != nil {
		held["key"] = w.keys
	} else {
		held["id"] = strings.TrimSuffix(w.address[strings.Index(w.address, "(")+1:], ")")
	}
	return held, nil
}

func (w *row) remove(*httpclient.Response) ([]operation, error) {
	return []operation{{method: http.MethodDelete, path: w.address}}, nil
}

var entityID = regexp.MustCompile(`\(([0-9A-Fa-f-]{36})\)$`)

// rowID is the id in the answer to a write. Where the address was a key, Dataverse may repeat that in its
// place, which is personal.
func rowID(res *httpclient.Response) string {
	if m := entityID.FindStringSubmatch(res.Header.Get("OData-EntityId")); m != nil {
		return m[1]
	}
	return ""
}
