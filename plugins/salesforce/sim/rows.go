package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

const maxRows = 200

// rowResult is one element of the answer to a collections call. A row that failed has no id.
type rowResult struct {
	ID      string     `json:"id,omitempty"`
	Success bool       `json:"success"`
	Errors  []rowError `json:"errors"`
	Created *bool      `json:"created,omitempty"`
}

type rowError struct {
	StatusCode string   `json:"statusCode"`
	Message    string   `json:"message"`
	Fields     []string `json:"fields"`
}

func failedRow(e rowError) rowResult {
	if e.Fields == nil {
		e.Fields = []string{}
	}
	return rowResult{Errors: []rowError{e}}
}

func (s *Server) upsert(r *http.Request) answer {
	name, field := r.PathValue("object"), r.PathValue("field")
	def, ok := objects[name]
	if !ok {
		return notFound()
	}
	if !isCustom(field) {
		return refuse(http.StatusNotFound, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: %s", field)
	}
	var in struct {
		AllOrNone bool             `json:"allOrNone"`
		Records   []map[string]any `json:"records"`
	}
	d := json.NewDecoder(r.Body)
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		return refuse(http.StatusBadRequest, "JSON_PARSER_ERROR", "Unexpected character at [line:1, column:1]")
	}
	switch {
	case in.AllOrNone:
		return refuse(http.StatusNotImplemented, "NOT_SIMULATED", "allOrNone is not simulated")
	case len(in.Records) == 0:
		return refuse(http.StatusBadRequest, "REQUIRED_FIELD_MISSING", "records is required")
	case len(in.Records) > maxRows:
		return refuse(http.StatusBadRequest, "EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than %d records into this call", maxRows)
	}
	times := map[string]int{}
	for _, row := range in.Records {
		if refusal := s.parse(name, def, field, row); refusal != nil {
			return answer{status: http.StatusBadRequest, body: []apiError{*refusal}}
		}
		times[strings.ToLower(row[field].(string))]++
	}
	results := make([]rowResult, len(in.Records))
	var lines []string
	for i, row := range in.Records {
		value := row[field].(string)
		if times[strings.ToLower(value)] > 1 {
			results[i] = failedRow(rowError{StatusCode: "DUPLICATE_VALUE", Message: "Duplicate external id specified: " + value})
			continue
		}
		var changed map[string]any
		results[i], changed = s.upsertRow(name, def, field, value, row)
		if changed != nil {
			lines = append(lines, line(name, field, value, changed))
		}
	}
	return answer{status: http.StatusOK, body: results, lines: lines}
}

// parse reads a row as the API's JSON reader does: what it cannot read fails the whole call. That an
// unknown field is among it is known from the field, not documented.
func (s *Server) parse(name string, def object, external string, row map[string]any) *apiError {
	attributes, _ := row["attributes"].(map[string]any)
	if attributes["type"] != name {
		return &apiError{ErrorCode: "INVALID_TYPE", Message: "attributes.type must be " + name}
	}
	value, ok := row[external].(string)
	if !ok || value == "" {
		return &apiError{ErrorCode: "MISSING_ARGUMENT", Message: external + " not specified"}
	}
	if s.faults.poison[value] {
		return &apiError{ErrorCode: "JSON_PARSER_ERROR", Message: "Cannot deserialize instance of boolean from value " + value}
	}
	for field, v := range row {
		if field == "attributes" || field == external {
			continue
		}
		if strings.EqualFold(field, "Id") {
			return &apiError{ErrorCode: "INVALID_FIELD", Message: "The Id field should not be specified in the sobject data."}
		}
		if _, ok := v.(map[string]any); ok && def.relationship(field) != "" {
			continue
		}
		spelled, f, ok := def.fieldOf(field)
		if !ok {
			return &apiError{ErrorCode: "INVALID_FIELD", Message: fmt.Sprintf("No such column '%s' on sobject of type %s", field, name)}
		}
		if e := f.parse(spelled, v); e != nil {
			return e
		}
	}
	return nil
}

// relationship is the lookup field behind a relationship's name: IndividualId behind Individual.
func (o object) relationship(name string) string {
	spelled, f, ok := o.fieldOf(name + "Id")
	if !ok || f.kind != lookup {
		return ""
	}
	return spelled
}

