// Package sim is an HTTP endpoint that takes what the webhook plugin sends, as a good receiver would:
// a repeat with the same Idempotency-Key is answered and changes nothing. It is apart from the plugin
// because `run --dev` serves it too. It keeps all in memory and checks no credential.
package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Server is the endpoint. Any path will do. It is safe for concurrent use.
type Server struct {
	notify func(line string)

	mu       sync.Mutex
	requests int
	bodies   map[string]string // by Idempotency-Key
	last     map[string]string // by path
	faults   []Fault
}

// Fault is an answer given in place of the right one. Nothing is kept of its request.
type Fault struct {
	Status int
	Header http.Header
	Body   string
	// Drop closes the connection instead of answering.
	Drop bool
}

// New makes a Server that tells of each request in a line without its path and body, which may hold
// personal data. Notify may be nil.
func New(notify func(line string)) *Server {
	if notify == nil {
		notify = func(string) {}
	}
	return &Server{notify: notify, bodies: map[string]string{}, last: map[string]string{}}
}

// Fail lets the next requests, one for each fault, run into them.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Requests is how many came in, those that failed included.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Body is what came with an Idempotency-Key, or empty.
func (s *Server) Body(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodies[key]
}

// Last is what came last to an escaped path, or empty.
func (s *Server) Last(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[path]
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	status := s.take(w, r, string(body))
	s.notify(fmt.Sprintf("%s, %d bytes: %d %s", r.Method, len(body), status, http.StatusText(status)))
}

// take answers one request and says with what status.
func (s *Server) take(w http.ResponseWriter, r *http.Request, body string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if len(s.faults) > 0 {
		fault := s.faults[0]
		s.faults = s.faults[1:]
		if fault.Drop {
			panic(http.ErrAbortHandler)
		}
		for name, values := range fault.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(fault.Status)
		io.WriteString(w, fault.Body)
		return fault.Status
	}
	key := r.Header.Get("Idempotency-Key")
	known, repeat := s.bodies[key]
	status, text := http.StatusOK, `{"status":"taken"}`
	switch {
	case r.Method != http.MethodPost && r.Method != http.MethodPut && r.Method != http.MethodPatch:
		status, text = http.StatusMethodNotAllowed, `{"error":"only POST, PUT and PATCH"}`
	case r.Header.Get("Content-Type") != "application/json" || !json.Valid([]byte(body)):
		status, text = http.StatusUnsupportedMediaType, `{"error":"not JSON"}`
	case key == "":
		status, text = http.StatusBadRequest, `{"error":"no Idempotency-Key"}`
	case repeat && known != body:
		// The same key for something else is a mistake of the sender, which a receiver should not hide.
		status, text = http.StatusUnprocessableEntity, `{"error":"Idempotency-Key is of another body"}`
	case repeat:
		text = `{"status":"known"}`
	default:
		s.bodies[key] = body
		s.last[r.URL.EscapedPath()] = body
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, text)
	return status
}
