package sim

import (
	"net/http"
	"strings"
)

// Fault is what goes wrong with requests.
type Fault struct {
	// Times is how many requests it hits; negative is all until ClearFaults.
	Times int
	// Method and Path choose the requests: the method, and the end of the path. Empty is any but signing in.
	Method, Path string

	// Code, with 200, as the API fails; or Status, as what stands before it does.
	Code    string
	Status  int
	Message string
	// Cut does what was asked for and cuts the connection in place of an answer.
	Cut bool
}

// Inject adds a fault behind those that are there. A request meets the first that fits.
func (s *Server) Inject(f Fault) { s.faults.Add(f, f.Times) }

// ClearFaults takes all faults away.
func (s *Server) ClearFaults() { s.faults.Clear() }

func (s *Server) fault(r *http.Request) *Fault {
	return s.faults.Next(func(f *Fault) bool {
		return (f.Method == "" || f.Method == r.Method) && strings.HasSuffix(r.URL.Path, f.Path) &&
			(f.Path != "" || !strings.HasPrefix(r.URL.Path, "/identity"))
	})
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
