package console

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
)

const (
	// sessionLife is how long a login holds, personLife how long the address of a citizen's page does.
	sessionLife = 12 * time.Hour
	personLife  = time.Hour
	// most is how many of each are kept; the oldest goes first.
	most = 1000

	cookieName = "consentd_session"
)

// session is what a login leaves behind.
type session struct {
	token string
}

// visitor is who sent a request.
type visitor struct {
	// session and token are empty for who needs no login: at an open address, or with a certificate.
	session, token string
	// operator is whether they may change things and see personal data.
	operator bool
}

// person is whom a citizen's page is of. It is shown to the session alone that asked for it.
type person struct {
	session, source, id string
}

// keep holds values under names that nobody can guess, for a while and in memory alone.
type keep[T any] struct {
	life time.Duration

	mu    sync.Mutex
	all   map[string]kept[T]
	order []string // oldest first
}

type kept[T any] struct {
	value T
	until time.Time
}

func newKeep[T any](life time.Duration) *keep[T] {
	return &keep[T]{life: life, all: map[string]kept[T]{}}
}

func (k *keep[T]) add(v T) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, name := time.Now(), rand.Text()
	for len(k.order) > 0 && (len(k.order) >= most || now.After(k.all[k.order[0]].until)) {
		delete(k.all, k.order[0])
		k.order = k.order[1:]
	}
	k.all[name] = kept[T]{v, now.Add(k.life)}
	k.order = append(k.order, name)
	return name
}

func (k *keep[T]) get(name string) (T, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.all[name]
	return v.value, ok && time.Now().Before(v.until)
}

// remove leaves the name in order, until its turn comes.
func (k *keep[T]) remove(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, name)
}

// who asks the API whom it takes a request for, so that a reload which takes a token away ends its sessions.
func (c *Console) who(r *http.Request) (visitor, error) {
	var v visitor
	if cookie, err := r.Cookie(cookieName); err == nil {
		if s, ok := c.sessions.get(cookie.Value); ok {
			v.session, v.token = cookie.Value, s.token
		}
	}
	caller, err := c.api(r, v.token).Caller(r.Context())
	v.operator = caller.Role == string(config.RoleOperator)
	return v, err
}

// turnAway answers who cannot be let in.
func (c *Console) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	if !unknown(err) {
		c.write(w, &view{Page: "login", Title: "Sign in", Now: time.Now(), code: http.StatusServiceUnavailable, Data: err.Error()})
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func unknown(err error) bool {
	var refused *admin.RefusedError
	return errors.As(err, &refused) && refused.Status == http.StatusUnauthorized
}

func (c *Console) showLogin(w http.ResponseWriter, r *http.Request) {
	if _, err := c.who(r); err == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	c.write(w, &view{Page: "login", Title: "Sign in", Now: time.Now(), code: http.StatusOK})
}

// login takes a token for a session, so that the token itself is in no cookie.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimSpace(r.PostFormValue("token"))
	again := view{Page: "login", Title: "Sign in", Now: time.Now(), code: http.StatusUnauthorized, Data: "This token is not in the configuration's admin block."}
	caller, err := c.api(r, token).Caller(r.Context())
	if err != nil || token == "" {
		if err != nil && !unknown(err) {
			again.code, again.Data = http.StatusServiceUnavailable, err.Error()
		}
		c.Log.Warn("login refused", "status", again.code)
		c.write(w, &again)
		return
	}
	c.Log.Info("login", "actor", caller.Actor, "role", caller.Role)
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: c.sessions.add(session{token}), Path: "/", MaxAge: int(sessionLife.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: overTLS(r),
	})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// overTLS is whether the browser speaks TLS, with the daemon or with what stands in front of it. Who lies about
// that only keeps their own cookie from being sent.
func overTLS(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		c.sessions.remove(cookie.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: overTLS(r)})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
