package sender_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/webhook"
	"github.com/consentd/consentd/core/webhook/sender"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	path    = "/webhooks/dataguard"
	key     = "key-3f9c1b+/ 7a5d"
	refresh = "refresh-9a77c2"
	update  = `{"citizenId":"c-1","externalRef":"ada.lovelace@example.org","permissions":[],"sentAt":"2026-03-02T09:14:06.010Z"}`
)

// counting is a store that counts, and fails as often as it is told.
type counting struct {
	accepted, quarantined, failures atomic.Int32
}

func (c *counting) Accept(context.Context, consent.Update) (consent.Verdict, error) {
	if c.failures.Add(-1) >= 0 {
		return 0, store.ErrUnavailable
	}
	c.accepted.Add(1)
	return consent.Accepted, nil
}

func (c *counting) Quarantine(context.Context, store.Quarantined) error {
	c.quarantined.Add(1)
	return nil
}

// world is the real handler over loopback, with a clock.
type world struct {
	store *counting
	url   string
	skew  atomic.Int64
	// tokens counts requests to the token endpoint.
	tokens atomic.Int32
}

func newWorld(t *testing.T, auth config.Auth) *world {
	t.Helper()
	w := &world{store: &counting{}}
	h, err := webhook.New(webhook.Options{
		Listener: config.Listener{MaxBodySize: 1 << 20},
		Sources: []config.Source{{
			Name: "dataguard", Path: path, UpdateType: consent.EffectivePermission, Auth: auth,
		}},
		Store:   w.store,
		Log:     hclog.NewNullLogger(),
		Metrics: webhook.NewMetrics(nil),
		Now:     func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/oauth/token") {
			w.tokens.Add(1)
		}
		h.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func newSender(t *testing.T, o sender.Options) *sender.Sender {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	o.Transport = transport
	s, err := sender.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func oauth() config.Auth {
	return config.Auth{
		Mode: config.AuthOAuth2, Header: "Authorization", Prefix: "Bearer",
		TokenPath: path + "/oauth/token", RefreshTokens: []string{refresh}, TokenLifetime: time.Hour,
	}
}

func TestModes(t *testing.T) {
	client := oauth()
	client.ClientID, client.ClientSecret = "cpm", "s3cret +&"
	queried := oauth()
	queried.Header, queried.Prefix, queried.Query = "", "", "access_token"
	for _, tc := range []struct {
		name    string
		auth    config.Auth
		options sender.Options
		refresh *sender.Refresh // its URL is filled in
		status  int
		posts   int
	}{
		{"none", config.Auth{Mode: config.AuthNone}, sender.Options{}, nil, 200, 1},
		{"key in a header", config.Auth{Mode: config.AuthAPIKey, Header: "X-API-Key", Keys: []string{key}}, sender.Options{Header: "X-API-Key", Credential: key}, nil, 200, 1},
		{"key in the query", config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: []string{key}}, sender.Options{Query: "key", Credential: key}, nil, 200, 1},
		{"wrong key", config.Auth{Mode: config.AuthAPIKey, Header: "X-API-Key", Keys: []string{key}}, sender.Options{Header: "X-API-Key", Credential: "x"}, nil, 401, 3},
		{"no key, twice", config.Auth{Mode: config.AuthAPIKey, Header: "X-API-Key", Keys: []string{key}}, sender.Options{Attempts: 2}, nil, 401, 2},
		{"token", config.Auth{Mode: config.AuthToken, Header: "Authorization", Prefix: "Bearer", Keys: []string{key}}, sender.Options{Credential: key}, nil, 200, 1},
		{"token with a prefix", config.Auth{Mode: config.AuthToken, Header: "X-Token", Prefix: "Token", Keys: []string{key}}, sender.Options{Header: "X-Token", Prefix: "Token", Credential: key}, nil, 200, 1},
		{"refresh from nothing", oauth(), sender.Options{}, &sender.Refresh{Token: refresh}, 200, 2},
		{"refresh from a wrong token", oauth(), sender.Options{Credential: "x"}, &sender.Refresh{Token: refresh}, 200, 2},
		{"refresh with client credentials", client, sender.Options{}, &sender.Refresh{Token: refresh, ClientID: "cpm", ClientSecret: "s3cret +&"}, 200, 2},
		{"access token in the query", queried, sender.Options{Query: "access_token"}, &sender.Refresh{Token: refresh}, 200, 2},
		{"no refresh where one is needed", oauth(), sender.Options{Credential: "x"}, nil, 401, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.auth)
			tc.options.URL = w.url + path
			if tc.refresh != nil {
				tc.refresh.URL = w.url + path + "/oauth/token"
				tc.options.Refresh = tc.refresh
			}
			got, err := newSender(t, tc.options).Send(t.Context(), []byte(update))
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != tc.status || got.Posts != tc.posts || got.OK() != (tc.status == 200) || got.Refreshed != (tc.refresh != nil) {
				t.Errorf("answer = %d %s, %d posts, refreshed %v", got.Status, got.Body, got.Posts, got.Refreshed)
			}
			if got.OK() && string(got.Body) != `{"status":"accepted"}`+"\n" {
				t.Errorf("body = %s", got.Body)
			}
		})
	}
}

