package salesforce

import (
	"cmp"
	"crypto/rsa"
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	productionLogin = "https://login.salesforce.com"
	sandboxLogin    = "https://test.salesforce.com"
)

// settings is a checked configuration.
type settings struct {
	login   *url.URL
	version string
	grant   httpclient.Grant
	refresh bool // whether grant is a refresh token
	create  bool
}

var versionForm = regexp.MustCompile(`^v([0-9]{2,3})\.0$`)

func readSettings(cfg sdk.Config) (settings, error) {
	var in struct {
		LoginURL     string `json:"login_url"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		Username     string `json:"username"`
		PrivateKey   string `json:"private_key"`
		Audience     string `json:"audience"`
		RefreshToken string `json:"refresh_token"`
		APIVersion   string `json:"api_version"`
		Create       bool   `json:"create"`
	}
	if err := cfg.Decode(&in); err != nil {
		return settings{}, sdk.InvalidConfig("", "%v", err)
	}
	in.LoginURL = cmp.Or(in.LoginURL, productionLogin)
	in.APIVersion = cmp.Or(in.APIVersion, defaultVersion)

	var problems []error
	report := func(path, format string, args ...any) {
		problems = append(problems, sdk.InvalidConfig(path, format, args...))
	}
	s := settings{version: in.APIVersion, create: in.Create}

	login, err := httpclient.Endpoint(in.LoginURL)
	if err != nil {
		report("login_url", "%v", err)
	} else {
		s.login = login
	}
	if in.ClientID == "" {
		report("client_id", "must be the app's consumer key, not empty")
	}
	if m := versionForm.FindStringSubmatch(in.APIVersion); m == nil {
		report("api_version", `must look like %q`, defaultVersion)
	} else if n, _ := strconv.Atoi(m[1]); n < minVersion {
		report("api_version", "must be v%d.0 or later: earlier ones cannot upsert collections", minVersion)
	}

	switch jwtFlow := in.Username != "" || in.PrivateKey != ""; {
	case jwtFlow && in.RefreshToken != "":
		report("refresh_token", "is another way to sign in than username and private_key: keep one")
	case jwtFlow && in.ClientSecret != "":
		report("client_secret", "is not used with username and private_key: keep one way to sign in")
	case jwtFlow && in.Username == "":
		report("username", "is missing: the JWT bearer flow needs it beside private_key")
	case jwtFlow && in.PrivateKey == "":
		report("private_key", "is missing: the JWT bearer flow needs it beside username")
	case jwtFlow:
		key, err := parseKey(in.PrivateKey)
		if err != nil {
			report("private_key", "%v", err)
		}
		s.grant = httpclient.JWTBearer(in.ClientID, in.Username, cmp.Or(in.Audience, defaultAudience(login)), key)
	case in.RefreshToken != "":
		s.refresh = true
		s.grant = httpclient.RefreshToken(in.ClientID, in.ClientSecret, in.RefreshToken)
	case in.ClientSecret != "":
		s.grant = httpclient.ClientCredentials(in.ClientID, in.ClientSecret, "")
		if host := loginHost(login); host == "login.salesforce.com" || host == "test.salesforce.com" {
			report("login_url", "must be your My Domain URL (https://acme.my.salesforce.com): %s does not serve the client credentials flow", host)
		}
	default:
		report("", "no way to sign in: set client_secret, or username and private_key, or refresh_token")
	}
	if in.Audience != "" && in.PrivateKey == "" {
		report("audience", "is used with private_key only")
	}
	return s, errors.Join(problems...)
}

func parseKey(pem string) (*rsa.PrivateKey, error) {
	// The parser's own error is not passed on: it may quote what it could not read.
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(pem))
	if err != nil {
		return nil, errors.New("must be an RSA private key in PEM without a passphrase, for example file(\"salesforce.key\")")
	}
	return key, nil
}

// defaultAudience is the authorization server's name in an assertion: Salesforce knows two, whatever
// host is asked.
func defaultAudience(login *url.URL) string {
	host := loginHost(login)
	if host == "test.salesforce.com" || strings.Contains(host, ".sandbox.") || strings.Contains(host, ".scratch.") {
		return sandboxLogin
	}
	return productionLogin
}

func loginHost(u *url.URL) string {
	if u == nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
