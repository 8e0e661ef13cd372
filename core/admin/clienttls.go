package admin

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// TLSFiles name the PEM files with which a Client speaks to an https address. Empty: what the system trusts, and no
// certificate of its own.
type TLSFiles struct {
	CA, Cert, Key string
}

// ErrFiles is wrapped when the files of a Client's certificates cannot be used.
var ErrFiles = errors.New("certificates cannot be used")

func (f TLSFiles) load() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("%w: %w; name the authority's file with --ca-cert", ErrFiles, err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: %s holds no PEM certificate; name the authority's file with --ca-cert", ErrFiles, f.CA)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, fmt.Errorf("%w: --client-cert and --client-key belong together; give both, or neither", ErrFiles)
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: --client-cert and --client-key: %w", ErrFiles, err)
		}
		// Sent whatever authorities the daemon names: it then says that this one is not among them.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return conf, nil
}

// unreachable says what to do when there is no answer.
func (c *Client) unreachable(err error) error {
	var unknown x509.UnknownAuthorityError
	var verify *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%s shows a certificate of an authority that is not known here: name the authority's file with --ca-cert or CONSENTD_ADMIN_CA_CERT", c.place)
	case errors.As(err, &verify):
		return fmt.Errorf("%s shows a certificate that is not good: %w", c.place, verify.Err)
	case errors.As(err, &header), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%s speaks no TLS: write the address with http://", c.place)
	case strings.Contains(err.Error(), "remote error: tls:"),
		// In TLS 1.3 the refusal comes after the client's last word, and what is written next may meet the end first.
		c.certified && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) ||
			strings.Contains(err.Error(), "client conn could not be established")): // so net/http has it, without the reason
		return fmt.Errorf("%s does not take the client's certificate: name one of the authority in admin > tls > client_ca_file with --client-cert and --client-key: %w", c.place, err)
	}
	return fmt.Errorf("ask %s: %w; is it consentd's admin address? Name it with --address or CONSENTD_ADMIN_ADDR", c.place, err)
}
