package sim

import (
	"maps"
	"net/http"
	"strings"
)

// Fault is what goes wrong with requests.
type Fault struct {
	// Times is how many requests it hits; negative is all.
	Times int
	// Method and Path choose the requests: the method, and a part of the path. Empty is any.
	Method, Path string

	// Problem is answered in place of what was asked for.
	Problem *Problem
	// Status and Body, as text/html, are answered if there is no Problem. Header goes with either.
	Status int
	Body   string
	Header http.Header
	// Drop does what was asked for and cuts the connection in place of an answer.
	Drop bool
}

// Inject adds a fault behind those that are there. A request meets the first that fits.
func (s *Server) Inject(f Fault) { s.faults.Add(f, f.Times) }

func (s *Server) fault(r *http.Request) *Fault {
	return s.faults.Next(func(f *Fault) bool {
		return (f.Method == "" || f.Method == r.Method) && strings.Contains(r.URL.Path, f.Path)
	})
}

func (f *Fault) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), f.Header)
	if f.Problem != nil {
		write(w, f.Problem.Status, f.Problem)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(f.Body)) // the client's loss
}

// Poison makes every upsert fail as a whole that holds the address.
func (s *Server) Poison(email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poison[strings.ToLower(email)] = true
}

// RefuseRow gives an address an error of its own in every upsert.
func (s *Server) RefuseRow(email string, p *Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[strings.ToLower(email)] = *p
}

// DefineProperties says which properties there are.
func (s *Server) DefineProperties(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.properties = map[string]bool{}
	for _, n := range names {
		s.properties[n] = true
	}
}

// DefineSubscriptions says which subscription types there are.
func (s *Server) DefineSubscriptions(ids ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.types = map[int64]bool{}
	for _, id := range ids {
		s.types[id] = true
	}
}

// Privacy turns the account's privacy settings on: a legal basis is then required.
func (s *Server) Privacy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.privacy = true
}

// Enterprise allows the batch calls for subscriptions.
func (s *Server) Enterprise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enterprise = true
}

// CallsLeft is what the rate header says from now on.
func (s *Server) CallsLeft(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = n
}

// BeforeWrite runs once, before the next request that writes.
func (s *Server) BeforeWrite(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = do
}

// ExpireTokens ends all access tokens but that of the private app.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = map[string]bool{AccessToken: true}
}

// SignIns is how many access tokens were given out.
func (s *Server) SignIns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signIns
}
