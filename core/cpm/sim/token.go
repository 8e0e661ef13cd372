package sim

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// tokenLife is what the documents give as the longest life of an access token.
const tokenLife = 24 * time.Hour

// token is the token endpoint of the identity service in front of the API. Tokens are to be kept and used again:
// the documents call it a breach of fair use to ask for one too often, and name no number.
func (s *Sim) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var in struct {
		GrantType    string `json:"grant_type"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		Audience     string `json:"audience"`
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		_ = json.NewDecoder(r.Body).Decode(&in)
	} else {
		in.GrantType, in.Audience = r.PostFormValue("grant_type"), r.PostFormValue("audience")
		in.ClientID, in.ClientSecret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	refuse := func(status int, code string) { write(w, status, map[string]string{"error": code}) }
	switch {
	case in.GrantType != "client_credentials":
		refuse(http.StatusForbidden, "unauthorized_client")
	case in.ClientID != ClientID || in.ClientSecret != ClientSecret:
		refuse(http.StatusUnauthorized, "access_denied")
	case in.Audience == "":
		refuse(http.StatusForbidden, "access_denied")
	case s.behaviour.FairUse > 0 && s.issued >= s.behaviour.FairUse:
		refuse(http.StatusTooManyRequests, "too_many_requests")
	default:
		s.issued++
		t := s.id("jwt-")
		s.tokens[t] = s.now().Add(tokenLife)
		write(w, http.StatusOK, map[string]any{"access_token": t, "token_type": "Bearer", "expires_in": int(tokenLife.Seconds())})
	}
}
