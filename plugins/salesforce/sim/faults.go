package sim

import "net/http"

// Fault is what becomes of one API request instead of, or after, its work.
type Fault struct {
	// Status, Code and Message are the answer. An empty Code makes a page of HTML instead, as a proxy
	// in front of the API answers.
	Status        int
	Code, Message string
	Header        http.Header
	// Cut ends the connection without an answer.
	Cut bool
	// After lets the request do its work first.
	After bool
}

func (f *Fault) answer() answer {
	if f.Code == "" {
		return answer{status: f.Status, body: "<html><body>Salesforce is down for maintenance</body></html>"}
	}
	return refuse(f.Status, f.Code, "%s", f.Message)
}

// RowFault is the error of a row.
type RowFault struct {
	Code, Message string
	Fields        []string
}

type faults struct {
	requests []Fault
	rows     map[string]*rowFault // by external id
	poison   map[string]bool      // external ids that no call with them survives
	token    []tokenError
}

type rowFault struct {
	RowFault
	left int
}

type tokenError struct {
	status      int
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (f *faults) next() *Fault {
	if len(f.requests) == 0 {
		return nil
	}
	next := f.requests[0]
	f.requests = f.requests[1:]
	return &next
}

func (f *faults) row(externalID string) (RowFault, bool) {
	fault := f.rows[externalID]
	if fault == nil || fault.left == 0 {
		return RowFault{}, false
	}
	fault.left--
	return fault.RowFault, true
}

// FailNext makes the next n API requests fail. Sign-ins do not count.
func (s *Server) FailNext(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults.requests = append(s.faults.requests, f)
	}
}

// FailRow makes the next n upserts of the external id fail with f.
func (s *Server) FailRow(externalID string, n int, f RowFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.rows == nil {
		s.faults.rows = map[string]*rowFault{}
	}
	s.faults.rows[externalID] = &rowFault{f, n}
}

// LockRow makes the next n upserts of the external id meet another transaction.
func (s *Server) LockRow(externalID string, n int) {
	s.FailRow(externalID, n, RowFault{Code: "UNABLE_TO_LOCK_ROW", Message: "unable to obtain exclusive access to this record or 1 records"})
}

// Poison makes every call that holds the external id fail as a whole, as if the parser met it.
func (s *Server) Poison(externalID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.poison == nil {
		s.faults.poison = map[string]bool{}
	}
	s.faults.poison[externalID] = true
}

// FailSignIns makes the next n token requests fail with an error of RFC 6749's shape.
func (s *Server) FailSignIns(n, status int, code, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults.token = append(s.faults.token, tokenError{status, code, description})
	}
}

// ExpireSessions ends all sessions: the next call of each is answered with INVALID_SESSION_ID.
func (s *Server) ExpireSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// SetRequestLimit sets the daily allowance of API requests and starts the day anew.
func (s *Server) SetRequestLimit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used, s.limit = 0, n
}
