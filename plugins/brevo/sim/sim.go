// Package sim is a Brevo account: as much of the contacts API (v3) as a plugin may meet, with real contacts
// behind it. Tests and `consentd run --dev` use it. It is apart from package brevo so that neither can lean
// on the other's idea of the API; both are held to the vendor's own description.
package sim

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/consentd/consentd/plugins/internal/faults"
)

// What the simulated account is preset with.
const (
	APIKey   = "xkeysib-simulated"
	BasePath = "/v3"
)

// Attributes are those that a new account has: by name, with the type. Define adds others.
var attributes = map[string]string{"FIRSTNAME": "text", "LASTNAME": "text", "SMS": "text", "CITY": "text", "INTERESTS": "text"}

// Contact is what the account holds of a person.
type Contact struct {
	ID                             int64
	Email, ExtID                   string
	EmailBlacklisted, SMSBlacklist bool
	Attributes                     map[string]any
	Lists, Left                    []int64
}

// Server is the simulated account. It is safe for concurrent use.
type Server struct {
	mux    *http.ServeMux
	notify func(line string)

	mu         sync.Mutex
	contacts   map[string]*Contact // by address in lower case
	attributes map[string]string
	lists      map[int64]bool // nil: all that are named
	faults     faults.Queue[Fault]
	created    int64
	left       string
}

// New makes a simulator. The notify function, if not nil, is told of each change in one line. It must not
// call the simulator. The account takes every list that a request names, until DefineLists says which there
// are.
func New(notify func(line string)) *Server {
	if notify == nil {
		notify = func(string) {}
	}
	s := &Server{mux: http.NewServeMux(), notify: notify, contacts: map[string]*Contact{}, attributes: maps.Clone(attributes), left: "9"}
	for pattern, handle := range map[string]handler{
		"GET /contacts/attributes":      s.listAttributes,
		"POST /contacts":                s.create,
		"GET /contacts/{identifier}":    s.get,
		"PUT /contacts/{identifier}":    s.update,
		"DELETE /contacts/{identifier}": s.remove,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" "+BasePath+path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, handle) })
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	return s
}

// Problem is Brevo's error.
type Problem struct {
	Status   int            `json:"-"`
	Code     string         `json:"code"`
	Message  string         `json:"message"`
	Metadata map[string]any `json:"metadata,omitempty"`
}

