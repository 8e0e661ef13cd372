package webhook

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

// nowhere is a store that keeps nothing, so that only the handler is measured.
type nowhere struct{}

func (nowhere) Accept(context.Context, consent.Update) (consent.Verdict, error) {
	return consent.Accepted, nil
}

func (nowhere) Quarantine(context.Context, store.Quarantined) error { return nil }

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// BenchmarkHandler is the handler alone with a message of 3 KB: no network and no store.
func BenchmarkHandler(b *testing.B) {
	permission := `{"transactionId":"t-%d","optionType":"option","optionId":"o-%d","justification":"consent","state":"GRANTED",` +
		`"channel":"web","campaign":"spring-26","privacyPolicyId":"pp-7","privacyPolicyRef":"privacy-v4","recordedByName":"J. Roe",` +
		`"recordedAt":"2026-03-02T09:14:05.120Z","obtainedAt":"2026-03-02T09:14:04.000Z","validUntil":null}`
	var permissions []string
	for i := range 9 {
		permissions = append(permissions, fmt.Sprintf(permission, i, i))
	}
	body := []byte(`{"applicationId":"acme-eu-01","citizenId":"5f0c1a9e7b2d","externalRef":"CRM-000417","permissions":[` +
		strings.Join(permissions, ",") + `],"preferences":[],"sentAt":"2026-03-02T09:14:06.010Z"}`)
	for _, auth := range []config.Auth{{Mode: config.AuthNone}, keyAuth(), oauth()} {
		b.Run(string(auth.Mode), func(b *testing.B) {
			bench := newBench(b, auth)
			header := withKey(nil)
			if auth.Mode == config.AuthOAuth2 {
				access, err := newAccessTokens("dataguard", auth, bench.clock.read)
				if err != nil {
					b.Fatal(err)
				}
				token, err := access.issue()
				if err != nil {
					b.Fatal(err)
				}
				header.Set("Authorization", "Bearer "+token)
			}
			o := bench.options(bench.source)
			o.Store, o.Log = nowhere{}, hclog.NewNullLogger()
			h, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				req, _ := http.NewRequest(http.MethodPost, path, nil)
				req.Header, req.ContentLength = header, int64(len(body))
				w := discard{make(http.Header)}
				for pb.Next() {
					req.Body = nopCloser{bytes.NewReader(body)}
					h.ServeHTTP(w, req)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}
