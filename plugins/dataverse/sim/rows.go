package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

var segment = regexp.MustCompile(`^([A-Za-z0-9_]+)(?:\((.*)\))?$`)

// operate makes one operation, of a batch or alone.
func (s *Server) operate(r *http.Request) answer {
	for _, f := range s.faults.operations {
		if f.left > 0 && strings.Contains(address(r), f.part) {
			f.left--
			return f.answer()
		}
	}
	m := segment.FindStringSubmatch(strings.TrimPrefix(r.URL.Path, root))
	if m == nil || !strings.HasPrefix(r.URL.Path, root) {
		return refuse(http.StatusNotFound, "", "No HTTP resource was found that matches the request URI '%s'.", r.URL.Path)
	}
	set, ref := m[1], m[2]
	t, ok := tables[set]
	if !ok {
		return refuse(http.StatusNotFound, "0x8006088a", "Resource not found for the segment '%s'.", set)
	}
	if ref == "" {
		if r.Method != http.MethodGet {
			return refuse(http.StatusMethodNotAllowed, "0x80060888", "The requested resource does not support http method '%s'.", r.Method)
		}
		return s.query(r, set, t)
	}
	identity, refused := t.identity(ref)
	if refused != nil {
		return *refused
	}
	row := s.find(set, identity)
	switch r.Method {
	case http.MethodGet:
		if row == nil {
			return notFound(t, identity)
		}
		return s.get(r, set, t, row)
	case http.MethodPatch:
		return s.upsert(r, set, t, ref, identity, row)
	case http.MethodDelete:
		if row == nil {
			return notFound(t, identity)
		}
		s.rows[set] = slices.DeleteFunc(s.rows[set], func(other map[string]any) bool { return other[t.id] == row[t.id] })
		return answer{status: http.StatusNoContent, lines: []string{line(set, ref, nil) + " deleted"}}
	}
	return refuse(http.StatusMethodNotAllowed, "0x80060888", "The requested resource does not support http method '%s'.", r.Method)
}

// notFound has the code of the way in which the row was asked for.
func notFound(t table, identity map[string]any) answer {
	if id, ok := identity[t.id]; ok {
		return refuse(http.StatusNotFound, "0x80040217", "%s With Id = %s Does Not Exist", t.logical, id)
	}
	return refuse(http.StatusNotFound, "0x80060891", "A record with the specified key values does not exist in %s entity", t.logical)
}

var (
	isGUID  = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	keyPart = regexp.MustCompile(`^([A-Za-z0-9_]+)=(?:'((?:[^']|'')*)'|([^',]+))(?:,|$)`)
)

// identity reads what stands in the parentheses: an id, or an alternate key.
func (t table) identity(ref string) (map[string]any, *answer) {
	if isGUID.MatchString(ref) {
		return map[string]any{t.id: strings.ToLower(ref)}, nil
	}
	identity := map[string]any{}
	for rest := ref; rest != ""; {
		m := keyPart.FindStringSubmatch(rest)
		if m == nil {
			a := refuse(http.StatusBadRequest, "0x8006088a", "Bad Request - Error in query syntax.")
			return nil, &a
		}
		rest = rest[len(m[0]):]
		identity[m[1]] = strings.ReplaceAll(m[2], "''", "'") + m[3]
	}
	names := slices.Sorted(maps.Keys(identity))
	for _, key := range t.keys {
		if slices.Equal(names, slices.Sorted(slices.Values(key))) {
			return identity, nil
		}
	}
	a := refuse(http.StatusBadRequest, "0x8006088a", "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.%[1]s'. Ensure that the names and number of key properties match the declared or alternate key properties for the resource 'Microsoft.Dynamics.CRM.%[1]s'.", t.logical)
	return nil, &a
}

func (s *Server) find(set string, identity map[string]any) map[string]any {
	for _, row := range s.rows[set] {
		if matches(row, identity) {
			return row
		}
	}
	return nil
}

// matches compares as the database does, without regard to case.
func matches(row, identity map[string]any) bool {
	for name, v := range identity {
		if held, there := row[name]; !there || !strings.EqualFold(fmt.Sprint(held), fmt.Sprint(v)) {
			return false
		}
	}
	return true
}

func (s *Server) where(set, column, value string) []map[string]any {
	var found []map[string]any
	for _, row := range s.rows[set] {
		if matches(row, map[string]any{column: value}) {
			found = append(found, row)
		}
	}
	return found
}

// shape is a row as it is read: empty columns are null, and the id is always there.
func (t table) shape(row map[string]any, selected []string) map[string]any {
	out := map[string]any{"@odata.etag": `W/"4100000"`, t.id: row[t.id]}
	if selected == nil {
		for name, c := range t.columns {
			if c.kind == lookup {
				name = c.read(name)
			}
			out[name] = row[name]
		}
		for name, v := range row {
			out[name] = v
		}
	}
	for _, name := range selected {
		out[name] = row[name]
	}
	return out
}

func (t table) selected(r *http.Request) ([]string, *answer) {
	if !r.URL.Query().Has("$select") {
		return nil, nil
	}
	names := strings.Split(r.URL.Query().Get("$select"), ",")
	for _, name := range names {
		if !t.readable(name) {
			a := refuse(http.StatusBadRequest, "0x80060888", "Could not find a property named '%s' on type 'Microsoft.Dynamics.CRM.%s'.", name, t.logical)
			return nil, &a
		}
	}
	return names, nil
}

