package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func privateKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newAuthority(t *testing.T, dir, name string) authority {
	t.Helper()
	key := privateKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key, writePEM(t, filepath.Join(dir, name+".crt"), "CERTIFICATE", der)}
}

// issue writes a certificate for a name and 127.0.0.1, and its key.
func (a authority) issue(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	own := privateKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, filepath.Join(dir, name+".crt"), "CERTIFICATE", der), writePEM(t, filepath.Join(dir, name+".key"), "PRIVATE KEY", private)
}

// TestTLS: a server that shows the right certificate is served, and another one is told nothing.
func TestTLS(t *testing.T) {
	cluster, dir := pgtest.New(t), t.TempDir()
	ours, another := newAuthority(t, dir, "ours"), newAuthority(t, dir, "another")
	serverCert, serverKey := ours.issue(t, cluster.Dir(), "server")
	clientCert, clientKey := ours.issue(t, dir, "certified")
	foreignCert, foreignKey := another.issue(t, t.TempDir(), "certified")
	clientCA := writePEM(t, filepath.Join(cluster.Dir(), "ca.crt"), "CERTIFICATE", ours.cert.Raw)
	cluster.Own(t, serverCert, serverKey, clientCA)
	databases := map[string]string{"consentd": pgtest.Name(cluster.Database(t)), "certified": pgtest.Name(cluster.Database(t))}
	if err := cluster.Exec(databases["certified"], "CREATE ROLE certified LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO certified"); err != nil {
		t.Fatal(err)
	}
	cluster.Access(t, "hostssl all certified 127.0.0.1/32 cert", "host all certified 127.0.0.1/32 reject", "hostssl all consentd 127.0.0.1/32 trust")
	cluster.Restart(t, "ssl=on", "ssl_cert_file="+serverCert, "ssl_key_file="+serverKey, "ssl_ca_file="+clientCA)
	dsn := func(user, host string, set map[string]string) string {
		q := url.Values{"sslmode": {"verify-full"}}
		for k, v := range set {
			q.Set(k, v)
		}
		_, port, _ := strings.Cut(cluster.Address(), ":")
		return "postgres://" + user + ":s3cret@" + host + ":" + port + "/" + databases[user] + "?" + q.Encode()
	}
	for what, tc := range map[string]struct {
		dsn  string
		want string // what the error says; empty: there is none
	}{
		"right":           {dsn("consentd", "127.0.0.1", map[string]string{"sslrootcert": ours.file}), ""},
		"certified":       {dsn("certified", "127.0.0.1", map[string]string{"sslrootcert": ours.file, "sslcert": clientCert, "sslkey": clientKey}), ""},
		"of another CA":   {dsn("consentd", "127.0.0.1", map[string]string{"sslrootcert": another.file}), "set sslrootcert in the dsn to the file of the authority that signed it"},
		"of the system's": {dsn("consentd", "127.0.0.1", nil), "set sslrootcert in the dsn to the file of the authority that signed it"},
		"any CA":          {dsn("consentd", "127.0.0.1", map[string]string{"sslmode": "verify-ca", "sslrootcert": another.file}), "set sslrootcert in the dsn"},
		"of another host": {dsn("consentd", "localhost", map[string]string{"sslrootcert": ours.file}), "name the host in the dsn as the certificate does"},
		"no such file":    {dsn("consentd", "127.0.0.1", map[string]string{"sslrootcert": dir + "/absent.crt"}), dir + "/absent.crt"},
		"no certificates": {dsn("consentd", "127.0.0.1", map[string]string{"sslrootcert": clientKey}), "sslrootcert"},
		"not certified":   {dsn("certified", "127.0.0.1", map[string]string{"sslrootcert": ours.file}), "set sslcert and sslkey in the dsn"},
		"foreign client":  {dsn("certified", "127.0.0.1", map[string]string{"sslrootcert": ours.file, "sslcert": foreignCert, "sslkey": foreignKey}), "set sslcert and sslkey in the dsn"},
		"no key":          {dsn("certified", "127.0.0.1", map[string]string{"sslrootcert": ours.file, "sslcert": clientCert}), "sslkey"},
		"in clear":        {dsn("certified", "127.0.0.1", map[string]string{"sslmode": "disable"}), "pg_hba.conf rejects"},
	} {
		s, err := Open(ctx, Options{DSN: tc.dsn, MaxConnections: LeastConnections})
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", what, err)
		case tc.want == "":
			route(t, s, toMail...)
			accept(t, s, update(what, "GRANTED", 1), consent.Accepted)
			settle(t, s, claim(t, s, 1)...)
			if inClear(t, s) {
				t.Errorf("%s: a connection is in clear", what)
			}
			s.Close()
		case err == nil:
			s.Close()
			t.Errorf("%s: opened", what)
		case !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret"):
			t.Errorf("%s: %v", what, err)
		}
		if check := Check(ctx, Options{DSN: tc.dsn}, false); (check == nil) != (err == nil) || check != nil && strings.Contains(check.Error(), "s3cret") {
			t.Errorf("%s: checked: %v", what, check)
		}
	}
}

// inClear is whether any connection of the store is.
func inClear(t *testing.T, s *Store) (is bool) {
	t.Helper()
	if _, err := one(ctx, s.pool, []any{&is}, `SELECT coalesce(bool_or(NOT ssl), true) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = current_user AND application_name = 'consentd'`); err != nil {
		t.Fatal(err)
	}
	return is
}
