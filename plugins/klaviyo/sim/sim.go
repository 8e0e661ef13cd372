// Package sim is a Klaviyo account: as much of the API as a plugin may meet, with real profiles behind it.
// Tests and `consentd run --dev` use it. It is apart from package klaviyo so that neither can lean on the
// other's idea of the API; both are held to the vendor's own description.
package sim

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/consentd/consentd/plugins/internal/faults"
)

// What the simulated account is preset with.
const (
	APIKey       = "pk_simulated"
	ClientID     = "simulated-app"
	ClientSecret = "simulated-secret"
	RefreshToken = "simulated-refresh-token"
	ListID       = "Y6nRLr"
	BasePath     = "/api"
	Revision     = "2026-07-15"
)

const mediaType = "application/vnd.api+json"

// maxBody is the longest request body that is read, in bytes.
const maxBody = 5 << 20

// Server is the simulated account. It is safe for concurrent use.
type Server struct {
	mux    *http.ServeMux
	notify func(line string)

	mu          sync.Mutex
	profiles    []*Profile
	made        int
	doubleOptIn bool
	hideRows    bool
	hold        bool
	held        []func() // jobs that were taken and not yet done
	token       string   // of the app
	signIns     int
	faults      faults.Queue[Fault]
}

// New makes a simulator. The notify function, if not nil, is told of each change of a profile in one line
// with who it is and the consent given, in the order of the changes. It must not call the simulator.
func New(notify func(line string)) *Server {
	if notify == nil {
		notify = func(string) {}
	}
	s := &Server{mux: http.NewServeMux(), notify: notify}
	for pattern, handle := range map[string]handler{
		"GET /profiles":        s.getProfiles,
		"POST /profile-import": s.importProfile,
		"GET /lists/{id}":      s.getList,
		"POST /profile-subscription-bulk-create-jobs": s.subscribe,
		"POST /profile-subscription-bulk-delete-jobs": s.unsubscribe,
		"POST /profile-suppression-bulk-create-jobs":  s.suppress,
		"POST /profile-suppression-bulk-delete-jobs":  s.unsuppress,
		"POST /data-privacy-deletion-jobs":            s.deleteProfile,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" "+BasePath+path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, handle) })
	}
	s.mux.HandleFunc("POST /oauth/token", s.signIn)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		failure(http.StatusNotFound, "not_found", "Not found.", "").write(w)
	})
	return s
}

// Profile is the person with an identifier: an address, in any case, a number or an external id.
func (s *Server) Profile(identifier string) (Profile, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.find(identifier)
	if p == nil {
		return Profile{}, false
	}
	return p.clone(), true
}

// Put makes or replaces a profile as somebody else would, without checks and without a notice.
func (s *Server) Put(p Profile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := p.clone()
	for _, identifier := range []string{p.Email, p.PhoneNumber, p.ExternalID} {
		if old := s.find(identifier); old != nil {
			copied.ID = old.ID
			*old = copied
			return
		}
	}
	s.made++
	copied.ID = fmt.Sprintf("01SIM%021d", s.made)
	s.profiles = append(s.profiles, &copied)
}

// DoubleOptIn says whether the list asks people before they are subscribed.
func (s *Server) DoubleOptIn(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubleOptIn = on
}

// HideRows keeps the refusal of a job from saying which of its profiles is to blame.
func (s *Server) HideRows(hide bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hideRows = hide
}

// HoldJobs keeps jobs that are taken from being done until it is called with false.
func (s *Server) HoldJobs(hold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = hold
	if hold {
		return
	}
	for _, job := range s.held {
		job()
	}
	s.held = nil
}

// ExpireToken ends the access token that was given out.
func (s *Server) ExpireToken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = ""
}

// SignIns counts the access tokens given out.
func (s *Server) SignIns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signIns
}

// signIn gives an app an access token.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	w.Header().Set("Content-Type", "application/json")
	if !basic || id != ClientID || secret != ClientSecret || r.FormValue("grant_type") != "refresh_token" || r.FormValue("refresh_token") != RefreshToken {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant"}`)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signIns++
	s.token = fmt.Sprintf("access-%d", s.signIns)
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"bearer","expires_in":3600,"refresh_token":%q,"scope":"profiles:write"}`, s.token, RefreshToken)
}

// authorized takes the private key, or the app's token.
func (s *Server) authorized(header string) bool {
	key, private := strings.CutPrefix(header, "Klaviyo-API-Key ")
	if private {
		return subtle.ConstantTimeCompare([]byte(key), []byte(APIKey)) == 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token != "" && header == "Bearer "+s.token
}

// do runs a job, now or later.
func (s *Server) do(job func()) {
	if s.hold {
		s.held = append(s.held, job)
		return
	}
	job()
}

func (s *Server) find(identifier string) *Profile {
	if identifier == "" {
		return nil
	}
	for _, p := range s.profiles {
		if p.ID == identifier || strings.EqualFold(p.Email, identifier) || p.PhoneNumber == identifier || p.ExternalID == identifier {
			return p
		}
	}
	return nil
}

func (s *Server) remove(p *Profile) {
	s.profiles = slices.DeleteFunc(s.profiles, func(one *Profile) bool { return one == p })
	s.notify(p.name() + " deleted")
}

// handler answers one authenticated request. It runs under the lock.
type handler func(r *http.Request, body []byte) answer

// answer is a response before it is written; a nil body is none.
type answer struct {
	status int
	body   any
	header map[string]string
}

func (a answer) write(w http.ResponseWriter) {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.body != nil {
		w.Header().Set("Content-Type", mediaType)
	}
	w.WriteHeader(a.status)
	if a.body != nil {
		_ = json.NewEncoder(w).Encode(a.body) // a client that is gone cannot be told
	}
}

// ServeHTTP answers as the vendor does, after the faults that were injected.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := s.fault(r)
	switch {
	case fault == nil:
		s.mux.ServeHTTP(w, r)
	case fault.Cut:
		s.mux.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	default:
		fault.write(w)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, handle handler) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	header := r.Header.Get("Authorization")
	switch {
	case err != nil:
		failure(http.StatusRequestEntityTooLarge, "payload_too_large", "The payload is too large.", "").write(w)
	case header == "":
		failure(http.StatusUnauthorized, "not_authenticated", "Authentication credentials were not provided.", "").write(w)
	case !s.authorized(header):
		failure(http.StatusUnauthorized, "authentication_failed", "Incorrect authentication credentials.", "").write(w)
	case r.Header.Get("Revision") != Revision:
		failure(http.StatusBadRequest, "invalid", "The revision is not one that is served.", "").write(w)
	case len(body) > 0 && r.Header.Get("Content-Type") != mediaType:
		failure(http.StatusUnsupportedMediaType, "unsupported_media_type", "Unsupported media type in request.", "").write(w)
	default:
		s.mu.Lock()
		a := handle(r, body)
		s.mu.Unlock()
		a.write(w)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
