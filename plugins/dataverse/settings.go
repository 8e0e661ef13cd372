package dataverse

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	publicLogin    = "https://login.microsoftonline.com"
	defaultVersion = "v9.2"
)

// settings is a checked configuration.
type settings struct {
	base, version string
	tokenURL      string
	grant         httpclient.Grant
	resubscribe   subscriber.Resubscribe
}

var (
	versionForm = regexp.MustCompile(`^v9\.[0-9]$`)
	tenantForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)
)

func readSettings(cfg sdk.Config) (settings, error) {
	var in struct {
		BaseURL      string `json:"base_url"`
		TenantID     string `json:"tenant_id"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		Certificate  string `json:"certificate"`
		PrivateKey   string `json:"private_key"`
		LoginURL     string `json:"login_url"`
		APIVersion   string `json:"api_version"`
		Resubscribe  string `json:"resubscribe"`
	}
	if err := cfg.Decode(&in); err != nil {
		return settings{}, sdk.InvalidConfig("", "%v", err)
	}
	s := settings{version: cmp.Or(in.APIVersion, defaultVersion)}
	var problems []error
	report := func(path, format string, args ...any) {
		problems = append(problems, sdk.InvalidConfig(path, format, args...))
	}

	base, err := httpclient.Endpoint(in.BaseURL)
	switch {
	case err != nil:
		report("base_url", "%v", err)
	case base.Path != "":
		report("base_url", "must be the environment's address alone (https://acme.crm4.dynamics.com), without a path")
	default:
		s.base = base.String()
	}
	login, err := httpclient.Endpoint(cmp.Or(in.LoginURL, publicLogin))
	if err != nil {
		report("login_url", "%v", err)
	} else {
		s.tokenURL = login.JoinPath(in.TenantID, "oauth2/v2.0/token").String()
	}
	if !tenantForm.MatchString(in.TenantID) {
		report("tenant_id", "must be the directory's id or a domain of it")
	}
	if !httpclient.Printable(in.ClientID) {
		report("client_id", "must be the app registration's application id")
	}
	if !versionForm.MatchString(s.version) {
		report("api_version", "must look like %q", defaultVersion)
	}
	if s.resubscribe, err = policies.Parse(in.Resubscribe); err != nil {
		problems = append(problems, err)
	}

	scope := s.base + "/.default" // all that the application user's roles give
	switch withCertificate := in.Certificate != "" || in.PrivateKey != ""; {
	case withCertificate && in.ClientSecret != "":
		report("client_secret", "is another way to sign in than certificate and private_key: keep one")
	case withCertificate && in.Certificate == "":
		report("certificate", "is missing: private_key needs it")
	case withCertificate && in.PrivateKey == "":
		report("private_key", "is missing: certificate needs it")
	case withCertificate:
		p, err := readCertificate(in.Certificate, in.PrivateKey)
		if err != nil {
			problems = append(problems, err)
			break
		}
		s.grant = p.grant(in.ClientID, s.tokenURL, scope)
	case in.ClientSecret == "":
		report("", "no way to sign in: set client_secret, or certificate and private_key")
	case !httpclient.Printable(in.ClientSecret):
		report("client_secret", "must be the secret's value, without spaces and line ends")
	default:
		s.grant = httpclient.ClientCredentials(in.ClientID, in.ClientSecret, scope)
	}
	return s, errors.Join(problems...)
}

// pair is a certificate that Entra ID holds and the key that proves it ours.
type pair struct {
	thumbprint string
	key        *rsa.PrivateKey
}

// readCertificate passes on no parser's error: they may quote what they could not read.
func readCertificate(certificate, key string) (pair, error) {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return pair{}, sdk.InvalidConfig("certificate", "must be a certificate in PEM, for example file(\"dataverse.crt\")")
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return pair{}, sdk.InvalidConfig("certificate", "must be an X.509 certificate in PEM")
	}
	private, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(key))
	if err != nil {
		return pair{}, sdk.InvalidConfig("private_key", "must be an RSA private key in PEM without a passphrase, for example file(\"dataverse.key\")")
	}
	if !private.PublicKey.Equal(parsed.PublicKey) {
		return pair{}, sdk.InvalidConfig("private_key", "is not the key of the certificate")
	}
	sum := sha256.Sum256(block.Bytes)
	return pair{thumbprint: base64.RawURLEncoding.EncodeToString(sum[:]), key: private}, nil
}

// grant is the client credentials grant with an assertion in place of the secret, as Entra ID wants it:
// learn.microsoft.com/entra/identity-platform/certificate-credentials.
func (p pair) grant(clientID, tokenURL, scope string) httpclient.Grant {
	return func(now time.Time) (url.Values, error) {
		token := jwt.NewWithClaims(jwt.SigningMethodPS256, jwt.MapClaims{
			"aud": tokenURL,
			"iss": clientID,
			"sub": clientID,
			"jti": rand.Text(),
			"nbf": now.Unix(),
			"iat": now.Unix(),
			"exp": now.Add(5 * time.Minute).Unix(),
		})
		token.Header["x5t#S256"] = p.thumbprint
		assertion, err := token.SignedString(p.key)
		if err != nil {
			return nil, fmt.Errorf("sign assertion: %w", err)
		}
		return url.Values{
			"grant_type":            {"client_credentials"},
			"client_id":             {clientID},
			"scope":                 {scope},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {assertion},
		}, nil
	}
}
