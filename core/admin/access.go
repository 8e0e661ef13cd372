package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/consentd/consentd/core/config"
)

// Caller is who sent a request.
type Caller struct {
	// Actor is their name in the audit: token:NAME, or token for the one without a name; certificate:NAME; uid:N
	// of the process behind a unix socket; loopback for everybody else on this machine.
	Actor string
	Role  config.Role
}

// may is whether the caller's role is enough. An undeclared role is enough for nobody.
func (c Caller) may(least config.Role) bool {
	switch least {
	case config.RoleRead:
		return c.Role == config.RoleRead || c.Role == config.RoleOperator
	case config.RoleOperator:
		return c.Role == config.RoleOperator
	}
	return false
}

type contextKey int

const (
	callerKey contextKey = iota
	peerKey
	verbKey
)

// CallerOf is who sent the request of a context that a route of the handler serves.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey).(Caller)
	return c
}

// Route is one pattern of the admin address. The handler serves what is declared so, and nothing else.
type Route struct {
	Pattern string
	// Role is the least that it takes. Without one, nobody gets in.
	Role config.Role
	// Verb names the action in the audit, for what changes something or shows personal data.
	Verb  string
	Serve http.HandlerFunc
}

// guard serves a route to those whom its role lets in.
func (h *handler) guard(route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, refusal := h.identify(r)
		if refusal != "" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="consentd admin"`)
			problem(w, http.StatusUnauthorized, refusal)
			return
		}
		if !caller.may(route.Role) {
			problem(w, http.StatusForbidden, caller.Actor+" may only read, and this changes something or shows personal data: "+
				"it takes a token or a certificate whose access block has role = \"operator\"")
			return
		}
		ctx := context.WithValue(r.Context(), callerKey, caller)
		route.Serve(w, r.WithContext(context.WithValue(ctx, verbKey, route.Verb)))
	})
}

// identify finds out who sent a request. A refusal says what to do about it.
func (h *handler) identify(r *http.Request) (c Caller, refusal string) {
	now := h.Admin()
	if now.Open() {
		return Caller{local(r.Context()), config.RoleOperator}, ""
	}
	if given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if a := byToken(now.Access, given); a != nil {
			return Caller{strings.TrimSuffix("token:"+a.Name, ":"), a.Role}, ""
		}
		return Caller{}, "this token is not in the configuration's admin block: set CONSENTD_ADMIN_TOKEN to one that is"
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		name := certificateName(r.TLS.PeerCertificates[0])
		role := config.RoleOperator
		for _, a := range now.Access {
			for _, listed := range a.Certificates {
				if listed == name {
					role = a.Role
				}
			}
		}
		return Caller{"certificate:" + name, role}, ""
	}
	if len(now.Access) == 0 {
		return Caller{}, "a client certificate is required: name its files with --client-cert and --client-key"
	}
	refusal = "a token is required: set CONSENTD_ADMIN_TOKEN to one of the configuration's admin block"
	if now.Certificates() {
		refusal += ", or name the files of a client certificate with --client-cert and --client-key"
	}
	return Caller{}, refusal
}

// byToken finds whose token it is; nil if nobody's. It takes as long for every one.
func byToken(all []config.Access, given string) *config.Access {
	sum := sha256.Sum256([]byte(given))
	var found *config.Access
	for i := range all {
		for _, want := range all[i].Tokens {
			if subtle.ConstantTimeCompare(sum[:], want[:]) == 1 {
				found = &all[i]
			}
		}
	}
	return found
}

// certificateName is how access blocks and the audit call a client: by its common name, or its first other name.
func certificateName(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return c.Subject.CommonName
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.EmailAddresses) > 0:
		return c.EmailAddresses[0]
	}
	return "serial " + c.SerialNumber.String()
}

// local names somebody who shows nothing, on this machine.
func local(ctx context.Context) string {
	if uid, ok := ctx.Value(peerKey).(uint32); ok {
		return "uid:" + strconv.FormatUint(uint64(uid), 10)
	}
	return "loopback"
}

// withPeer keeps the user behind a unix socket for the requests of its connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if u, ok := c.(*net.UnixConn); ok {
		if uid, ok := peerUID(u); ok {
			return context.WithValue(ctx, peerKey, uid)
		}
	}
	return ctx
}

func (h *handler) caller(w http.ResponseWriter, r *http.Request) {
	c := CallerOf(r.Context())
	h.answer(w, WhoAsks{c.Actor, string(c.Role)}, nil)
}
