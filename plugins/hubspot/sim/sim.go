// Package sim is a HubSpot account: as much of the contacts API (v3), of the subscription preferences API
// (v4) and of its sign-in as a plugin may meet, with real contacts behind it. Tests and `consentd run
// --dev` use it. It is apart from package hubspot so that neither can lean on the other's idea of the API.
//
// The shapes are those of HubSpot's documents. What they are silent about (the texts of errors, what an
// unknown address reads as) is taken from recorded answers, or invented where there are none.
package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/consentd/consentd/plugins/internal/faults"
)

// What the simulated account is preset with.
const (
	AccessToken  = "pat-eu1-simulated"
	ClientID     = "simulated-client"
	ClientSecret = "simulated-client-secret"
	RefreshToken = "simulated-refresh-token"
)

// maxBody is the longest request body that is read, in bytes.
const maxBody = 4 << 20

// Server is the simulated account. It is safe for concurrent use.
type Server struct {
	mux    *http.ServeMux
	notify func(line string)

	mu         sync.Mutex
	contacts   map[string]*contact // by address in lower case
	blocked    map[string]bool     // addresses that were deleted for good
	statuses   map[string]map[int64]Status
	properties map[string]bool // nil: all that are named
	types      map[int64]bool  // nil: all that are named
	privacy    bool
	enterprise bool
	poison     map[string]bool
	refused    map[string]Problem
	faults     faults.Queue[Fault]
	created    int
	tokens     map[string]bool
	signIns    int
	left       int
	before     func()
}

// New makes a simulator. The notify function, if not nil, is told of each change in one line. It must not
// call the simulator. The account takes every property and subscription type that a request names, until
// one of the Define methods says which there are.
func New(notify func(line string)) *Server {
	if notify == nil {
		notify = func(string) {}
	}
	s := &Server{
		mux: http.NewServeMux(), notify: notify, contacts: map[string]*contact{}, blocked: map[string]bool{},
		statuses: map[string]map[int64]Status{}, poison: map[string]bool{}, refused: map[string]Problem{},
		tokens: map[string]bool{AccessToken: true}, left: 100,
	}
	const contacts, preferences = "/crm/v3/objects/contacts", "/communication-preferences/v4/"
	for pattern, handle := range map[string]handler{
		"GET " + contacts:                              s.list,
		"POST " + contacts + "/batch/read":             s.read,
		"POST " + contacts + "/batch/upsert":           s.upsert,
		"POST " + contacts + "/gdpr-delete":            s.erase,
		"GET " + preferences + "definitions":           s.definitions,
		"GET " + preferences + "statuses/{email}":      s.getStatuses,
		"POST " + preferences + "statuses/{email}":     s.postStatus,
		"POST " + preferences + "statuses/batch/read":  s.readStatuses,
		"POST " + preferences + "statuses/batch/write": s.writeStatuses,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, handle) })
	}
	s.mux.HandleFunc("POST /oauth/v3/token", s.token)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound) // HubSpot's page for an address that it does not know
	})
	return s
}

// Problem is HubSpot's error. Status is its HTTP status where it is one of a whole call.
type Problem struct {
	Status   int                 `json:"-"`
	Kind     string              `json:"status"` // always "error"
	Category string              `json:"category,omitempty"`
	Message  string              `json:"message"`
	ID       string              `json:"correlationId,omitempty"`
	Policy   string              `json:"policyName,omitempty"`
	Type     string              `json:"errorType,omitempty"`
	Context  map[string][]string `json:"context,omitempty"`
	Errors   []Detail            `json:"errors,omitempty"`
}

// Detail is one part of a Problem.
type Detail struct {
	Message string              `json:"message"`
	Code    string              `json:"code,omitempty"`
	Context map[string][]string `json:"context,omitempty"`
}

// Refuse makes a problem.
func Refuse(status int, category, format string, args ...any) *Problem {
	return &Problem{Status: status, Kind: "error", Category: category, Message: fmt.Sprintf(format, args...), ID: "aeb5f871-7f07-4993-9211-075dc63e7cbf"}
}

// InvalidProperty is the problem of one property of a write, as recorded answers have it.
func InvalidProperty(code, name, message string) *Problem {
	list, _ := json.Marshal([]map[string]any{{"isValid": false, "message": message, "error": code, "name": name}}) // strings and a bool
	return Refuse(http.StatusBadRequest, "VALIDATION_ERROR", "Property values were not valid: %s", list)
}

// handler answers an authenticated request under the lock. A nil answer has no body.
type handler func(r *http.Request, body []byte) (status int, answer any)

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := s.fault(r)
	switch {
	case fault == nil:
		s.mux.ServeHTTP(w, r)
	case fault.Drop:
		s.mux.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	default:
		fault.write(w)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, handle handler) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		write(w, http.StatusRequestEntityTooLarge, Refuse(0, "VALIDATION_ERROR", "The request is too large"))
		return
	}
	s.mu.Lock()
	before := s.before
	if r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/read") {
		s.before = nil
	} else {
		before = nil
	}
	s.mu.Unlock()
	if before != nil {
		before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("X-HubSpot-RateLimit-Max", "100")
	w.Header().Set("X-HubSpot-RateLimit-Remaining", fmt.Sprint(s.left))
	w.Header().Set("X-HubSpot-RateLimit-Interval-Milliseconds", "10000")
	if !s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		write(w, http.StatusUnauthorized, Refuse(0, "INVALID_AUTHENTICATION", "Authentication credentials not found."))
		return
	}
	status, answer := handle(r, body)
	write(w, status, answer)
}

// token is the sign-in of OAuth 2.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.ParseForm() != nil || r.PostForm.Get("grant_type") != "refresh_token" || r.PostForm.Get("client_id") != ClientID ||
		r.PostForm.Get("client_secret") != ClientSecret || r.PostForm.Get("refresh_token") != RefreshToken {
		write(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "refresh token is invalid", "status": "BAD_REFRESH_TOKEN"})
		return
	}
	s.signIns++
	token := fmt.Sprintf("simulated-access-%d", s.signIns)
	s.tokens[token] = true
	write(w, http.StatusOK, map[string]any{"token_type": "bearer", "access_token": token, "refresh_token": RefreshToken, "expires_in": 1800, "hub_id": 1})
}

func write(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone cannot be told
}

func fail(p *Problem) (int, any) { return p.Status, p }

// complete is the frame of all answers with results.
func complete(results any, errors []Problem) (int, any) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	answer := map[string]any{"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
	if len(errors) == 0 {
		return http.StatusOK, answer
	}
	answer["errors"], answer["numErrors"] = errors, len(errors)
	return http.StatusMultiStatus, answer
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
