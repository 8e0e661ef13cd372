package sim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

var (
	// queryForm are the two forms of SOQL that the simulator knows: one value and LIMIT, or a list.
	queryForm = regexp.MustCompile(`^SELECT (\w+) FROM (\w+) WHERE (\w+) (?:= (` + soqlText + `) LIMIT \d+|IN \((` + soqlText + `(?:,` + soqlText + `)*)\))$`)
	soqlTexts = regexp.MustCompile(soqlText)
	// soqlEscaped is an escaped character of a text.
	soqlEscaped = regexp.MustCompile(`\\(.)`)
)

const soqlText = `'(?:[^'\\]|\\.)*'`

// maxQueryRows is how many rows one answer to a query has.
const maxQueryRows = 2000

func (s *Server) query(r *http.Request) answer {
	return s.run(r, r.URL.Query().Get("q"))
}

func (s *Server) run(r *http.Request, soql string) answer {
	m := queryForm.FindStringSubmatch(soql)
	if m == nil || len(soql) > 100_000 {
		return refuse(http.StatusBadRequest, "MALFORMED_QUERY", "unexpected token")
	}
	selected, name, field := m[1], m[2], m[3]
	def, ok := objects[name]
	if !ok {
		return refuse(http.StatusBadRequest, "INVALID_TYPE", "sObject type '%s' is not supported.", name)
	}
	for _, f := range []string{selected, field} {
		if _, _, ok := def.fieldOf(f); !ok && f != "Id" {
			return refuse(http.StatusBadRequest, "INVALID_FIELD", "No such column '%s' on entity '%s'.", f, name)
		}
	}
	records := []map[string]any{}
	for _, text := range soqlTexts.FindAllString(m[4]+m[5], -1) {
		for _, row := range s.find(name, field, soqlEscaped.ReplaceAllString(text[1:len(text)-1], "$1")) {
			records = append(records, map[string]any{
				"attributes": map[string]string{"type": name, "url": address(r, name, row)}, selected: row[selected],
			})
		}
	}
	return answer{status: http.StatusOK, body: map[string]any{
		"totalSize": len(records), "done": len(records) <= maxQueryRows, "records": records[:min(len(records), maxQueryRows)],
	}}
}

// composite answers subrequests that are queries; no others are simulated.
func (s *Server) composite(r *http.Request) answer {
	var in struct {
		Requests []struct {
			Method      string `json:"method"`
			URL         string `json:"url"`
			ReferenceID string `json:"referenceId"`
		} `json:"compositeRequest"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Requests) == 0 || len(in.Requests) > 25 {
		return refuse(http.StatusBadRequest, "JSON_PARSER_ERROR", "Unexpected character at [line:1, column:1]")
	}
	var responses []map[string]any
	for _, sub := range in.Requests {
		u, err := url.Parse(sub.URL)
		path := "/services/data/" + r.PathValue("version") + "/query"
		if err != nil || sub.Method != http.MethodGet || sub.ReferenceID == "" || strings.TrimSuffix(u.Path, "/") != path {
			return refuse(http.StatusNotImplemented, "NOT_SIMULATED", "only queries are simulated in a composite request")
		}
		a := s.run(r, u.Query().Get("q"))
		responses = append(responses, map[string]any{
			"body": a.body, "httpHeaders": map[string]string{}, "httpStatusCode": a.status, "referenceId": sub.ReferenceID,
		})
	}
	return answer{status: http.StatusOK, body: map[string]any{"compositeResponse": responses}}
}