func (s *Server) get(r *http.Request, set string, t table, row map[string]any) answer {
	selected, refused := t.selected(r)
	if refused != nil {
		return *refused
	}
	out := t.shape(row, selected)
	out["@odata.context"] = "http://" + r.Host + root + "$metadata#" + set + "/$entity"
	return answer{status: http.StatusOK, body: out}
}

var comparison = regexp.MustCompile(`^([A-Za-z0-9_]+) eq (?:'((?:[^']|'')*)'|([^' ]+))(?: and |$)`)

// query understands comparisons joined by "and".
func (s *Server) query(r *http.Request, set string, t table) answer {
	selected, refused := t.selected(r)
	if refused != nil {
		return *refused
	}
	wanted := map[string]any{}
	filter := r.URL.Query().Get("$filter")
	for rest := filter; rest != ""; {
		m := comparison.FindStringSubmatch(rest)
		if m == nil {
			return refuse(http.StatusBadRequest, "0x80060888", "Syntax error at position %d in '%s'.", len(filter)-len(rest), filter)
		}
		if !t.readable(m[1]) {
			return refuse(http.StatusBadRequest, "0x80060888", "Could not find a property named '%s' on type 'Microsoft.Dynamics.CRM.%s'.", m[1], t.logical)
		}
		rest = rest[len(m[0]):]
		wanted[m[1]] = strings.ReplaceAll(m[2], "''", "'") + m[3]
	}
	value := []any{}
	for _, row := range s.rows[set] {
		if matches(row, wanted) {
			value = append(value, t.shape(row, selected))
		}
	}
	return answer{status: http.StatusOK, body: map[string]any{"@odata.context": "http://" + r.Host + root + "$metadata#" + set, "value": value}}
}

func (s *Server) upsert(r *http.Request, set string, t table, ref string, identity, row map[string]any) answer {
	if row == nil && r.Header.Get("If-Match") != "" {
		return notFound(t, identity)
	}
	var body map[string]any
	d := json.NewDecoder(r.Body)
	d.UseNumber()
	if d.Decode(&body) != nil || r.Header.Get("Content-Type") != "application/json" {
		return refuse(http.StatusBadRequest, "0x80048d19", payloadError+"The request message's payload stream is not readable.", set)
	}
	next := maps.Clone(identity)
	if row != nil {
		next = maps.Clone(row)
	} else if next[t.id] == nil {
		next[t.id] = s.newID()
	}
	for name, v := range body {
		if refused := t.parse(set, name, v); refused != nil {
			return *refused
		}
		column, v, refused := s.value(t, name, v)
		switch {
		case refused != nil:
			return *refused
		case v == nil:
			delete(next, column)
		default:
			next[column] = v
		}
	}
	if row == nil && t.columns["statecode"].kind == choice {
		if _, there := next["statecode"]; !there {
			next["statecode"] = json.Number("0")
		}
	}
	for _, other := range s.rows[set] {
		if other[t.id] != next[t.id] && t.sameKey(other, next) {
			return refuse(http.StatusPreconditionFailed, "0x80060892", "Entity Key violated. A record with the same value for %s already exists.", t.keys[0][0])
		}
	}
	changed := difference(row, next)
	delete(changed, t.id)
	if row == nil {
		s.rows[set] = append(s.rows[set], next)
	} else {
		clear(row)
		maps.Copy(row, next)
	}
	// Where the address is a key, the answer repeats it, as in the vendor's examples of upserts.
	a := answer{status: http.StatusNoContent, header: http.Header{"Odata-Entityid": {"http://" + r.Host + r.URL.EscapedPath()}}}
	if len(changed) > 0 {
		a.lines = []string{line(set, ref, changed)}
	}
	return a
}

// value is what is held of a property: of a lookup, the other row's id.
func (s *Server) value(t table, name string, v any) (column string, held any, refused *answer) {
	property, bound := strings.CutSuffix(name, "@odata.bind")
	if !bound {
		return name, v, nil
	}
	c := t.columns[property]
	column = c.read(property)
	if v == nil {
		return column, nil, nil
	}
	m := segment.FindStringSubmatch(strings.TrimPrefix(v.(string), "/"))
	if m == nil || m[1] != c.to {
		a := refuse(http.StatusBadRequest, "0x80048d19", payloadError+"The URI '%v' is not valid.", c.to, v)
		return "", nil, &a
	}
	other := tables[c.to]
	identity, refused := other.identity(m[2])
	if refused != nil {
		return "", nil, refused
	}
	row := s.find(c.to, identity)
	if row == nil {
		a := notFound(other, identity)
		return "", nil, &a
	}
	return column, row[other.id], nil
}

func (t table) sameKey(a, b map[string]any) bool {
	for _, key := range t.keys {
		identity := map[string]any{}
		for _, name := range key {
			if v, there := b[name]; there {
				identity[name] = v
			}
		}
		if len(identity) == len(key) && matches(a, identity) {
			return true
		}
	}
	return false
}

func difference(old, next map[string]any) map[string]any {
	changed := map[string]any{}
	for name, v := range next {
		if !reflect.DeepEqual(old[name], v) {
			changed[name] = v
		}
	}
	for name := range old {
		if _, there := next[name]; !there {
			changed[name] = nil
		}
	}
	return changed
}
