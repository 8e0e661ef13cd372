package sim

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// SetCertificate is what uploading a certificate to the app registration is: assertions signed with its
// key are taken.
func (s *Server) SetCertificate(c *x509.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.certificate = c
}

// SignIns is how many token requests came in, successful or not.
func (s *Server) SignIns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signIns
}

// tokenError is an error of Entra ID: RFC 6749's, with an AADSTS code in the description.
type tokenError struct {
	status      int
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signIns++
	refused := s.refusal(r)
	if len(s.faults.token) > 0 {
		refused = &s.faults.token[0]
		s.faults.token = s.faults.token[1:]
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if refused != nil {
		w.WriteHeader(refused.status)
		_ = json.NewEncoder(w).Encode(refused)
		return
	}
	access := fmt.Sprintf("simulated-token-%d", s.signIns)
	s.tokens[access] = true
	_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": access})
}

func (s *Server) refusal(r *http.Request) *tokenError {
	switch {
	case r.PathValue("tenant") != TenantID:
		return &tokenError{http.StatusBadRequest, "invalid_request", "AADSTS90002: Tenant '" + r.PathValue("tenant") + "' not found."}
	case r.PostFormValue("grant_type") != "client_credentials":
		return &tokenError{http.StatusBadRequest, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type."}
	case r.PostFormValue("client_id") != ClientID:
		return &tokenError{http.StatusBadRequest, "unauthorized_client", "AADSTS700016: Application with identifier '" + r.PostFormValue("client_id") + "' was not found in the directory."}
	case r.PostFormValue("scope") != "http://"+r.Host+"/.default":
		return &tokenError{http.StatusBadRequest, "invalid_resource", "AADSTS500011: The resource principal was not found in the tenant."}
	case r.PostFormValue("client_assertion") != "":
		if s.asserted(r) {
			return nil
		}
		return &tokenError{http.StatusUnauthorized, "invalid_client", "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application."}
	case subtle.ConstantTimeCompare([]byte(r.PostFormValue("client_secret")), []byte(ClientSecret)) != 1:
		return &tokenError{http.StatusUnauthorized, "invalid_client", "AADSTS7000215: Invalid client secret provided."}
	}
	return nil
}

// asserted checks an assertion as learn.microsoft.com/entra/identity-platform/certificate-credentials
// has it.
func (s *Server) asserted(r *http.Request) bool {
	if s.certificate == nil || r.PostFormValue("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return false
	}
	sum := sha256.Sum256(s.certificate.Raw)
	claims := jwt.MapClaims{}
	token, err := jwt.ParseWithClaims(r.PostFormValue("client_assertion"), claims, func(*jwt.Token) (any, error) {
		return s.certificate.PublicKey, nil
	}, jwt.WithValidMethods([]string{"PS256"}), jwt.WithExpirationRequired(), jwt.WithAudience("http://"+r.Host+r.URL.Path), jwt.WithIssuer(ClientID), jwt.WithSubject(ClientID))
	if err != nil || token.Header["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return false
	}
	expiry, _ := claims.GetExpirationTime()
	id, _ := claims["jti"].(string)
	return id != "" && !strings.Contains(id, " ") && time.Until(expiry.Time) <= 10*time.Minute
}
