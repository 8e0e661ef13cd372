package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/consentd/consentd/core/config"
)

// TestCertificateExpiry: each listener with a certificate of its own says when that ends.
func TestCertificateExpiry(t *testing.T) {
	until := func(seconds int64) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{{Leaf: &x509.Certificate{NotAfter: time.Unix(seconds, 0)}}}}
	}
	const name = "consentd_listener_certificate_expiry_timestamp_seconds"
	for what, tc := range map[string]struct {
		listener, admin *tls.Config
		want            []string
	}{
		"none":     {nil, nil, nil},
		"listener": {until(1800000000), nil, []string{`{block="listener"} 1.8e+09`}},
		"admin":    {nil, until(1900000000), []string{`{block="admin"} 1.9e+09`}},
		"both":     {until(1800000000), until(1900000000), []string{`{block="admin"} 1.9e+09`, `{block="listener"} 1.8e+09`}},
	} {
		d := &daemon{}
		d.world.Store(&world{config: &config.Config{Listener: config.Listener{TLS: tc.listener}, Admin: config.Admin{TLS: tc.admin}}})
		registry := prometheus.NewRegistry()
		registry.MustRegister(worldCollector{d})
		want := ""
		if len(tc.want) > 0 {
			want = "# HELP " + name + " When the certificate of a tls block ends, in seconds since 1970: of listener or of admin.\n# TYPE " + name + " gauge\n" +
				name + strings.Join(tc.want, "\n"+name) + "\n"
		}
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), name); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
