package sim

import (
	"fmt"
	"net/http"
	"strings"
)

// Fault is what goes wrong with requests.
type Fault struct {
	// Times is how many requests it hits; negative is all until ClearFaults.
	Times int
	// Method and Path choose the requests: the method, and the end of the path. Empty is any.
	Method, Path string

	// Status, with Code and Pointer as the API has them. Without a Code the body is HTML, as a guard before
	// the API writes it. Detail repeats what was sent, and here is whatever the test says.
	Status                int
	Code, Pointer, Detail string
	// Parameter is the source in place of Pointer.
	Parameter string
	Header    http.Header
	// Cut does what was asked for and cuts the connection in place of an answer.
	Cut bool
}

// Inject adds a fault behind those that are there. A request meets the first that fits.
func (s *Server) Inject(f Fault) { s.faults.Add(f, f.Times) }

// ClearFaults takes all faults away.
func (s *Server) ClearFaults() { s.faults.Clear() }

func (s *Server) fault(r *http.Request) *Fault {
	return s.faults.Next(func(f *Fault) bool {
		return (f.Method == "" || f.Method == r.Method) && strings.HasSuffix(r.URL.Path, f.Path)
	})
}

func (f *Fault) write(w http.ResponseWriter) {
	for name, values := range f.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if f.Code != "" {
		p := newProblem(f.Status, f.Code, f.Detail, f.Pointer)
		if f.Parameter != "" {
			p.Source = map[string]string{"parameter": f.Parameter}
		}
		refuse(f.Status, p).write(w)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(f.Status)
	fmt.Fprint(w, "<html>", f.Detail, "</html>")
}

// problem is one error as the API words it.
type problem struct {
	ID     string            `json:"id"`
	Status int               `json:"status"`
	Code   string            `json:"code"`
	Title  string            `json:"title"`
	Detail string            `json:"detail"`
	Source map[string]string `json:"source"`
}

func newProblem(status int, code, detail, pointer string) problem {
	return problem{
		ID: "67ed6dbf-1653-499b-a11d-30310aa01ff7", Status: status, Code: code,
		Title: http.StatusText(status), Detail: detail, Source: map[string]string{"pointer": pointer},
	}
}

func refuse(status int, all ...problem) answer {
	return answer{status: status, body: map[string]any{"errors": all}}
}

func failure(status int, code, detail, pointer string) answer {
	return refuse(status, newProblem(status, code, detail, pointer))
}
