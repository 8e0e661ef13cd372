package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes a self-signed certificate and its key, and says where.
func certificate(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
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
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "a")
	certificate(t, dir, "b")
	if err := os.WriteFile(filepath.Join(dir, "empty.crt"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(lines string) (*Config, string) {
		t.Helper()
		path := filepath.Join(dir, "main.hcl")
		if err := os.WriteFile(path, []byte("listener {\ntls {\n"+lines+"\n}\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, diags := Load(path, getenv)
		return c, strings.ReplaceAll(render(diags), dir+"/", "")
	}
	c, problems := load("cert_file = \"a.crt\"\nkey_file = \"a.key\"\nclient_ca_file = \"b.crt\"")
	if problems != "" {
		t.Fatal(problems)
	}
	if got := c.Listener.TLS; len(got.Certificates) != 1 || got.ClientAuth != tls.RequireAndVerifyClientCert || got.ClientCAs == nil || got.MinVersion != tls.VersionTLS12 {
		t.Errorf("got %+v", got)
	}
	if c, problems = load("cert_file = \"a.crt\"\nkey_file = \"a.key\""); problems != "" || c.Listener.TLS.ClientAuth != tls.NoClientCert {
		t.Errorf("%s %+v", problems, c.Listener.TLS)
	}
	for lines, want := range map[string]string{
		"cert_file = \"a.crt\"\nkey_file = \"b.key\"":                                 `main.hcl:3,13-20: Certificate cannot be used: The files in cert_file and key_file do not make a pair`,
		"cert_file = \"c.crt\"\nkey_file = \"a.key\"":                                 `main.hcl:3,13-20: File cannot be read: The file "c.crt" of "cert_file": no such file or directory.`,
		"cert_file = \"a.crt\"\nkey_file = \"a.key\"\nclient_ca_file = \"empty.crt\"": `main.hcl:5,18-29: Certificate cannot be used: The file in client_ca_file holds no PEM certificate.`,
	} {
		if _, problems := load(lines); !strings.Contains(problems, want) || strings.Contains(problems, "\n") {
			t.Errorf("got  %s\nwant %s", problems, want)
		}
	}
}

// TestAdminTLS: the admin address takes certificates beside tokens, which is access enough for any address.
func TestAdminTLS(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "a")
	load := func(lines, files string) (*Config, string) {
		t.Helper()
		path := filepath.Join(dir, "main.hcl")
		if err := os.WriteFile(path, []byte("admin {\n"+lines+"\ntls {\ncert_file = \"a.crt\"\nkey_file = \"a.key\"\n"+files+"\n}\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, diags := Load(path, getenv)
		return c, strings.ReplaceAll(render(diags), dir+"/", "")
	}
	c, problems := load(`address = ":8485"`, `client_ca_file = "a.crt"`)
	if problems != "" || c.Admin.Open() || c.Admin.TLS.ClientAuth != tls.VerifyClientCertIfGiven {
		t.Errorf("%s %+v", problems, c.Admin.TLS)
	}
	if c, problems = load("", ""); problems != "" || !c.Admin.Open() {
		t.Errorf("%s %+v", problems, c.Admin.TLS)
	}
	if _, problems = load(`address = ":8485"`, ""); !strings.Contains(problems, "Admin listener without a token") {
		t.Errorf("got %s", problems)
	}
	if _, problems = load(`address = "unix:///a.sock"`, ""); !strings.Contains(problems, "main.hcl:3,1-4: TLS on a unix socket") {
		t.Errorf("got %s", problems)
	}
}
