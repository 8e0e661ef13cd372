package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/consentd/consentd/core/config"
)

// secrets are the values of which any is right, kept as digests of one length, so that comparing tells
// neither how long they are nor where a guess goes wrong.
type secrets [][sha256.Size]byte

func newSecrets(values ...string) (secrets, error) {
	s := make(secrets, 0, len(values))
	for _, v := range values {
		if v == "" {
			return nil, errors.New("a secret is empty")
		}
		s = append(s, sha256.Sum256([]byte(v)))
	}
	return s, nil
}

// hold is whether the value given is one of them; it looks at all of them every time.
func (s secrets) hold(given string) bool {
	digest := sha256.Sum256([]byte(given))
	found := 0
	for i := range s {
		found |= subtle.ConstantTimeCompare(s[i][:], digest[:])
	}
	return found == 1
}

// authenticator says whether a post comes from the sender.
type authenticator struct {
	// One of header, in canonical form, and query is set; or neither, and everyone is admitted.
	header, query string
	prefix        string // before the credential in its header
	right         func(credential string) bool
	// Challenges for a post without a credential and for one with a wrong one.
	missing, wrong []string
}

// newAuthenticator makes the authenticator of a source; with oauth2 also what signs its access tokens.
func newAuthenticator(source string, c config.Auth, now func() time.Time) (authenticator, *accessTokens, error) {
	if c.Mode == config.AuthNone {
		return authenticator{}, nil, nil
	}
	a := authenticator{header: http.CanonicalHeaderKey(c.Header), query: c.Query, prefix: c.Prefix}
	if (a.header == "") == (a.query == "") {
		return a, nil, errors.New("auth: either a header or a query parameter must be set")
	}
	var access *accessTokens
	switch c.Mode {
	case config.AuthAPIKey, config.AuthToken:
		keys, err := newSecrets(c.Keys...)
		if err == nil && len(keys) == 0 {
			err = errors.New("no key is set")
		}
		if err != nil {
			return a, nil, fmt.Errorf("auth: %w", err)
		}
		a.right = keys.hold
	case config.AuthOAuth2:
		var err error
		if access, err = newAccessTokens(source, c, now); err != nil {
			return a, nil, fmt.Errorf("auth: %w", err)
		}
		a.right = access.valid
	default:
		return a, nil, fmt.Errorf("auth: mode %q is not known", c.Mode)
	}
	if c.Mode == config.AuthAPIKey {
		a.missing = []string{`ApiKey realm="consentd"`}
		a.wrong = a.missing
	} else {
		a.missing = []string{`Bearer realm="consentd"`}
		a.wrong = []string{`Bearer realm="consentd", error="invalid_token"`}
	}
	return a, access, nil
}

// admit is whether the request carries exactly one credential and it is right; if not, with the values
// of WWW-Authenticate.
func (a *authenticator) admit(r *http.Request) (bool, []string) {
	if a.right == nil {
		return true, nil
	}
	var values []string
	if a.header != "" {
		values = r.Header[a.header]
	} else if query, err := url.ParseQuery(r.URL.RawQuery); err == nil {
		values = query[a.query]
	}
	if len(values) == 0 {
		return false, a.missing
	}
	credential, ok := cutPrefix(values[0], a.prefix)
	if len(values) > 1 || !ok || credential == "" || !a.right(credential) {
		return false, a.wrong
	}
	return true, nil
}

// cutPrefix takes the authentication scheme, whose case does not matter, and the spaces after it from
// before a credential (RFC 9110, section 11.1).
func cutPrefix(value, prefix string) (credential string, ok bool) {
	if prefix == "" {
		return value, true
	}
	n := len(prefix)
	if len(value) <= n || value[n] != ' ' || !strings.EqualFold(value[:n], prefix) {
		return "", false
	}
	return strings.TrimLeft(value[n:], " "), true
}
