// Package sim is a Marketo subscription: as much of the REST API as a plugin may meet, with real leads
// behind it. Tests and `consentd run --dev` use it. It is apart from package marketo so that neither can
// lean on the other's idea of the API; both are held to the vendor's own description.
package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/consentd/consentd/plugins/internal/faults"
)

// What signs in to the simulator, and the static list that it has.
const (
	ClientID     = "simulated-client"
	ClientSecret = "simulated-secret"
	ListID       = "1021"
)

const (
	maxBody   = 1 << 20
	maxURI    = 8 << 10
	maxRows   = 300
	maxAtOnce = 10
)

// Server is the simulated subscription. It is safe for concurrent use.
type Server struct {
	mux    *http.ServeMux
	notify func(line string)

	mu      sync.Mutex
	leads   []map[string]any
	made    int
	fields  map[string]string // types by name
	lists   map[string]map[int]bool
	token   string
	signIns int
	atOnce  int
	faults  faults.Queue[Fault]
}

// New makes a simulator. The notify function, if not nil, is told of each change of a lead in one line with
// the address and what is opted out, in the order of the changes. It must not call the simulator.
func New(notify func(line string)) *Server {
	if notify == nil {
		notify = func(string) {}
	}
	s := &Server{
		mux: http.NewServeMux(), notify: notify,
		lists: map[string]map[int]bool{ListID: {}, "1022": {}},
		fields: map[string]string{
			"id": "integer", "email": "email", "firstName": "string", "lastName": "string", "city": "string", "customerNumber": "string",
			"interests": "string", "children": "integer", "vip": "boolean",
			"unsubscribed": "boolean", "unsubscribedReason": "string", "marketingSuspended": "boolean", "marketingSuspendedCause": "string",
			"doNotCall": "boolean", "doNotCallReason": "string", "blackListed": "boolean", "blackListedCause": "string",
		},
	}
	for pattern, handle := range map[string]handler{
		"GET /rest/v1/leads.json":                 s.get,
		"POST /rest/v1/leads.json":                s.sync,
		"POST /rest/v1/leads/delete.json":         s.remove,
		"GET /rest/v1/leads/describe2.json":       s.describe,
		"POST /rest/v1/lists/{list}/leads.json":   s.addToList,
		"DELETE /rest/v1/lists/{list}/leads.json": s.takeOffList,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, handle) })
	}
	s.mux.HandleFunc("/identity/oauth/token", s.identity)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { failure("610", "Requested resource not found").write(w) })
	return s
}

// Lead is the first lead whose field has the value, without what is null.
func (s *Server) Lead(field, value string) (map[string]any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.find(field, value); len(found) > 0 {
		return maps.Clone(found[0]), true
	}
	return nil, false
}

// Leads counts the leads whose field has the value.
func (s *Server) Leads(field, value string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.find(field, value))
}

// Put makes a lead as somebody else would, without checks and without a notice.
func (s *Server) Put(fields map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(maps.Clone(fields))
}

// OnList is whether the lead is on a static list.
func (s *Server) OnList(list, field, value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.find(field, value)
	return len(found) > 0 && s.lists[list][found[0]["id"].(int)]
}

// ExpireToken ends the access token that was given out.
func (s *Server) ExpireToken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = ""
}

// SignIns counts the tokens given out.
func (s *Server) SignIns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signIns
}

func (s *Server) add(lead map[string]any) map[string]any {
	s.made++
	lead["id"] = s.made
	s.leads = append(s.leads, lead)
	return lead
}

func (s *Server) find(field, value string) []map[string]any {
	var found []map[string]any
	for _, lead := range s.leads {
		if is := lead[field]; is != nil && strings.EqualFold(fmt.Sprint(is), value) {
			found = append(found, lead)
		}
	}
	return found
}

// handler answers one authenticated request. It runs under the lock.
type handler func(r *http.Request, body []byte) answer

// answer is the body of a response; the status is 200 for nearly all of them.
type answer map[string]any

func success(result ...map[string]any) answer {
	if result == nil {
		result = []map[string]any{}
	}
	return answer{"requestId": "e42b#14272d07d78", "success": true, "result": result}
}

func failure(code, message string) answer {
	return answer{"requestId": "e42b#14272d07d78", "success": false, "errors": []map[string]string{{"code": code, "message": message}}}
}

func skipped(code, message string) map[string]any {
	return map[string]any{"status": "skipped", "reasons": []map[string]string{{"code": code, "message": message}}}
}

func (a answer) write(w http.ResponseWriter) { write(w, http.StatusOK, a) }

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone cannot be told
}

// ServeHTTP answers as the vendor does, after the faults that were injected.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := s.fault(r)
	switch {
	case fault == nil:
		s.mux.ServeHTTP(w, r)
	case fault.Cut:
		s.mux.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case fault.Code != "":
		failure(fault.Code, fault.Message).write(w)
	default:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(fault.Status)
		fmt.Fprint(w, "<html>", fault.Message, "</html>")
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, handle handler) {
	s.mu.Lock()
	s.atOnce++
	busy := s.atOnce > maxAtOnce
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.atOnce--
		s.mu.Unlock()
	}()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case err != nil:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	case len(r.RequestURI) > maxURI:
		w.WriteHeader(http.StatusRequestURITooLong)
		return
	case busy:
		failure("615", "Concurrent access limit reached").write(w)
		return
	}
	s.mu.Lock()
	var a answer
	switch {
	case s.token == "" || r.Header.Get("Authorization") != "Bearer "+s.token:
		a = failure("602", "Access token expired")
	case len(body) > 0 && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		a = failure("612", "Invalid Content Type")
	default:
		a = handle(r, body)
	}
	s.mu.Unlock()
	a.write(w)
}

// identity gives out the same token until it ends, as the vendor does.
func (s *Server) identity(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("grant_type") != "client_credentials" || q.Get("client_id") != ClientID || q.Get("client_secret") != ClientSecret {
		write(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client", "error_description": "Bad client credentials"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signIns++
	if s.token == "" {
		s.token = fmt.Sprintf("token-%d:ab", s.signIns)
	}
	write(w, http.StatusOK, map[string]any{"access_token": s.token, "token_type": "bearer", "expires_in": 3599, "scope": "api@example.org"})
}