// upsertRow returns what changed, nil for nothing.
func (s *Server) upsertRow(name string, def object, external, value string, row map[string]any) (rowResult, map[string]any) {
	if fault, ok := s.faults.row(value); ok {
		return failedRow(rowError{fault.Code, fault.Message, fault.Fields}), nil
	}
	found := s.find(name, external, value)
	if len(found) > 1 {
		return failedRow(rowError{"DUPLICATE_EXTERNAL_ID", external + ": more than one record found for external id field", nil}), nil
	}
	old := map[string]any{external: value}
	if len(found) == 1 {
		old = found[0]
	}
	next := maps.Clone(old)
	for field, v := range row {
		if field == "attributes" || field == external {
			continue
		}
		if reference, ok := v.(map[string]any); ok {
			lookup := def.relationship(field)
			id, e := s.resolve(def.fields[lookup].target(reference), reference)
			if e != nil {
				return failedRow(*e), nil
			}
			next[lookup] = id
			continue
		}
		spelled, f, _ := def.fieldOf(field)
		if e := f.check(spelled, v); e != nil {
			return failedRow(*e), nil
		}
		if v == nil {
			delete(next, spelled)
		} else {
			next[spelled] = v
		}
	}
	missing := slices.DeleteFunc(slices.Clone(def.required), func(f string) bool { return next[f] != nil && next[f] != "" })
	if len(missing) > 0 {
		return failedRow(rowError{"REQUIRED_FIELD_MISSING", fmt.Sprintf("Required fields are missing: [%s]", strings.Join(missing, ", ")), missing}), nil
	}
	created := len(found) == 0
	changed := map[string]any{}
	for field, v := range next {
		if field != external && !reflect.DeepEqual(old[field], v) {
			changed[field] = v
		}
	}
	for field := range old {
		if _, ok := next[field]; !ok {
			changed[field] = nil
		}
	}
	if created {
		next["Id"] = s.newID(name)
		s.rows[name] = append(s.rows[name], next)
	} else {
		clear(old)
		maps.Copy(old, next)
		if len(changed) == 0 {
			changed = nil
		}
	}
	return rowResult{ID: next["Id"].(string), Success: true, Errors: []rowError{}, Created: &created}, changed
}

// resolve finds the record that a lookup names by external id. Salesforce's code for one that is not
// there is INVALID_FIELD.
func (s *Server) resolve(object string, reference map[string]any) (string, *rowError) {
	for field, v := range reference {
		if field == "attributes" {
			continue
		}
		if found := s.find(object, field, fmt.Sprint(v)); len(found) == 1 {
			return found[0]["Id"].(string), nil
		}
		return "", &rowError{"INVALID_FIELD", fmt.Sprintf("Foreign key external ID: %v not found for field %s in entity %s", v, field, object), nil}
	}
	return "", &rowError{"INVALID_FIELD", "no external id in the reference", nil}
}

// find compares external ids as Salesforce does, without regard to case.
func (s *Server) find(object, field, value string) []map[string]any {
	var found []map[string]any
	for _, row := range s.rows[object] {
		if v, ok := row[field]; ok && strings.EqualFold(fmt.Sprint(v), value) {
			found = append(found, row)
		}
	}
	return found
}

// locate finds the row that a path names, by record id or by external id. When the path does not name
// exactly one, otherwise is the answer.
func (s *Server) locate(r *http.Request) (object, field string, row map[string]any, otherwise answer) {
	object, field = r.PathValue("object"), r.PathValue("field")
	value := r.PathValue("value")
	if id := r.PathValue("id"); id != "" {
		field, value = "Id", id
	} else if _, ok := objects[object]; ok && !isCustom(field) {
		return object, field, nil, refuse(http.StatusNotFound, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: %s", field)
	}
	found := s.find(object, field, value)
	switch {
	case len(found) == 0, strings.HasSuffix(value, ".inc"): // a documented fault of the vendor's
		return object, field, nil, notFound()
	case len(found) > 1:
		var addresses []string
		for _, row := range found {
			addresses = append(addresses, address(r, object, row))
		}
		return object, field, nil, answer{status: http.StatusMultipleChoices, body: addresses}
	}
	return object, field, found[0], otherwise
}

func address(r *http.Request, object string, row map[string]any) string {
	return fmt.Sprintf("/services/data/%s/sobjects/%s/%s", r.PathValue("version"), object, row["Id"])
}

// get answers with all fields of the object: null, or false for a checkbox, where there is no value.
func (s *Server) get(r *http.Request) answer {
	object, _, row, otherwise := s.locate(r)
	if row == nil {
		return otherwise
	}
	body := map[string]any{}
	for name, f := range objects[object].fields {
		body[name] = nil
		if f.kind == checkbox {
			body[name] = false
		}
	}
	maps.Copy(body, row)
	body["attributes"] = map[string]string{"type": object, "url": address(r, object, row)}
	return answer{status: http.StatusOK, body: body}
}

func (s *Server) remove(r *http.Request) answer {
	object, field, row, otherwise := s.locate(r)
	if row == nil {
		return otherwise
	}
	value := fmt.Sprint(row[field])
	s.rows[object] = slices.DeleteFunc(s.rows[object], func(other map[string]any) bool { return other["Id"] == row["Id"] })
	return answer{status: http.StatusNoContent, lines: []string{line(object, field, value, nil) + " deleted"}}
}
