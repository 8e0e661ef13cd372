package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *Server) describe(*http.Request, []byte) answer {
	return success(map[string]any{
		"name": "API Lead", "searchableFields": [][]string{{"id"}, {"email"}, {"customerNumber"}},
		"fields": []map[string]any{},
	})
}

func (s *Server) get(r *http.Request, _ []byte) answer {
	q := r.URL.Query()
	field, names := q.Get("filterType"), strings.Split(q.Get("fields"), ",")
	if !slices.Contains([]string{"id", "email", "customerNumber"}, field) {
		return failure("1003", "Invalid filterType '"+field+"'")
	}
	for _, name := range names {
		if s.fields[name] == "" {
			return failure("1006", "Field '"+name+"' not found")
		}
	}
	values := strings.Split(q.Get("filterValues"), ",")
	if len(values) > maxRows {
		return failure("1003", "Too many values")
	}
	var found []map[string]any
	for _, value := range values {
		for _, lead := range s.find(field, value) {
			row := map[string]any{}
			for _, name := range names {
				row[name] = lead[name] // null where there is none
			}
			found = append(found, row)
		}
	}
	return success(found...)
}

// input reads rows with exact numbers.
func input(raw []byte, body any) bool {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(body) == nil
}

func (s *Server) sync(_ *http.Request, raw []byte) answer {
	var body struct {
		Action      string           `json:"action"`
		LookupField string           `json:"lookupField"`
		Input       []map[string]any `json:"input"`
	}
	switch {
	case !input(raw, &body):
		return failure("609", "Invalid JSON")
	case len(body.Input) == 0 || len(body.Input) > maxRows:
		return failure("1003", "Too many leads, or none")
	}
	rows := make([]map[string]any, len(body.Input))
	for i, row := range body.Input {
		rows[i] = s.row(body.Action, body.LookupField, row)
	}
	return success(rows...)
}

func (s *Server) row(action, lookup string, row map[string]any) map[string]any {
	for name, value := range row {
		typ := s.fields[name]
		_, text := value.(string)
		_, boolean := value.(bool)
		switch {
		case typ == "":
			return skipped("1006", "Field '"+name+"' not found")
		case value != nil && (typ == "boolean") != boolean, value != nil && typ == "integer" && text:
			return skipped("1001", fmt.Sprintf("Invalid value '%v'. Required of type '%s'", value, typ))
		case typ == "email" && value != nil && !strings.Contains(fmt.Sprint(value), "."):
			return skipped("1003", "Invalid email address "+fmt.Sprint(value))
		}
	}
	found := s.find(lookup, fmt.Sprint(row[lookup]))
	switch {
	case len(found) > 1:
		return skipped("1007", "Multiple lead match lookup criteria")
	case len(found) == 0 && action == "updateOnly":
		return skipped("1004", "Lead not found")
	case len(found) == 0 && lookup == "id":
		return skipped("1003", "id cannot be created")
	}
	status := "updated"
	var lead map[string]any
	if len(found) == 0 {
		lead, status = s.add(map[string]any{}), "created"
	} else {
		lead = found[0]
	}
	before := maps.Clone(lead)
	for name, value := range row {
		switch {
		case name == "id":
		case value == nil:
			delete(lead, name)
		default:
			lead[name] = value
		}
	}
	if status == "created" || !maps.Equal(before, lead) {
		s.notify(line(lead))
	}
	return map[string]any{"id": lead["id"], "status": status}
}

func line(lead map[string]any) string {
	words := []string{fmt.Sprint(lead["email"])}
	for _, name := range []string{"unsubscribed", "marketingSuspended", "doNotCall", "blackListed"} {
		if value := lead[name]; value != nil {
			words = append(words, fmt.Sprintf("%s=%v", name, value))
		}
	}
	return strings.Join(words, " ")
}

func (s *Server) remove(_ *http.Request, raw []byte) answer {
	var body struct {
		Input []struct {
			ID int `json:"id"`
		} `json:"input"`
	}
	if !input(raw, &body) {
		return failure("609", "Invalid JSON")
	}
	var rows []map[string]any
	for _, one := range body.Input {
		found := s.find("id", strconv.Itoa(one.ID))
		if len(found) == 0 {
			rows = append(rows, skipped("1004", "Lead not found"))
			continue
		}
		s.leads = slices.DeleteFunc(s.leads, func(lead map[string]any) bool { return lead["id"] == one.ID })
		s.notify(fmt.Sprint(found[0]["email"], " deleted"))
		rows = append(rows, map[string]any{"id": one.ID, "status": "deleted"})
	}
	return success(rows...)
}

func (s *Server) addToList(r *http.Request, _ []byte) answer {
	return s.members(r, func(members map[int]bool, id int) map[string]any {
		members[id] = true
		return map[string]any{"id": id, "status": "added"}
	})
}

func (s *Server) takeOffList(r *http.Request, _ []byte) answer {
	return s.members(r, func(members map[int]bool, id int) map[string]any {
		if !members[id] {
			row := skipped("1015", "Lead not in list")
			row["id"] = id
			return row
		}
		delete(members, id)
		return map[string]any{"id": id, "status": "removed"}
	})
}

func (s *Server) members(r *http.Request, change func(map[int]bool, int) map[string]any) answer {
	members, known := s.lists[r.PathValue("list")]
	ids := r.URL.Query()["id"]
	switch {
	case !known:
		return failure("1013", "Object not found")
	case len(ids) == 0 || len(ids) > maxRows:
		return failure("1003", "Too many leads, or none")
	}
	var rows []map[string]any
	for _, text := range ids {
		id, _ := strconv.Atoi(text)
		if len(s.find("id", text)) == 0 {
			row := skipped("1004", "Lead not found")
			row["id"] = id
			rows = append(rows, row)
			continue
		}
		rows = append(rows, change(members, id))
	}
	return success(rows...)
}
