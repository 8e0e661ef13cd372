package webhook

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/consentd/consentd/core/config"
)

const (
	// clockLeeway is how far the clocks of replicas may be apart.
	clockLeeway = 30 * time.Second
	issuer      = "consentd"
)

// accessTokens issues and checks the access tokens of one source: JWTs under HS256 that carry all that
// checking needs and nothing of a person. Their keys are derived from the refresh tokens, so they hold
// across restarts and replicas, and end with the refresh token under which they were issued.
type accessTokens struct {
	source   string
	signing  []byte
	keys     jwt.VerificationKeySet
	parser   *jwt.Parser
	lifetime time.Duration
	now      func() time.Time
}

func newAccessTokens(source string, c config.Auth, now func() time.Time) (*accessTokens, error) {
	a := &accessTokens{
		source:   source,
		lifetime: c.TokenLifetime,
		now:      now,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithIssuer(issuer),
			jwt.WithAudience(source),
			jwt.WithExpirationRequired(),
			jwt.WithLeeway(clockLeeway),
			jwt.WithTimeFunc(now),
			jwt.WithStrictDecoding(),
		),
	}
	if a.lifetime < time.Second {
		return nil, errors.New("the token lifetime is under a second")
	}
	for _, refresh := range c.RefreshTokens {
		if refresh == "" {
			return nil, errors.New("a refresh token is empty")
		}
		key, err := hkdf.Key(sha256.New, []byte(refresh), nil, "consentd access token v1 "+source, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive the key of access tokens: %w", err)
		}
		a.keys.Keys = append(a.keys.Keys, key)
		if a.signing == nil {
			a.signing = key
		}
	}
	if a.signing == nil {
		return nil, errors.New("no refresh token is set")
	}
	return a, nil
}

// issue makes a new access token, signed under the first refresh token's key.
func (a *accessTokens) issue() (string, error) {
	now := a.now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer:    issuer,
		Audience:  jwt.ClaimStrings{a.source},
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(a.lifetime)),
		ID:        rand.Text(),
	}).SignedString(a.signing)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return token, nil
}

// valid is whether the token was issued for this source under a refresh token that is still configured,
// and has not expired.
func (a *accessTokens) valid(token string) bool {
	_, err := a.parser.ParseWithClaims(token, &jwt.RegisteredClaims{}, func(*jwt.Token) (any, error) { return a.keys, nil })
	return err == nil
}
