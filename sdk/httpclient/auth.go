package httpclient

import (
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Auth is how the vendor knows us. The zero value is not at all.
type Auth struct {
	name, value string
	signIn      *OAuth2
	held        *heldToken
}

// Bearer sends a token that a person was given, as Authorization: Bearer.
func Bearer(token string) Auth { return APIKey("Authorization", "Bearer "+token) }

// Basic sends a name and a password (RFC 7617). The name must not hold a colon.
func Basic(user, password string) Auth {
	return APIKey("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// APIKey sends a key in a header of the vendor's own, with whatever prefix it wants.
func APIKey(header, value string) Auth { return Auth{name: header, value: value} }

// SignIn fetches access tokens. One is held for all callers, and is fetched once for all of them: when
// the first call needs it, shortly before it ends, and when the vendor no longer takes it. Clients that are
// made with the same Auth hold the same token.
func SignIn(o OAuth2) Auth { return Auth{signIn: &o, held: &heldToken{}} }

// Grant writes the form of a token request.
type Grant func(now time.Time) (url.Values, error)

// ClientCredentials is the grant of RFC 6749, 4.4. The scope may be empty.
func ClientCredentials(id, secret, scope string) Grant {
	return func(time.Time) (url.Values, error) {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
		if scope != "" {
			form.Set("scope", scope)
		}
		return form, nil
	}
}

// RefreshToken is the grant of RFC 6749, 6. The secret may be empty. When the vendor answers with another
// refresh token, that one is used from then on, and lost at the end of the process.
func RefreshToken(id, secret, token string) Grant {
	return func(time.Time) (url.Values, error) {
		form := url.Values{"grant_type": {refreshGrant}, "client_id": {id}, "refresh_token": {token}}
		if secret != "" {
			form.Set("client_secret", secret)
		}
		return form, nil
	}
}

const refreshGrant = "refresh_token"

// assertionLife is how long an assertion is valid. Vendors take up to about five minutes.
const assertionLife = 3 * time.Minute

// JWTBearer is the grant of RFC 7523, 2.1, with an assertion signed by RS256.
func JWTBearer(issuer, subject, audience string, key *rsa.PrivateKey) Grant {
	return func(now time.Time) (url.Values, error) {
		// MapClaims and not RegisteredClaims: the latter writes the audience as a list.
		assertion, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss": issuer,
			"sub": subject,
			"aud": audience,
			"exp": now.Add(assertionLife).Unix(),
		}).SignedString(key)
		if err != nil {
			return nil, fmt.Errorf("sign assertion: %w", err)
		}
		return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}, nil
	}
}
