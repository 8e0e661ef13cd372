// Package sim is a Braze workspace: as much of the REST API as a plugin may meet, with real profiles behind
// it. Tests and `consentd run --dev` use it. It is apart from package braze so that neither can lean on the
// other's idea of the API; both are held to the vendor's own description.
//
// Braze queues what it is sent; the simulator does it at once. Where Braze's documentation is silent, what is
// taken instead is noted at the place.
package sim

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/consentd/consentd/plugins/internal/faults"
)

// APIKey is what the simulated workspace takes.
const APIKey = "simulated-rest-api-key"

// maxBody is the longest request, in bytes.
const maxBody = 4 << 20

// Server is the simulated workspace. It is safe for concurrent use.
type Server struct {
	mux    *http.ServeMux
	notify func(line string)

	mu     sync.Mutex
	users  []*User // in the order of their making
	made   int
	groups map[string]bool // nil: every one that a request names
	faults faults.Queue[Fault]
	types  map[string]*objectFault
}

// User is one profile. Strings that are empty and maps without a name are not there.
type User struct {
	ExternalID, BrazeID, Email, Phone string
	Aliases                           []Alias
	EmailSubscribe, PushSubscribe     string
	Groups                            map[string]string // "subscribed" or "unsubscribed" by id
	Attributes                        map[string]any    // custom ones and Braze's own
}

// Alias is one of a profile's other names.
type Alias struct {
	Name  string `json:"alias_name"`
	Label string `json:"alias_label"`
}

// New makes a workspace without profiles. The notify function, if not nil, is told of each change of a
// profile in one line, in their order. It must not call the simulator.
func New(notify func(line string)) *Server {
	s := &Server{mux: http.NewServeMux(), notify: notify, types: map[string]*objectFault{}}
	for pattern, handle := range map[string]func(*http.Request, []byte) answer{
		"POST /users/track":             s.track,
		"POST /users/export/ids":        s.export,
		"GET /subscription/user/status": s.readGroups,
		"POST /users/delete":            s.remove,
		"/":                             func(*http.Request, []byte) answer { return refuse(http.StatusNotFound, "Not Found") },
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, handle) })
	}
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// answer is a response before it is written.
type answer struct {
	status int
	body   map[string]any
}

func success(status int, more map[string]any) answer {
	body := map[string]any{"message": "success"}
	maps.Copy(body, more)
	return answer{status, body}
}

func refuse(status int, message string, errors ...any) answer {
	body := map[string]any{"message": message}
	if len(errors) > 0 {
		body["errors"] = errors
	}
	return answer{status, body}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, handle func(*http.Request, []byte) answer) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		write(w, refuse(http.StatusRequestEntityTooLarge, "Request Entity Too Large"))
		return
	}
	s.mu.Lock()
	fault := s.fault(r, body)
	var a answer
	if fault == nil || fault.After {
		a = refuse(http.StatusUnauthorized, "Error authenticating credentials")
		if authorized(r) {
			a = handle(r, body)
		}
	}
	s.mu.Unlock()
	w.Header().Set("X-RateLimit-Limit", "250000")
	w.Header().Set("X-RateLimit-Remaining", "249999")
	w.Header().Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(time.Hour).Unix()))
	if fault != nil {
		fault.write(w)
		return
	}
	write(w, a)
}

func authorized(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+APIKey)) == 1
}

func write(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body) // the client's loss
}

// User returns the profile with an external id.
func (s *Server) User(externalID string) (User, bool) {
	return s.one(func(u *User) bool { return u.ExternalID == externalID })
}

// UserByEmail returns the first profile with an e-mail address.
func (s *Server) UserByEmail(email string) (User, bool) {
	return s.one(func(u *User) bool { return strings.EqualFold(u.Email, email) })
}

func (s *Server) one(is func(*User) bool) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.users, is)
	if i < 0 {
		return User{}, false
	}
	return s.users[i].clone(), true
}

// Users returns all profiles, in the order of their making.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]User, len(s.users))
	for i, u := range s.users {
		all[i] = u.clone()
	}
	return all
}

// Put adds a profile as somebody else would, without checks and without a notice. It gets a Braze id.
func (s *Server) Put(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := u.clone()
	s.add(&made)
}

// Unsubscribe is what a person does who leaves by a link in a mail: the state is that of the address.
func (s *Server) Unsubscribe(email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if strings.EqualFold(u.Email, email) {
			u.EmailSubscribe = "unsubscribed"
		}
	}
}

// DefineGroups says which subscription groups there are. Before that there is every one.
func (s *Server) DefineGroups(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = map[string]bool{}
	for _, id := range ids {
		s.groups[id] = true
	}
}

func (s *Server) add(u *User) {
	s.made++
	u.BrazeID = fmt.Sprintf("5fbd99bac125ca40%08x", s.made)
	s.users = append(s.users, u)
}

func (u *User) clone() User {
	c := *u
	c.Aliases = slices.Clone(u.Aliases)
	c.Groups, c.Attributes = map[string]string{}, map[string]any{}
	maps.Copy(c.Groups, u.Groups)
	maps.Copy(c.Attributes, u.Attributes)
	return c
}

// line says what a profile is now.
func (u *User) line() string {
	var b strings.Builder
	name := u.ExternalID
	if name == "" {
		name = u.BrazeID
	}
	fmt.Fprintf(&b, "%s email=%s push=%s", name, u.EmailSubscribe, u.PushSubscribe)
	for _, id := range slices.Sorted(maps.Keys(u.Groups)) {
		fmt.Fprintf(&b, " %s=%s", id, u.Groups[id])
	}
	for _, name := range slices.Sorted(maps.Keys(u.Attributes)) {
		fmt.Fprintf(&b, " %s=%v", name, u.Attributes[name])
	}
	return b.String()
}
