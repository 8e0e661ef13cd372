package sim

import "net/http"

// Fault is what becomes of one request to the Web API, or of one operation of a batch, instead of its work.
type Fault struct {
	// Status, Code and Message are the answer. An empty Message makes a page of HTML instead, as a proxy
	// in front of the API answers.
	Status        int
	Code, Message string
	Header        http.Header
	// Cut ends the connection without an answer. Only for requests.
	Cut bool
	// After lets the request do its work first. Only for requests.
	After bool
}

func (f Fault) answer() answer {
	if f.Cut {
		return answer{cut: true}
	}
	a := answer{status: f.Status, body: "<html><body>Our services aren't available right now</body></html>"}
	if f.Message != "" {
		a = refuse(f.Status, f.Code, "%s", f.Message)
	}
	a.header = f.Header.Clone()
	return a
}

type faults struct {
	requests   []Fault
	operations []*operationFault
	poison     map[string]bool
	token      []tokenError
}

type operationFault struct {
	Fault
	part string
	left int
}

func (f *faults) next() *Fault {
	if len(f.requests) == 0 {
		return nil
	}
	next := f.requests[0]
	f.requests = f.requests[1:]
	return &next
}

// FailNext makes the next n requests fail. Sign-ins do not count.
func (s *Server) FailNext(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults.requests = append(s.faults.requests, f)
	}
}

// FailOperation makes the next n operations fail whose method and address, unescaped, hold part.
func (s *Server) FailOperation(part string, n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.operations = append(s.faults.operations, &operationFault{f, part, n})
}

// Poison makes every batch fail as a whole that has an operation whose method and address hold part.
func (s *Server) Poison(part string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.poison == nil {
		s.faults.poison = map[string]bool{}
	}
	s.faults.poison[part] = true
}

// FailSignIns makes the next n token requests fail with an error of RFC 6749's shape.
func (s *Server) FailSignIns(n, status int, code, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults.token = append(s.faults.token, tokenError{status, code, description})
	}
}

// ExpireTokens ends all access tokens: the next call with each is answered with 401.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}
