package sim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// Fault is what becomes of requests in place of their answer.
type Fault struct {
	// Times is how many requests it hits; negative is all.
	Times int
	// Path and Body choose the requests: the end of the path, and a part of the body. Empty is any.
	Path, Body string
	// Status is answered with Message as the API does, or without a Message with Page, as HTML. Zero cuts
	// the connection.
	Status        int
	Message, Page string
	// Errors are the errors array beside the Message.
	Errors []any
	Header http.Header
	// After does what was asked for first.
	After bool
}

// objectFault is an error of objects about one person.
type objectFault struct {
	kind string
	left int
}

// Inject adds a fault behind those that are there. A request meets the first that fits.
func (s *Server) Inject(f Fault) { s.faults.Add(f, f.Times) }

// FailObject makes the next n attributes objects with an external id fail with an error type.
func (s *Server) FailObject(externalID string, n int, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.types[externalID] = &objectFault{kind, n}
}

// Poison makes every call that names the word fail as a whole, as if the parser met it.
func (s *Server) Poison(word string) {
	s.Inject(Fault{Times: -1, Body: word, Status: http.StatusBadRequest, Message: "Bad Request"})
}

func (s *Server) fault(r *http.Request, body []byte) *Fault {
	return s.faults.Next(func(f *Fault) bool {
		return strings.HasSuffix(r.URL.Path, f.Path) && bytes.Contains(body, []byte(f.Body))
	})
}

func (f *Fault) write(w http.ResponseWriter) {
	for name, values := range f.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	switch {
	case f.Status == 0:
		panic(http.ErrAbortHandler)
	case f.Message == "":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Page)) // the client's loss
	default:
		write(w, refuse(f.Status, f.Message, f.Errors...))
	}
}

// objectError is an entry of the errors array.
func objectError(kind string, index int) map[string]any {
	return map[string]any{"type": kind, "input_array": "attributes", "index": index}
}

func parse(body []byte, into any) *answer {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(into) != nil {
		a := refuse(http.StatusBadRequest, "Bad Request")
		return &a
	}
	return nil
}
