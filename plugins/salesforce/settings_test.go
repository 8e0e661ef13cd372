package salesforce

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

var testKey = sync.OnceValues(func() (*rsa.PrivateKey, string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
})

func TestConfigMistakes(t *testing.T) {
	_, key := testKey()
	const myDomain = "https://acme.my.salesforce.com"
	for name, test := range map[string]struct {
		config attrs
		path   string
	}{
		"no way to sign in":           {attrs{"client_id": "c"}, ""},
		"no client id":                {attrs{"client_secret": "hush-hush", "login_url": myDomain}, "client_id"},
		"default login with a secret": {attrs{"client_id": "c", "client_secret": "hush-hush"}, "login_url"},
		"sandbox login with a secret": {attrs{"client_id": "c", "client_secret": "hush-hush", "login_url": "https://test.salesforce.com/"}, "login_url"},
		"username alone":              {attrs{"client_id": "c", "username": "u"}, "private_key"},
		"key alone":                   {attrs{"client_id": "c", "private_key": key}, "username"},
		"key and secret":              {attrs{"client_id": "c", "username": "u", "private_key": key, "client_secret": "hush-hush"}, "client_secret"},
		"key and refresh token":       {attrs{"client_id": "c", "username": "u", "private_key": key, "refresh_token": "hush-hush"}, "refresh_token"},
		"not a key":                   {attrs{"client_id": "c", "username": "u", "private_key": "hush-hush"}, "private_key"},
		"audience without a key":      {attrs{"client_id": "c", "refresh_token": "hush-hush", "audience": "a"}, "audience"},
		"plain http":                  {attrs{"client_id": "c", "refresh_token": "hush-hush", "login_url": "http://acme.my.salesforce.com"}, "login_url"},
		"not a URL":                   {attrs{"client_id": "c", "refresh_token": "hush-hush", "login_url": "acme"}, "login_url"},
		"a secret in the URL":         {attrs{"client_id": "c", "refresh_token": "r", "login_url": "https://u:hush-hush@acme.my.salesforce.com"}, "login_url"},
		"version without v":           {attrs{"client_id": "c", "refresh_token": "hush-hush", "api_version": "62.0"}, "api_version"},
		"version too old":             {attrs{"client_id": "c", "refresh_token": "hush-hush", "api_version": "v45.0"}, "api_version"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newTargetFrom(t, test.config, hclog.NewNullLogger())
			var mistake *sdk.ConfigError
			if !errors.As(err, &mistake) {
				t.Fatalf("error is %v, want a configuration error", err)
			}
			if got := strings.Join(mistake.Path, "."); got != test.path {
				t.Errorf("path is %q, want %q: %v", got, test.path, err)
			}
			if strings.Contains(err.Error(), "hush-hush") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

func TestSeveralMistakesAtOnce(t *testing.T) {
	_, err := newTargetFrom(t, attrs{"api_version": "x", "login_url": "x"}, hclog.NewNullLogger())
	for _, path := range []string{"api_version", "login_url", "client_id", "no way to sign in"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q is not named: %v", path, err)
		}
	}
}

func TestAudience(t *testing.T) {
	private, key := testKey()
	for _, test := range []struct{ login, audience, want string }{
		{"", "", "https://login.salesforce.com"},
		{"https://login.salesforce.com", "", "https://login.salesforce.com"},
		{"https://acme.my.salesforce.com", "", "https://login.salesforce.com"},
		{"https://test.salesforce.com", "", "https://test.salesforce.com"},
		{"https://acme--dev.sandbox.my.salesforce.com", "", "https://test.salesforce.com"},
		{"https://acme.scratch.my.salesforce.com", "", "https://test.salesforce.com"},
		{"https://acme.my.salesforce.com", "https://acme.my.site.com/portal", "https://acme.my.site.com/portal"},
	} {
		s, err := readSettings(sdk.Config{Fields: plugintest.Encode(t, attrs{
			"client_id": "c", "username": "u", "private_key": key, "login_url": test.login, "audience": test.audience,
		})})
		if err != nil {
			t.Fatal(err)
		}
		form, err := s.grant(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var claims struct {
			jwt.RegisteredClaims
			Audience string `json:"aud"`
		}
		_, err = jwt.ParseWithClaims(form.Get("assertion"), &claims, func(*jwt.Token) (any, error) { return &private.PublicKey, nil })
		if err != nil || claims.Audience != test.want {
			t.Errorf("login %q, audience %q: got %q (%v), want %q", test.login, test.audience, claims.Audience, err, test.want)
		}
	}
}

// Every attribute is on the reference page.
func TestEveryAttributeHasADoc(t *testing.T) {
	p := Plugin()
	for _, schema := range []sdk.Schema{p.Config, p.Record} {
		for name, a := range schema.Attributes {
			if a.Doc == "" || a.Type == "" {
				t.Errorf("%s has no doc or no type", name)
			}
		}
	}
}
