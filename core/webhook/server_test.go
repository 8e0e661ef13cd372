package webhook

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
)

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

// serve runs what NewServer makes on loopback and says where.
func serve(t *testing.T, b *bench, l config.Listener, change func(*http.Server)) string {
	t.Helper()
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: b.log, JSONFormat: true})
	server := NewServer(l, b.handler, logger)
	if change != nil {
		change(server)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		if l.TLS != nil {
			done <- server.ServeTLS(ln, "", "")
		} else {
			done <- server.Serve(ln)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// authority signs certificates for loopback.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return authority{cert, key, pool}
}

func (a authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLSAndClientCertificates(t *testing.T) {
	b := newBench(t, keyAuth())
	ca, stranger := newAuthority(t), newAuthority(t)
	address := serve(t, b, config.Listener{TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "server")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool,
	}}, nil)
	for _, tc := range []struct {
		name  string
		certs []tls.Certificate
		want  int // 0: no connection
	}{
		{"right certificate", []tls.Certificate{ca.issue(t, "sender")}, 200},
		{"no certificate", nil, 0},
		{"stranger's certificate", []tls.Certificate{stranger.issue(t, "ada.lovelace@example.org")}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
				RootCAs: ca.pool,
				// Given whatever the server asks for, so that the stranger's is really sent.
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if tc.certs == nil {
						return &tls.Certificate{}, nil
					}
					return &tc.certs[0], nil
				},
			}}
			defer transport.CloseIdleConnections()
			req, _ := http.NewRequest(http.MethodPost, "https://"+address+path, strings.NewReader(update("c-1", "GRANTED", monday)))
			req.Header = withKey(nil)
			res, err := (&http.Client{Transport: transport}).Do(req)
			got := 0
			if err == nil {
				got = res.StatusCode
				res.Body.Close()
			}
			if got != tc.want {
				t.Errorf("answer = %d (%v), want %d", got, err, tc.want)
			}
		})
	}
	// The server answers the client with an alert first and logs after.
	told := func() bool {
		log := b.log.String()
		return strings.Contains(log, "client didn't provide a certificate") && strings.Contains(log, "failed to verify certificate")
	}
	for deadline := time.Now().Add(30 * time.Second); !told() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if log := b.log.String(); !told() {
		t.Errorf("the log does not tell of the handshakes: %s", log)
	} else if strings.Contains(log, "127.0.0.1") || strings.Contains(log, "lovelace") {
		t.Errorf("the log holds the peer: %s", log)
	}
}

func TestSlowSender(t *testing.T) {
	b := newBench(t, keyAuth())
	address := serve(t, b, config.Listener{}, func(s *http.Server) { s.ReadTimeout = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 100\r\n\r\n{", path, apiKey)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil) // returns only if the server gives up by itself
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("answer = %d, want 408", res.StatusCode)
	}
	if a, q := b.store.counts(); a+q != 0 {
		t.Error("half a body reached the store")
	}
}

func TestSenderHangsUp(t *testing.T) {
	b := newBench(t, keyAuth())
	address := serve(t, b, config.Listener{}, nil)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	whole := update("c-1", "GRANTED", monday)
	// Half a message that is valid JSON must not pass for a whole one.
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n%s", path, apiKey, len(whole)+1, whole)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "incomplete") {
		t.Errorf("answer = %d %s, want 400 incomplete", res.StatusCode, body)
	}
	if a, q := b.store.counts(); a+q != 0 {
		t.Error("half a body reached the store")
	}
}

func TestServerHasLimits(t *testing.T) {
	s := NewServer(config.Listener{Address: "127.0.0.1:8484"}, http.NotFoundHandler(), hclog.NewNullLogger())
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 || s.ErrorLog == nil {
		t.Errorf("server = %+v", s)
	}
	if s.WriteTimeout <= s.ReadTimeout+commitTimeout {
		t.Errorf("a slow body and a slow commit leave no time to answer: %v", s.WriteTimeout)
	}
	if s.Addr != "127.0.0.1:8484" {
		t.Errorf("address = %s", s.Addr)
	}
}

// Whatever comes, the log holds neither a credential nor anything of a body.
func TestNothingLeaks(t *testing.T) {
	b := newBench(t, config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: []string{apiKey}})
	secretsAndPersons := []string{apiKey, "wr0ng-key", "ada.lovelace", "J. Roe", "c-1", "k3Rmx", "acme-us-01", "+41 44"}
	good := update("c-1", "GRANTED", monday)
	send := func(query, body string) { b.do(t, http.MethodPost, path+query, nil, strings.NewReader(body)) }
	for _, body := range []string{
		good, good, good[:40], strings.Replace(good, `"c-1"`, `["ada.lovelace"]`, 1),
		strings.Replace(good, monday, "ada.lovelace", 1), strings.Replace(good, "acme-eu-01", "acme-us-01", 1),
		`{"ada.lovelace":1,"ada.lovelace":2}`, `"+41 44"`, `{"citizenId":"c-1"}`, `{"permissions":[{"optionId":"k3Rmx"}],"citizenId":"c-1"}`,
		`{"permissions":{"ada.lovelace":1}}`, `{"preferences":[{"choices":{"ada.lovelace":true}}]}`, "ada.lovelace=\xff",
		good + strings.Repeat(" ", maxBody),
	} {
		send("?key="+apiKey, body)
		send("?key=wr0ng-key", body)
		send("?key="+apiKey+"&key=wr0ng-key", body)
		send("?other=wr0ng-key", body)
	}
	b.store.fails = store.ErrUnavailable
	send("?key="+apiKey, good)
	send("?key="+apiKey, "ada.lovelace")
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	log := b.log.String()
	if strings.Count(log, "\n") < 40 {
		t.Fatalf("the log has too few lines to prove anything: %s", log)
	}
	for _, s := range secretsAndPersons {
		if strings.Contains(log, s) {
			t.Errorf("the log holds %q: %s", s, log)
		}
		for _, q := range b.store.quarantined {
			if strings.Contains(q.Reason, s) {
				t.Errorf("a reason for quarantine holds %q: %s", s, q.Reason)
			}
		}
	}
}

// A sender that fails a thousand times alike is one warning; the next change is another.
func TestOnlyAChangedFailureIsLoud(t *testing.T) {
	b := newBench(t, keyAuth())
	warnings := func() int { return strings.Count(b.log.String(), `"@level":"warn"`) }
	for range 5 {
		b.post(t, http.Header{"X-Api-Key": {"wrong"}}, "{}")
	}
	if n := warnings(); n != 1 {
		t.Errorf("warnings of five equal failures = %d, want 1", n)
	}
	b.post(t, withKey(nil), "{")
	b.post(t, withKey(nil), update("c-1", "GRANTED", monday))
	b.post(t, withKey(nil), "{")
	if n := warnings(); n != 3 {
		t.Errorf("warnings after two changes = %d, want 3", n)
	}
}
