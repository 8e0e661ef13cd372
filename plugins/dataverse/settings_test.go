package dataverse

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"net/http"

	"github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// certificates are two, with their keys, in PEM.
var certificates = sync.OnceValue(func() (all [2]struct {
	parsed    *x509.Certificate
	cert, key string
}) {
	for i := range all {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "consentd"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			panic(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			panic(err)
		}
		if all[i].parsed, err = x509.ParseCertificate(der); err != nil {
			panic(err)
		}
		all[i].cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		all[i].key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	}
	return all
})

func TestConfigMistakes(t *testing.T) {
	certs := certificates()
	good := attrs{"base_url": "https://acme.crm4.dynamics.com", "tenant_id": "acme.onmicrosoft.com", "client_id": "c", "client_secret": "hush-hush"}
	if _, err := newTargetFrom(t, good); err != nil {
		t.Fatal(err)
	}
	with := func(change attrs) attrs { return merged(good, attrs{"client_secret": nil}, change) }
	for name, tc := range map[string]struct {
		config attrs
		path   string
	}{
		"no address":            {merged(good, attrs{"base_url": nil}), "base_url"},
		"an address with path":  {merged(good, attrs{"base_url": "https://acme.crm4.dynamics.com/api/data/v9.2"}), "base_url"},
		"plain http":            {merged(good, attrs{"base_url": "http://acme.crm4.dynamics.com"}), "base_url"},
		"a secret in the URL":   {merged(good, attrs{"base_url": "https://u:hush-hush@acme.crm4.dynamics.com"}), "base_url"},
		"plain http login":      {merged(good, attrs{"login_url": "http://login.example.com"}), "login_url"},
		"no tenant":             {merged(good, attrs{"tenant_id": ""}), "tenant_id"},
		"a tenant with a slash": {merged(good, attrs{"tenant_id": "a/../b"}), "tenant_id"},
		"no client":             {merged(good, attrs{"client_id": ""}), "client_id"},
		"a secret with its end": {merged(good, attrs{"client_secret": "hush-hush\n"}), "client_secret"},
		"no way to sign in":     {with(nil), ""},
		"two ways":              {merged(good, attrs{"certificate": certs[0].cert, "private_key": certs[0].key}), "client_secret"},
		"certificate alone":     {with(attrs{"certificate": certs[0].cert}), "private_key"},
		"key alone":             {with(attrs{"private_key": certs[0].key}), "certificate"},
		"no certificate":        {with(attrs{"certificate": "hush-hush", "private_key": certs[0].key}), "certificate"},
		"a key as certificate":  {with(attrs{"certificate": certs[0].key, "private_key": certs[0].key}), "certificate"},
		"no key":                {with(attrs{"certificate": certs[0].cert, "private_key": "hush-hush"}), "private_key"},
		"another's key":         {with(attrs{"certificate": certs[0].cert, "private_key": certs[1].key}), "private_key"},
		"version":               {merged(good, attrs{"api_version": "9.2"}), "api_version"},
		"policy":                {merged(good, attrs{"resubscribe": "confirm"}), "resubscribe"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newTargetFrom(t, tc.config)
			var mistake *sdk.ConfigError
			if !errors.As(err, &mistake) {
				t.Fatalf("error is %v, want a configuration error", err)
			}
			if got := strings.Join(mistake.Path, "."); got != tc.path {
				t.Errorf("path is %q, want %q: %v", got, tc.path, err)
			}
			if strings.Contains(err.Error(), "hush-hush") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
	_, err := newTargetFrom(t, attrs{"api_version": "x"})
	for _, path := range []string{"api_version", "base_url", "tenant_id", "client_id", "no way to sign in"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q is not named: %v", path, err)
		}
	}
}

func TestSignIn(t *testing.T) {
	certs := certificates()
	for name, tc := range map[string]struct {
		config attrs
		kind   sdk.Kind
		code   string
	}{
		"secret":             {nil, sdk.KindDelivered, ""},
		"wrong secret":       {attrs{"client_secret": "wrong-secret"}, sdk.KindUnauthorized, "invalid_client"},
		"wrong client":       {attrs{"client_id": "somebody"}, sdk.KindUnauthorized, "unauthorized_client"},
		"wrong tenant":       {attrs{"tenant_id": "nowhere.example"}, sdk.KindUnauthorized, "invalid_request"},
		"certificate":        {attrs{"client_secret": nil, "certificate": certs[0].cert, "private_key": certs[0].key}, sdk.KindDelivered, ""},
		"other certificate":  {attrs{"client_secret": nil, "certificate": certs[1].cert, "private_key": certs[1].key}, sdk.KindUnauthorized, "invalid_client"},
		"not an environment": {attrs{"base_url": "https://127.0.0.1:1"}, sdk.KindUnauthorized, "invalid_resource"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			e.SetCertificate(certs[0].parsed)
			o := mustTarget(t, config(e.url, tc.config)).Check(t.Context())
			expect(t, o, tc.kind, tc.code)
			if strings.Contains(o.Message, "wrong-secret") {
				t.Errorf("the message holds the secret: %s", o.Message)
			}
		})
	}
}

func TestSignInFailuresThatPass(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	for _, tc := range []struct {
		status int
		code   string
		kind   sdk.Kind
	}{{503, "temporarily_unavailable", sdk.KindRetry}, {400, "temporarily_unavailable", sdk.KindRetry}, {429, "throttled", sdk.KindThrottled}} {
		e.FailSignIns(1, tc.status, tc.code, "AADSTS90033: A transient error has occurred.")
		if o := deliver(t, target, contact(t, "5f0c", attrs{"donotemail": false})); o.Kind != tc.kind {
			t.Errorf("%d %s: %+v", tc.status, tc.code, o)
		}
	}
	expect(t, deliver(t, target, contact(t, "5f0c", attrs{"donotemail": false})), sdk.KindDelivered, "")
}

// An expired token is renewed once for all workers, and a token that is refused anew pauses the target.
func TestExpiredToken(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	expect(t, target.Check(t.Context()), sdk.KindDelivered, "")
	e.ExpireTokens()
	var workers sync.WaitGroup
	for _, r := range crowd(t, maxInFlight) {
		workers.Go(func() { expect(t, target.Deliver(t.Context(), []sdk.Record{r})[0], sdk.KindDelivered, "") })
	}
	workers.Wait()
	if n := e.SignIns(); n != 2 {
		t.Errorf("%d sign-ins, want 2", n)
	}
	e.FailNext(2, sim.Fault{Status: 401, Message: "no"})
	expect(t, target.Check(t.Context()), sdk.KindUnauthorized, "HTTP_401")
}

// However many workers there are, so many calls are at once.
func TestConcurrencyLimit(t *testing.T) {
	e := newEnvironment(t)
	var now, most atomic.Int32
	url := plugintest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/$batch") {
			n := now.Add(1)
			defer now.Add(-1)
			for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
			}
			time.Sleep(5 * time.Millisecond)
		}
		e.ServeHTTP(w, r)
	})
	target := mustTarget(t, config(url, attrs{"resubscribe": "force"}))
	var workers sync.WaitGroup
	for _, r := range crowd(t, 4*maxInFlight) {
		workers.Go(func() { expect(t, target.Deliver(t.Context(), []sdk.Record{r})[0], sdk.KindDelivered, "") })
	}
	workers.Wait()
	if most.Load() > maxInFlight {
		t.Errorf("%d calls at once, want at most %d", most.Load(), maxInFlight)
	}
}