// Refuse makes a problem.
func Refuse(status int, code, format string, args ...any) *Problem {
	return &Problem{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Taken is the problem of an address ("email") or a telephone number ("SMS") that another contact has.
func Taken(identifier string) *Problem {
	p := Refuse(http.StatusBadRequest, "duplicate_parameter", "Unable to create contact, %s is already associated with another Contact", identifier)
	p.Metadata = map[string]any{"duplicate_identifiers": []string{identifier}}
	return p
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
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		write(w, http.StatusRequestEntityTooLarge, Refuse(0, "bad_request", "too large"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("x-sib-ratelimit-limit", "10")
	w.Header().Set("x-sib-ratelimit-remaining", s.left)
	w.Header().Set("x-sib-ratelimit-reset", "1")
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("api-key")), []byte(APIKey)) != 1 {
		write(w, http.StatusUnauthorized, Refuse(0, "unauthorized", "Key not found"))
		return
	}
	status, answer := handle(r, body)
	write(w, status, answer)
}

func write(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone cannot be told
}

func fail(p *Problem) (int, any) { return p.Status, p }

func (s *Server) listAttributes(*http.Request, []byte) (int, any) {
	all := []any{}
	for _, name := range slices.Sorted(maps.Keys(s.attributes)) {
		all = append(all, map[string]any{"name": name, "category": "normal", "type": s.attributes[name]})
	}
	return http.StatusOK, map[string]any{"attributes": all}
}

func (s *Server) find(r *http.Request) (*Contact, *Problem) {
	if c := s.contacts[strings.ToLower(r.PathValue("identifier"))]; c != nil {
		return c, nil
	}
	return nil, Refuse(http.StatusNotFound, "document_not_found", "Contact does not exist")
}

func (s *Server) get(r *http.Request, _ []byte) (int, any) {
	c, p := s.find(r)
	if p != nil {
		return fail(p)
	}
	answer := map[string]any{
		"id": c.ID, "email": c.Email, "emailBlacklisted": c.EmailBlacklisted, "smsBlacklisted": c.SMSBlacklist,
		"createdAt": "2026-01-05T09:00:00Z", "modifiedAt": "2026-01-05T09:00:00Z",
		"attributes": c.Attributes, "listIds": c.Lists, "statistics": map[string]any{},
	}
	if c.ExtID != "" {
		answer["ext_id"] = c.ExtID
	}
	if len(c.Left) > 0 {
		answer["listUnsubscribed"] = c.Left
	}
	return http.StatusOK, answer
}

type change struct {
	Email            string
	ExtID            *string `json:"ext_id"`
	Attributes       map[string]any
	EmailBlacklisted *bool
	SMSBlacklisted   *bool
	ListIDs          []int64
	UnlinkListIDs    []int64
	UpdateEnabled    bool
}

func (s *Server) create(_ *http.Request, body []byte) (int, any) {
	var in change
	if json.Unmarshal(body, &in) != nil {
		return fail(Refuse(400, "bad_request", "Input must be a valid JSON object"))
	}
	_, domain, _ := strings.Cut(in.Email, "@")
	switch {
	case !strings.Contains(domain, "."):
		return fail(Refuse(400, "invalid_parameter", "Invalid email address"))
	case s.contacts[strings.ToLower(in.Email)] != nil:
		return fail(Taken("email"))
	}
	c := &Contact{ID: s.created + 1, Email: strings.ToLower(in.Email), Attributes: map[string]any{}, Lists: []int64{}}
	if p := s.apply(c, in); p != nil {
		return fail(p)
	}
	s.created++
	s.contacts[c.Email] = c
	return http.StatusCreated, map[string]any{"id": c.ID}
}

func (s *Server) update(r *http.Request, body []byte) (int, any) {
	c, p := s.find(r)
	if p != nil {
		return fail(p)
	}
	var in change
	if json.Unmarshal(body, &in) != nil {
		return fail(Refuse(400, "bad_request", "Input must be a valid JSON object"))
	}
	if p := s.apply(c, in); p != nil {
		return fail(p)
	}
	return http.StatusNoContent, nil
}

// apply refuses a change whole, or makes it but for attributes that there are not, or that are of another
// type: Brevo ignores those.
func (s *Server) apply(c *Contact, in change) *Problem {
	for _, id := range slices.Concat(in.ListIDs, in.UnlinkListIDs) {
		if s.lists != nil && !s.lists[id] {
			return Refuse(400, "invalid_parameter", "List ID %d does not exist", id)
		}
	}
	if sms, given := in.Attributes["SMS"].(string); given && sms != "" {
		if !strings.HasPrefix(sms, "+") && !strings.HasPrefix(sms, "00") {
			return Refuse(400, "invalid_parameter", "Invalid phone number")
		}
		for _, other := range s.contacts {
			if other != c && other.Attributes["SMS"] == sms {
				return Taken("SMS")
			}
		}
	}
	for name, value := range in.Attributes {
		typ, there := s.attributes[name]
		_, isNumber := value.(float64)
		switch {
		case !there, typ == "float" && !isNumber && value != "":
		case value == "":
			delete(c.Attributes, name)
		default:
			c.Attributes[name] = value
		}
	}
	if in.ExtID != nil {
		c.ExtID = *in.ExtID
	}
	if in.EmailBlacklisted != nil {
		c.EmailBlacklisted = *in.EmailBlacklisted
	}
	if in.SMSBlacklisted != nil {
		c.SMSBlacklist = *in.SMSBlacklisted
	}
	for _, id := range in.ListIDs {
		c.Left = slices.DeleteFunc(c.Left, func(left int64) bool { return left == id })
		if !slices.Contains(c.Lists, id) {
			c.Lists = append(c.Lists, id)
		}
	}
	c.Lists = slices.DeleteFunc(c.Lists, func(id int64) bool { return slices.Contains(in.UnlinkListIDs, id) })
	s.notify(fmt.Sprintf("%s emailBlacklisted=%t smsBlacklisted=%t lists=%v", c.Email, c.EmailBlacklisted, c.SMSBlacklist, c.Lists))
	return nil
}

func (s *Server) remove(r *http.Request, _ []byte) (int, any) {
	c, p := s.find(r)
	if p != nil {
		return fail(p)
	}
	delete(s.contacts, c.Email)
	s.notify(c.Email + " deleted")
	return http.StatusNoContent, nil
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
