package sim

import (
	"maps"
	"net/http"
	"slices"
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

// Contact returns the contact with an address, and whether there is one.
func (s *Server) Contact(email string) (Contact, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.contacts[strings.ToLower(email)]
	if c == nil {
		return Contact{}, false
	}
	return c.clone(), true
}

func (c *Contact) clone() Contact {
	copied := *c
	copied.Attributes, copied.Lists, copied.Left = maps.Clone(c.Attributes), slices.Sorted(slices.Values(c.Lists)), slices.Clone(c.Left)
	return copied
}

// People returns all contacts by address, without their ids.
func (s *Server) People() map[string]Contact {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]Contact{}
	for email, c := range s.contacts {
		copied := c.clone()
		copied.ID = 0
		all[email] = copied
	}
	return all
}

// Put makes or replaces a contact as somebody else would, without checks and without a notice.
func (s *Server) Put(c Contact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created++
	c.ID, c.Email = s.created, strings.ToLower(c.Email)
	if c.Attributes == nil {
		c.Attributes = map[string]any{}
	}
	if c.Lists == nil {
		c.Lists = []int64{}
	}
	s.contacts[c.Email] = &c
}

// Define adds an attribute of a type: text, date, float, id or boolean.
func (s *Server) Define(attribute, typ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attributes[attribute] = typ
}

// DefineLists says which lists there are.
func (s *Server) DefineLists(ids ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists = map[int64]bool{}
	for _, id := range ids {
		s.lists[id] = true
	}
}

// CallsLeft is what the rate header says from now on.
func (s *Server) CallsLeft(n string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = n
}
