package sim

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Fault is what goes wrong with requests. The zero fault changes nothing; Delay combines with the rest.
type Fault struct {
	// Times is how many requests it hits; negative is all until ClearFaults.
	Times int
	// Method, Path and Email choose the requests: the method; the end of the path ("/tags"); the person
	// in it. Empty is any.
	Method, Path, Email string

	// Delay passes before anything else.
	Delay time.Duration
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

// ClearFaults takes all faults away.
func (s *Server) ClearFaults() { s.faults.Clear() }

func (s *Server) fault(r *http.Request) *Fault {
	return s.faults.Next(func(f *Fault) bool { return f.fits(r) })
}

func (f *Fault) fits(r *http.Request) bool {
	return (f.Method == "" || f.Method == r.Method) &&
		strings.HasSuffix(r.URL.Path, f.Path) &&
		(f.Email == "" || strings.Contains(r.URL.Path, "/members/"+hash(f.Email)))
}

// wait is false when the client went away first.
func (f *Fault) wait(ctx context.Context) bool {
	if f.Delay == 0 {
		return true
	}
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *Fault) answers() bool { return f.Problem != nil || f.Status != 0 }

func (f *Fault) write(w http.ResponseWriter) {
	for name, values := range f.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if f.Problem != nil {
		f.Problem.write(w)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(f.Body))
}
