package admin

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/consentd/consentd/core/config"
)

// TestInProcess: pages reach the API as who looks at them, and as nobody else.
func TestInProcess(t *testing.T) {
	d := newDesk(t, config.Admin{TLS: &tls.Config{ClientCAs: x509.NewCertPool()}, Access: []config.Access{
		{Name: "dash", Role: config.RoleRead, Tokens: sum("read-token")}, {Name: "ada", Role: config.RoleOperator, Tokens: sum("ada-token")},
	}})
	bare := httptest.NewRequest(http.MethodGet, "https://consentd.example.org/", nil)
	bare.TLS = nil
	certified := httptest.NewRequest(http.MethodGet, "https://consentd.example.org/", nil)
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "ops"}}
	certified.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	for _, c := range []struct {
		from       *http.Request
		token      string
		actor      string
		mayRelease int // status
	}{
		{bare, "", "", 401},
		{bare, "wrong", "", 401},
		{bare, "read-token", "token:dash", 403},
		{bare, "ada-token", "token:ada", 200},
		{certified, "", "certificate:ops", 200},
		{certified, "read-token", "token:dash", 403},
	} {
		client := inProcess(d.Handler, c.from, c.token)
		who, err := client.Caller(t.Context())
		if who.Actor != c.actor || (err == nil) != (c.actor != "") {
			t.Errorf("token %q: %+v, %v", c.token, who, err)
		}
		status := 200
		var refused *RefusedError
		if err := client.ReleaseHeld(t.Context(), "in", "c1"); errors.As(err, &refused) {
			status = refused.Status
		} else if err != nil {
			t.Error(err)
		}
		if status != c.mayRelease {
			t.Errorf("token %q: release %d, want %d", c.token, status, c.mayRelease)
		}
	}
}

// TestConsoleIsMounted beside the API, and cannot be posted to from another site.
func TestConsoleIsMounted(t *testing.T) {
	o := newDesk(t, config.Admin{}).Options
	o.Console = func(api func(*http.Request, string) *Client) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, err := api(r, "").Caller(r.Context())
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Actor", who.Actor)
		})
	}
	h := NewHandler(o)
	for _, c := range []struct {
		method, path, site string
		status             int
		page               bool
	}{
		{"GET", "/", "", 200, true}, {"GET", "/anything", "", 200, true}, {"POST", "/dead/replay", "same-origin", 200, true},
		{"POST", "/dead/replay", "cross-site", 403, false}, {"GET", "/v1/status", "", 200, false}, {"GET", "/v1/nowhere", "", 404, false},
		{"GET", "/metrics", "", 200, false}, {"GET", "/healthz", "", 200, false},
	} {
		r := httptest.NewRequest(c.method, "http://127.0.0.1"+c.path, nil)
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || (w.Header().Get("Actor") == "loopback") != c.page {
			t.Errorf("%s %s: %d, %v", c.method, c.path, w.Code, w.Header())
		}
	}
}
