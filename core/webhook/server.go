package webhook

import (
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/config"
)

// NewServer makes the HTTP server around a Handler, or around what swaps Handlers. It is for ServeTLS
// with empty file names when the listener has TLS, else for Serve.
func NewServer(l config.Listener, h http.Handler, logger hclog.Logger) *http.Server {
	const readTimeout = 30 * time.Second
	return &http.Server{
		Addr:              l.Address,
		Handler:           h,
		TLSConfig:         l.TLS,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       readTimeout,
		// Past the slowest body and the longest commit there is still time to answer.
		WriteTimeout:                 readTimeout + commitTimeout + 10*time.Second,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               16 << 10,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(serverLog{logger}, "", 0),
	}
}

// serverLog says what net/http complains of in our words: its own quote addresses, names out of
// certificates, and the values of panics.
type serverLog struct{ log hclog.Logger }

// handshakeReasons are parts of crypto/tls's errors that help and hold nothing of the peer.
var handshakeReasons = []string{
	"client didn't provide a certificate",
	"failed to verify certificate",
	"first record does not look like a TLS handshake",
	"client sent an HTTP request to an HTTPS server",
	"unsupported versions",
	"no cipher suite supported",
	"unknown certificate authority",
	"bad certificate",
	"i/o timeout",
	"EOF",
}

func (s serverLog) Write(line []byte) (int, error) {
	text := string(line)
	switch {
	case strings.HasPrefix(text, "http: TLS handshake error"):
		reason := "other"
		for _, r := range handshakeReasons {
			if strings.Contains(text, r) {
				reason = r
				break
			}
		}
		s.log.Debug("TLS handshake failed", "reason", reason)
	case strings.HasPrefix(text, "http: Accept error"):
		s.log.Error("accepting connections fails")
	case strings.Contains(text, "panic serving"):
		s.log.Error("serving a request panicked")
	default:
		s.log.Debug("the HTTP server complains of a request or a connection")
	}
	return len(line), nil
}
