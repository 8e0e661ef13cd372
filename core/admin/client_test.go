package admin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/config"
)

// authority signs certificates into files of a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	a := &authority{dir: dir}
	a.cert, a.key = a.sign(t, name, true)
	return a
}

// sign writes NAME.crt and NAME.key.
func (a *authority) sign(t *testing.T, name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if !ca {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// TestOverTLS speaks to a handler as the command line does, with and without certificates.
func TestOverTLS(t *testing.T) {
	dir := t.TempDir()
	ca, other := newAuthority(t, dir, "ca"), newAuthority(t, dir, "other")
	ca.sign(t, "server", false)
	ca.sign(t, "ops", false)
	ca.sign(t, "dash", false)
	other.sign(t, "stranger", false)
	file := func(name string) string { return filepath.Join(dir, name) }

	path := file("main.hcl")
	text := `admin {
  address    = ":0"
  audit_file = "audit.jsonl"
  tls {
    cert_file      = "server.crt"
    key_file       = "server.key"
    client_ca_file = "ca.crt"
  }
  access "dash" {
    role         = "read"
    certificates = ["dash"]
  }
  access "ada" {
    role   = "operator"
    tokens = ["ada-token"]
  }
}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, diags := config.Load(path, os.LookupEnv)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	d := newDesk(t, cfg.Admin)
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(d.Handler, cfg.Admin.TLS, hclog.NewNullLogger())
	go func() { _ = server.ServeTLS(l, "", "") }()
	defer server.Close()
	https, plain := "https://"+l.Addr().String(), l.Addr().String()

	ops := TLSFiles{file("ca.crt"), file("ops.crt"), file("ops.key")}
	for name, c := range map[string]struct {
		address, token string
		files          TLSFiles
		want           string // of the error of a reload; "" for none
		is             error
	}{
		"operator's certificate": {https, "", ops, "", nil},
		"reader's certificate":   {https, "", TLSFiles{file("ca.crt"), file("dash.crt"), file("dash.key")}, "certificate:dash may only read", nil},
		"token":                  {https, "ada-token", TLSFiles{CA: file("ca.crt")}, "", nil},
		"nothing":                {https, "", TLSFiles{CA: file("ca.crt")}, "a token is required: set CONSENTD_ADMIN_TOKEN", nil},
		"stranger":               {https, "", TLSFiles{file("ca.crt"), file("stranger.crt"), file("stranger.key")}, "does not take the client's certificate", nil},
		"authority not named":    {https, "ada-token", TLSFiles{}, "name the authority's file with --ca-cert", nil},
		"another authority":      {https, "ada-token", TLSFiles{CA: file("other.crt")}, "name the authority's file with --ca-cert", nil},
		"certificate alone":      {https, "", TLSFiles{Cert: file("ops.crt")}, "--client-cert and --client-key belong together", ErrFiles},
		"key of another":         {https, "", TLSFiles{file("ca.crt"), file("ops.crt"), file("dash.key")}, "private key does not match", ErrFiles},
		"no such file":           {https, "", TLSFiles{CA: file("nowhere")}, "no such file", ErrFiles},
		"no certificate":         {https, "", TLSFiles{CA: file("main.hcl")}, "holds no PEM certificate", ErrFiles},
		"certificates for http":  {plain, "", ops, "write https://host:port", ErrAddress},
		"http to TLS":            {plain, "ada-token", TLSFiles{}, "which no consentd does: if it speaks TLS, write the address with https://", nil},
	} {
		t.Run(name, func(t *testing.T) {
			client := NewClient(c.address, c.token).WithTLS(c.files)
			defer client.http.CloseIdleConnections()
			_, err := client.Reload(t.Context())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	got := lines(t, file("audit.jsonl"))
	actors := map[any]bool{}
	for _, l := range got {
		actors[l["actor"]] = true
	}
	if len(got) != 4 || !actors["certificate:ops"] || !actors["token:ada"] {
		t.Errorf("%v", got)
	}
	none := &http.Server{Handler: d.Handler}
	l2, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = none.Serve(l2) }()
	defer none.Close()
	client := NewClient("https://"+l2.Addr().String(), "").WithTLS(TLSFiles{CA: file("ca.crt")})
	defer client.http.CloseIdleConnections()
	if _, err := client.Status(context.Background()); err == nil || !strings.Contains(err.Error(), "speaks no TLS") {
		t.Errorf("got %v", err)
	}
	l2.Close()
	if _, err := client.Status(context.Background()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}
