// Package sim is a Dataverse environment in memory, with its directory in Entra ID: enough of the token
// endpoint and the Web API to show and to test what the plugin does, with state, checks of columns, the
// vendor's shapes of errors, and failures on demand. It is apart from the plugin because
// `consentd run --dev` serves it too.
//
// The shapes are those that Microsoft documents. Where its documentation is silent (noted at the place)
// the simulator takes what is known from the field.
package sim

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// What signs in to the simulator.
const (
	TenantID     = "0b2f6a7e-1d0c-4c6e-9a55-3f1f2f4c7d10"
	ClientID     = "6a1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"
	ClientSecret = "simulated~client.secret"
)

// A purpose and a topic of it, which every environment has.
const (
	PurposeID = "10000000-0000-0000-0000-000000000003"
	TopicID   = "20000000-0000-0000-0000-000000000007"
)

const root = "/api/data/v9.2/"

// Server is one environment. It is an http.Handler and safe for concurrent use.
type Server struct {
	mux    *http.ServeMux
	notify func(line string)

	mu          sync.Mutex
	rows        map[string][]map[string]any // by entity set; each holds its id and its columns that are not null
	created     int                         // rows ever, for their ids
	tokens      map[string]bool
	signIns     int
	certificate *x509.Certificate
	faults      faults
}

// New makes an environment without contacts. notify, which may be nil, gets one short line for each change of a row:
//
//	contacts acme_cpmid=5f0c2b1a... donotemail=false
func New(notify func(line string)) *Server {
	s := &Server{
		mux:    http.NewServeMux(),
		notify: notify,
		tokens: map[string]bool{},
		rows: map[string][]map[string]any{
			"msdynmkt_purposes": {{"msdynmkt_purposeid": PurposeID, "msdynmkt_name": "Commercial"}},
			"msdynmkt_topics":   {{"msdynmkt_topicid": TopicID, "msdynmkt_name": "Jazz"}},
		},
	}
	if s.notify == nil {
		s.notify = func(string) {}
	}
	s.mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", s.token)
	s.mux.HandleFunc("GET "+root+"WhoAmI", s.api(s.whoAmI))
	s.mux.HandleFunc("POST "+root+"$batch", s.api(s.batch))
	s.mux.HandleFunc(root, s.api(s.operate))
	s.mux.HandleFunc("/", s.api(func(r *http.Request) answer {
		return refuse(http.StatusNotFound, "", "No HTTP resource was found that matches the request URI '%s'.", r.URL.Path)
	}))
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Row returns the first row of the table whose column has the value, with its id and without columns that
// are null.
func (s *Server) Row(table, column, value string) (map[string]any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.where(table, column, value); len(found) > 0 {
		return maps.Clone(found[0]), true
	}
	return nil, false
}

// Rows returns all rows of a table.
func (s *Server) Rows(table string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []map[string]any
	for _, row := range s.rows[table] {
		all = append(all, maps.Clone(row))
	}
	return all
}

// Put adds a row as somebody else would, without checks and without a notice, and returns its id.
func (s *Server) Put(table string, columns map[string]any) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row := maps.Clone(columns)
	id = s.newID()
	row[tables[table].id] = id
	s.rows[table] = append(s.rows[table], row)
	return id
}

// SetState activates or deactivates a row, as somebody else would.
func (s *Server) SetState(table, id string, state, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range s.where(table, tables[table].id, id) {
		row["statecode"], row["statuscode"] = state, status
	}
}

// answer is a response before it is written; a nil body is none, a string one is a page of HTML.
type answer struct {
	status int
	header http.Header
	body   any
	lines  []string // what to notify
	cut    bool
}

// refuse is the one shape of the Web API's errors.
func refuse(status int, code, format string, args ...any) answer {
	return answer{status: status, body: map[string]any{"error": map[string]string{"code": code, "message": fmt.Sprintf(format, args...)}}}
}

// api wraps a handler with what all calls of the Web API have in common. The handler runs under the lock.
func (s *Server) api(handle func(*http.Request) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		fault := s.faults.next()
		var a answer
		switch {
		case fault != nil && !fault.After:
			a = fault.answer()
		case !s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]:
			// A 401 of the environment has no body; that of a gateway before it may have one.
			a = answer{status: http.StatusUnauthorized, header: http.Header{"WWW-Authenticate": {`Bearer authorization_uri="https://login.microsoftonline.com/"`}}}
		case r.Header.Get("OData-Version") != "4.0" || r.Header.Get("OData-MaxVersion") != "4.0":
			a = refuse(http.StatusBadRequest, "0x80060888", "OData-Version must be 4.0")
		default:
			a = handle(r)
			if fault != nil {
				lines := a.lines
				a = fault.answer()
				a.lines = lines
			}
		}
		s.mu.Unlock()
		for _, line := range a.lines {
			s.notify(line)
		}
		if a.cut {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("x-ms-ratelimit-burst-remaining-xrm-requests", "5999")
		a.write(w)
	}
}

func (a answer) write(w http.ResponseWriter) {
	body, contentType := a.encode()
	maps.Copy(w.Header(), a.header)
	w.Header().Set("OData-Version", "4.0")
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // the client's loss
}

func (a answer) encode() (body []byte, contentType string) {
	switch b := a.body.(type) {
	case nil:
		return nil, ""
	case string:
		return []byte(b), "text/html; charset=UTF-8"
	case []byte: // a batch, whose type is in the header
		return b, a.header.Get("Content-Type")
	}
	body, err := json.Marshal(a.body)
	if err != nil {
		panic(err) // our own bodies can be written
	}
	return body, "application/json; odata.metadata=minimal"
}

func (s *Server) whoAmI(r *http.Request) answer {
	return answer{status: http.StatusOK, body: map[string]string{
		"@odata.context": "http://" + r.Host + root + "$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse",
		"BusinessUnitId": "38e0dbe4-131b-e111-ba7e-78e7d1620f5e",
		"UserId":         "4026be43-6b69-e111-8f65-78e7d1620f5e",
		"OrganizationId": "883278f5-07af-45eb-a0bc-3fea67caa544",
	}}
}

func (s *Server) newID() string {
	s.created++
	return fmt.Sprintf("c0ffee00-0000-4000-8000-%012d", s.created)
}

// line says what changed in a row.
func line(table, ref string, changed map[string]any) string {
	if len(ref) > 24 {
		ref = ref[:21] + "..."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", table, ref)
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		v := changed[name]
		if v == nil {
			v = "null"
		}
		fmt.Fprintf(&b, " %s=%v", name, v)
	}
	return b.String()
}
