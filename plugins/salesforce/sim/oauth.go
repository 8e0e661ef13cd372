package sim

import (
	"crypto/rsa"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxAssertionLife is how far ahead an assertion may expire.
const maxAssertionLife = 5 * time.Minute

// SetPublicKey is what uploading a certificate to the app is: assertions signed with its key are taken.
func (s *Server) SetPublicKey(key *rsa.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publicKey = key
}

// RotateRefreshTokens turns on the rotation of refresh tokens: each sign-in with one makes it invalid
// and gives out another.
func (s *Server) RotateRefreshTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotate = true
}

// SignIns is how many token requests came in, successful or not.
func (s *Server) SignIns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signIns
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signIns++
	if len(s.faults.token) > 0 {
		fault := s.faults.token[0]
		s.faults.token = s.faults.token[1:]
		write(w, fault.status, fault)
		return
	}
	refused, answer := s.grant(r)
	if refused != nil {
		write(w, refused.status, refused)
		return
	}
	access := fmt.Sprintf("00DSIM!session%d", s.signIns)
	s.sessions[access] = true
	base := "http://" + r.Host
	if r.TLS != nil {
		base = "https://" + r.Host
	}
	answer["access_token"] = access
	answer["instance_url"] = base
	answer["id"] = base + "/id/00DSIM000000000EAA/005SIM000000000AAA"
	answer["token_type"] = "Bearer"
	answer["issued_at"] = strconv.FormatInt(time.Now().UnixMilli(), 10)
	answer["signature"] = "c2ltdWxhdGVk"
	answer["scope"] = "api"
	write(w, http.StatusOK, answer)
}

// grant checks a token request. The answer holds what the flow adds to it.
func (s *Server) grant(r *http.Request) (*tokenError, map[string]string) {
	refuse := func(code, description string) (*tokenError, map[string]string) {
		return &tokenError{http.StatusBadRequest, code, description}, nil
	}
	answer := map[string]string{}
	grant := r.PostFormValue("grant_type")
	if grant != "urn:ietf:params:oauth:grant-type:jwt-bearer" && !same(r.PostFormValue("client_id"), ClientID) {
		return refuse("invalid_client_id", "client identifier invalid")
	}
	switch grant {
	case "client_credentials":
		if !same(r.PostFormValue("client_secret"), ClientSecret) {
			return refuse("invalid_client", "invalid client credentials")
		}
	case "refresh_token":
		if secret, sent := r.PostForm["client_secret"]; sent && !same(secret[0], ClientSecret) {
			return refuse("invalid_client", "invalid client credentials")
		}
		if !same(r.PostFormValue("refresh_token"), s.refreshToken) {
			return refuse("invalid_grant", "expired access/refresh token")
		}
		if s.rotate {
			s.refreshToken = fmt.Sprintf("%s-%d", RefreshToken, s.signIns)
			answer["refresh_token"] = s.refreshToken
		}
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		if description := s.checkAssertion(r.PostFormValue("assertion")); description != "" {
			return refuse("invalid_grant", description)
		}
	default:
		return refuse("unsupported_grant_type", "grant type not supported")
	}
	return nil, answer
}

func (s *Server) checkAssertion(assertion string) (description string) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) {
		if s.publicKey == nil {
			return nil, jwt.ErrTokenUnverifiable
		}
		return s.publicKey, nil
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation())
	expiry, expiryErr := claims.GetExpirationTime()
	audience, isString := claims["aud"].(string)
	now := time.Now()
	switch {
	case err != nil:
		return "invalid assertion"
	case claims["iss"] != ClientID, claims["sub"] != Username:
		return "user hasn't approved this consumer"
	case !isString || !slices.Contains([]string{"https://login.salesforce.com", "https://test.salesforce.com"}, audience):
		return "audience is invalid"
	case expiryErr != nil || expiry == nil || expiry.Before(now) || expiry.After(now.Add(maxAssertionLife)):
		return "expired authorization code"
	}
	return ""
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