// The token is kept until it is refused, as the sender does: expired -> 401 -> refresh -> accepted.
func TestExpiredTokenIsRefreshed(t *testing.T) {
	w := newWorld(t, oauth())
	s := newSender(t, sender.Options{URL: w.url + path, Refresh: &sender.Refresh{URL: w.url + path + "/oauth/token", Token: refresh}})
	for i, step := range []struct {
		pass   time.Duration
		posts  int
		tokens int32
	}{{0, 2, 1}, {0, 1, 1}, {2 * time.Hour, 2, 2}, {0, 1, 2}} {
		w.skew.Add(int64(step.pass))
		got, err := s.Send(t.Context(), []byte(update))
		if err != nil || !got.OK() || got.Posts != step.posts || w.tokens.Load() != step.tokens {
			t.Errorf("step %d: answer = %+v, %v, %d tokens", i, got, err, w.tokens.Load())
		}
	}
}

// A token that is refused although it is new is not fetched again and again.
func TestRefreshIsTriedOnce(t *testing.T) {
	w := newWorld(t, oauth())
	var fetched atomic.Int32
	foreign := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		_, _ = io.WriteString(rw, `{"access_token":"foreign"}`)
	}))
	t.Cleanup(foreign.Close)
	s := newSender(t, sender.Options{URL: w.url + path, Refresh: &sender.Refresh{URL: foreign.URL, Token: refresh}})
	got, err := s.Send(t.Context(), []byte(update))
	if err != nil || got.Status != 401 || got.Posts != 2 || fetched.Load() != 1 {
		t.Errorf("answer = %+v, %v, %d tokens", got, err, fetched.Load())
	}
}

func TestConcurrentPostsShareARefresh(t *testing.T) {
	w := newWorld(t, oauth())
	s := newSender(t, sender.Options{URL: w.url + path, Refresh: &sender.Refresh{URL: w.url + path + "/oauth/token", Token: refresh}})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := s.Send(t.Context(), []byte(update)); err != nil || !got.OK() {
				t.Errorf("answer = %+v, %v", got, err)
			}
		})
	}
	all.Wait()
	if n := w.tokens.Load(); n != 1 {
		t.Errorf("tokens fetched = %d, want 1", n)
	}
}

