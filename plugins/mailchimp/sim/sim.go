// Package sim is a Mailchimp account with one audience: as much of the Marketing API 3.0 as a plugin
// may meet, with real members behind it. Tests and `consentd run --dev` use it. It is apart from
// package mailchimp so that neither can lean on the other's idea of the API; both are held to the
// vendor's own description.
package sim

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/consentd/consentd/plugins/internal/faults"
)

// What the simulated account is preset with.
const (
	APIKey   = "simulated-us1"
	ListID   = "a1b2c3d4e5"
	BasePath = "/3.0"
)

// maxAtOnce is how many requests the vendor takes at once.
const maxAtOnce = 10

// maxBody is the longest request body that is read, in bytes.
const maxBody = 1 << 20

// Server is the simulated account. It is safe for concurrent use.
type Server struct {
	mux    *http.ServeMux
	notify func(line string)

	mu       sync.Mutex
	audience audience
	faults   faults.Queue[Fault]
	atOnce   int
	peak     int
}

// New makes a simulator. The notify function, if not nil, is told of each change of a member in one
// line with the address, the status and what is on, in the order of the changes. It must not call the
// simulator.
//
// The audience takes every interest, marketing permission and merge field that a request names, until
// one of the Define methods says which there are.
func New(notify func(line string)) *Server {
	s := &Server{mux: http.NewServeMux(), notify: notify, audience: newAudience()}
	const (
		list    = BasePath + "/lists/{list}"
		subject = list + "/members/{hash}"
	)
	for path, methods := range map[string]map[string]handler{
		BasePath + "/ping":                    {"GET": s.ping},
		list:                                  {"GET": s.getList},
		subject:                               {"GET": s.getMember, "PUT": s.putMember, "DELETE": s.archiveMember},
		subject + "/tags":                     {"GET": s.getTags, "POST": s.postTags},
		subject + "/actions/delete-permanent": {"POST": s.deletePermanent},
	} {
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			handle, ok := methods[r.Method]
			if !ok {
				MethodNotAllowed().write(w)
				return
			}
			s.serve(w, r, handle)
		})
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { NotFound().write(w) })
	return s
}

// handler answers one authenticated request for the audience that there is. A nil body is 204.
type handler func(r *http.Request, body []byte) (any, *Problem)

// ServeHTTP answers as the vendor does, after the faults that were injected.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	leave, busy := s.enter()
	defer leave()
	fault := s.fault(r)
	if fault != nil && !fault.wait(r.Context()) {
		panic(http.ErrAbortHandler) // the client is gone
	}
	switch {
	case fault != nil && fault.answers():
		fault.write(w)
	case fault != nil && fault.Drop:
		s.mux.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case busy:
		TooManyRequests().write(w)
	default:
		s.mux.ServeHTTP(w, r)
	}
}

// enter counts the requests at once.
func (s *Server) enter() (leave func(), busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.atOnce++
	s.peak = max(s.peak, s.atOnce)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.atOnce--
	}, s.atOnce > maxAtOnce
}

// Peak is the most requests that there were at once.
func (s *Server) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, handle handler) {
	if !authorized(r) {
		APIKeyInvalid().write(w)
		return
	}
	if list := r.PathValue("list"); list != "" && list != ListID {
		NotFound().write(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		JSONParseError().write(w)
		return
	}
	s.mu.Lock()
	answer, problem := handle(r, body)
	s.mu.Unlock()
	switch {
	case problem != nil:
		problem.write(w)
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, "application/json; charset=utf-8", http.StatusOK, answer)
	}
}

// authorized takes the key as the password of any user, or as a bearer token.
func authorized(r *http.Request) bool {
	_, key, ok := r.BasicAuth()
	if !ok {
		key, ok = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	return ok && subtle.ConstantTimeCompare([]byte(key), []byte(APIKey)) == 1
}

func (s *Server) ping(*http.Request, []byte) (any, *Problem) {
	return map[string]string{"health_status": "Everything's Chimpy!"}, nil
}

func (s *Server) getList(r *http.Request, _ []byte) (any, *Problem) {
	return pick(map[string]any{
		"id":                    ListID,
		"name":                  "Simulated audience",
		"double_optin":          false,
		"marketing_permissions": s.audience.permissions.open || len(s.audience.permissions.ids) > 0,
		"stats":                 map[string]any{"member_count": s.audience.count(subscribed)},
	}, r), nil
}

// pick keeps what the query parameter fields asks for, at the top level.
func pick(all map[string]any, r *http.Request) map[string]any {
	fields := r.URL.Query().Get("fields")
	if fields == "" {
		return all
	}
	picked := map[string]any{}
	for name := range strings.SplitSeq(fields, ",") {
		if value, ok := all[name]; ok {
			picked[name] = value
		}
	}
	return picked
}

func writeJSON(w http.ResponseWriter, contentType string, status int, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone cannot be told
}

// newID is an opaque id as the vendor makes them.
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
