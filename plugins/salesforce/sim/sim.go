// Package sim is a Salesforce org in memory: enough of its OAuth endpoint and REST API to show and to
// test what the plugin does, with state, field checks, the vendor's shapes of errors, and failures on
// demand. It is apart from the plugin because `consentd run --dev` serves it too.
//
// The shapes are those that Salesforce documents. Where its documentation is silent (noted at the
// place) the simulator takes what is known from the field.
package sim

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// What signs in to the simulator. The JWT bearer flow needs SetPublicKey first.
const (
	ClientID     = "simulated-consumer-key"
	ClientSecret = "simulated-consumer-secret"
	Username     = "integration@consentd.example"
	RefreshToken = "simulated-refresh-token"
)

// DefaultRequestLimit is the org's daily allowance of API requests.
const DefaultRequestLimit = 100_000

// Server is one org. It is an http.Handler and safe for concurrent use.
type Server struct {
	mux    *http.ServeMux
	notify func(line string)

	mu           sync.Mutex
	rows         map[string][]map[string]any // by object; each holds Id and its fields that are not null
	created      int                         // rows ever, for their ids
	sessions     map[string]bool
	signIns      int
	refreshToken string
	rotate       bool
	publicKey    *rsa.PublicKey
	used, limit  int // API requests
	faults       faults
}

// New makes an empty org. notify, which may be nil, gets one short line for each change of a row:
//
//	Contact CPM_Id__c=5f0c2b1a... HasOptedOutOfEmail=false
func New(notify func(line string)) *Server {
	s := &Server{
		mux:          http.NewServeMux(),
		notify:       notify,
		rows:         map[string][]map[string]any{},
		sessions:     map[string]bool{},
		refreshToken: RefreshToken,
		limit:        DefaultRequestLimit,
	}
	if s.notify == nil {
		s.notify = func(string) {}
	}
	s.mux.HandleFunc("POST /services/oauth2/token", s.token)
	const root = "/services/data/{version}"
	s.mux.HandleFunc("GET "+root+"/{$}", s.api(s.resources))
	s.mux.HandleFunc("GET "+root+"/limits", s.api(s.limits))
	s.mux.HandleFunc("GET "+root+"/query/{$}", s.api(s.query))
	s.mux.HandleFunc("POST "+root+"/composite/{$}", s.api(s.composite))
	s.mux.HandleFunc("PATCH "+root+"/composite/sobjects/{object}/{field}", s.api(s.upsert))
	s.mux.HandleFunc("GET "+root+"/sobjects/{object}/{id}", s.api(s.get))
	s.mux.HandleFunc("GET "+root+"/sobjects/{object}/{field}/{value}", s.api(s.get))
	s.mux.HandleFunc("DELETE "+root+"/sobjects/{object}/{id}", s.api(s.remove))
	s.mux.HandleFunc("DELETE "+root+"/sobjects/{object}/{field}/{value}", s.api(s.remove))
	s.mux.HandleFunc("/", s.api(func(*http.Request) answer { return notFound() }))
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Record returns the row of object whose field has the value, with Id and without fields that are null.
func (s *Server) Record(object, field, value string) (map[string]any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.find(object, field, value)
	if len(found) == 0 {
		return nil, false
	}
	return maps.Clone(found[0]), true
}

// Put adds a row as somebody else would, without checks and without a notice.
func (s *Server) Put(object string, fields map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row := maps.Clone(fields)
	row["Id"] = s.newID(object)
	s.rows[object] = append(s.rows[object], row)
}

// answer is a response before it is written; a nil body is none.
type answer struct {
	status int
	body   any
	lines  []string // what to notify
}

// apiError is one error of an answer to a whole call.
type apiError struct {
	Message   string   `json:"message"`
	ErrorCode string   `json:"errorCode"`
	Fields    []string `json:"fields,omitempty"`
}

func refuse(status int, code, format string, args ...any) answer {
	return answer{status: status, body: []apiError{{Message: fmt.Sprintf(format, args...), ErrorCode: code}}}
}

func notFound() answer {
	return refuse(http.StatusNotFound, "NOT_FOUND", "The requested resource does not exist")
}

// api wraps a handler with what all calls of the REST API have in common. The handler runs under the
// lock.
func (s *Server) api(handle func(*http.Request) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		fault := s.faults.next()
		var a answer
		switch {
		case fault != nil && fault.Cut && !fault.After:
		case fault != nil && !fault.After:
			a = fault.answer()
		case !s.sessions[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]:
			a = refuse(http.StatusUnauthorized, "INVALID_SESSION_ID", "Session expired or invalid")
		case s.used >= s.limit:
			a = refuse(http.StatusForbidden, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
		case !versionForm.MatchString(r.PathValue("version")):
			s.used++
			a = notFound()
		default:
			s.used++
			a = handle(r)
			if fault != nil && !fault.Cut {
				a = answer{status: fault.Status, body: fault.answer().body, lines: a.lines}
			}
		}
		w.Header().Set("Sforce-Limit-Info", fmt.Sprintf("api-usage=%d/%d", s.used, s.limit))
		s.mu.Unlock()
		for _, line := range a.lines {
			s.notify(line)
		}
		if fault != nil && fault.Cut {
			panic(http.ErrAbortHandler)
		}
		if fault != nil {
			maps.Copy(w.Header(), fault.Header)
		}
		write(w, a.status, a.body)
	}
}

func write(w http.ResponseWriter, status int, body any) {
	if text, ok := body.(string); ok {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text)) // the client's loss
		return
	}
	if body != nil {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	}
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}

func (s *Server) resources(r *http.Request) answer {
	root := "/services/data/" + r.PathValue("version")
	return answer{status: http.StatusOK, body: map[string]string{
		"composite": root + "/composite", "limits": root + "/limits", "query": root + "/query", "sobjects": root + "/sobjects",
	}}
}

func (s *Server) limits(*http.Request) answer {
	return answer{status: http.StatusOK, body: map[string]any{
		"DailyApiRequests": map[string]int{"Max": s.limit, "Remaining": s.limit - s.used},
	}}
}

// newID makes a record id: the object's key prefix, then a number. Prefixes of standard objects are
// Salesforce's own, without a promise for the others.
func (s *Server) newID(object string) string {
	s.created++
	prefix := "a00"
	if def, ok := objects[object]; ok {
		prefix = def.prefix
	}
	return fmt.Sprintf("%sSIM%09dAAA", prefix, s.created)
}

// line says what changed in a row.
func line(object, field, value string, changed map[string]any) string {
	if len(value) > 11 {
		value = value[:8] + "..."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s=%s", object, field, value)
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		v := changed[name]
		if v == nil {
			v = "null"
		}
		fmt.Fprintf(&b, " %s=%v", name, v)
	}
	return b.String()
}