func TestAttempts(t *testing.T) {
	for _, tc := range []struct {
		name             string
		failures         int32
		attempts, status int
		posts            int
	}{
		{"one failure", 1, 0, 200, 2},
		{"two failures", 2, 0, 200, 3},
		{"three failures", 3, 0, 503, 3},
		{"one attempt", 1, 1, 503, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, config.Auth{Mode: config.AuthNone})
			w.store.failures.Store(tc.failures)
			s := newSender(t, sender.Options{URL: w.url + path, Attempts: tc.attempts, Delay: time.Millisecond})
			got, err := s.Send(t.Context(), []byte(update))
			if err != nil || got.Status != tc.status || got.Posts != tc.posts {
				t.Errorf("answer = %+v, %v", got, err)
			}
		})
	}
	w := newWorld(t, config.Auth{Mode: config.AuthNone})
	got, err := newSender(t, sender.Options{URL: w.url + path}).Send(t.Context(), []byte("{"))
	if err != nil || got.Status != 202 || got.Posts != 1 || w.store.quarantined.Load() != 1 {
		t.Errorf("what is quarantined: answer = %+v, %v", got, err)
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	w := newWorld(t, oauth())
	bad := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		form, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/echo":
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(rw, `{"error":"`+url.QueryEscape(string(form))+`"}`)
		case "/text":
			_, _ = rw.Write(form)
		case "/empty":
			_, _ = io.WriteString(rw, `{"refresh_token":"`+refresh+`"}`)
		}
	}))
	t.Cleanup(bad.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, tc := range []struct {
		name    string
		options sender.Options
		want    string
		noToken bool
	}{
		{"nobody there", sender.Options{URL: closed.URL + path + "?k=" + url.QueryEscape(key), Query: "key", Credential: key}, "post the update", false},
		{"no token endpoint there", sender.Options{URL: w.url + path, Refresh: &sender.Refresh{URL: closed.URL, Token: refresh}}, "refresh the access token", false},
		{"wrong refresh token", sender.Options{URL: w.url + path, Refresh: &sender.Refresh{URL: w.url + path + "/oauth/token", Token: key}}, "answers 400 invalid_grant", true},
		{"endpoint that echoes", sender.Options{URL: w.url + path, Refresh: &sender.Refresh{URL: bad.URL + "/echo", Token: refresh}}, "answers 400", true},
		{"endpoint without JSON", sender.Options{URL: w.url + path, Refresh: &sender.Refresh{URL: bad.URL + "/text", Token: refresh}}, "not the JSON", true},
		{"endpoint without a token", sender.Options{URL: w.url + path, Refresh: &sender.Refresh{URL: bad.URL + "/empty", Token: refresh}}, "no access_token", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := newSender(t, tc.options).Send(t.Context(), []byte(update))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error = %v, want one with %q", err, tc.want)
			}
			if errors.Is(err, sender.ErrNoToken) != tc.noToken {
				t.Errorf("error = %v; is it ErrNoToken?", err)
			}
			for _, s := range []string{key, url.QueryEscape(key), refresh, "ada.lovelace"} {
				if strings.Contains(err.Error(), s) {
					t.Errorf("error holds %q: %v", s, err)
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]sender.Options{
		"no url":            {},
		"relative url":      {URL: "/" + key},
		"other scheme":      {URL: "ftp://127.0.0.1/" + key},
		"malformed url":     {URL: "http://127.0.0.1:" + key},
		"refresh url":       {URL: "http://127.0.0.1/", Refresh: &sender.Refresh{URL: "token", Token: refresh}},
		"no refresh token":  {URL: "http://127.0.0.1/", Refresh: &sender.Refresh{URL: "http://127.0.0.1/"}},
		"header and query":  {URL: "http://127.0.0.1/", Header: "X-API-Key", Query: "key"},
		"negative attempts": {URL: "http://127.0.0.1/", Attempts: -1},
	} {
		if _, err := sender.New(o); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), refresh) {
			t.Errorf("%s: error holds a secret: %v", name, err)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var posts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		posts.Add(1)
		http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(server.Close)
	got, err := newSender(t, sender.Options{URL: server.URL, Attempts: 1, Credential: key}).Send(t.Context(), []byte(update))
	if err != nil || got.Status != http.StatusTemporaryRedirect || posts.Load() != 1 {
		t.Errorf("answer = %+v, %v, %d posts", got, err, posts.Load())
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	w := newWorld(t, config.Auth{Mode: config.AuthNone})
	w.store.failures.Store(10)
	ctx, cancel := context.WithCancel(t.Context())
	s := newSender(t, sender.Options{URL: w.url + path, Delay: time.Hour})
	done := make(chan error)
	go func() {
		_, err := s.Send(ctx, []byte(update))
		done <- err
	}()
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("error = %v", err)
	}
}
