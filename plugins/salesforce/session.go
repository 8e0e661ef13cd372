package salesforce

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/singleflight"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	// signInTimeout bounds one sign-in. It runs apart from the caller that needed it first, because
	// others wait for it too and a rotated refresh token must not be lost half-way.
	signInTimeout = 30 * time.Second
	// assertionLife is how long a JWT assertion is valid; Salesforce takes up to about five minutes.
	assertionLife = 3 * time.Minute
)

// credentials are one of the three ways to sign in.
type credentials struct {
	clientID, clientSecret string
	username, audience     string
	privateKey             *rsa.PrivateKey
	refreshToken           string
}

// form is the token request.
func (c *credentials) form(now time.Time) (url.Values, error) {
	switch {
	case c.privateKey != nil:
		// MapClaims and not RegisteredClaims: the latter writes the audience as a list.
		assertion, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss": c.clientID,
			"sub": c.username,
			"aud": c.audience,
			"exp": now.Add(assertionLife).Unix(),
		}).SignedString(c.privateKey)
		if err != nil {
			return nil, fmt.Errorf("sign assertion: %w", err)
		}
		return url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
			"assertion":  {assertion},
		}, nil
	case c.refreshToken != "":
		form := url.Values{
			"grant_type":    {"refresh_token"},
			"client_id":     {c.clientID},
			"refresh_token": {c.refreshToken},
		}
		if c.clientSecret != "" {
			form.Set("client_secret", c.clientSecret)
		}
		return form, nil
	default:
		return url.Values{
			"grant_type":    {"client_credentials"},
			"client_id":     {c.clientID},
			"client_secret": {c.clientSecret},
		}, nil
	}
}

// token is an access token with a client for the instance that it is valid for.
type token struct {
	access string
	api    *httpclient.Client
}

// session holds one access token for all callers. Salesforce does not say when a token ends, so it is
// used until a call is answered 401, and then renewed once for all of them.
type session struct {
	login       *httpclient.Client
	loopback    bool // sign-in is on this machine, so the instance may be as well
	log         hclog.Logger
	usage       usage
	life        context.Context
	end         context.CancelFunc
	flight      singleflight.Group
	credentials credentials // touched by the one flight only

	mu      sync.Mutex
	current *token
	clients map[string]*httpclient.Client // by instance URL
	closed  bool
	running sync.WaitGroup // flights
}

func newSession(s settings, log hclog.Logger) (*session, error) {
	login, err := httpclient.New(s.login.String(), 1)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	return &session{
		login:       login,
		loopback:    isLoopback(s.login),
		log:         log,
		life:        life,
		end:         end,
		credentials: s.credentials,
		clients:     map[string]*httpclient.Client{},
	}, nil
}

// close ends a sign-in that is under way and waits for it.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.running.Wait()
	s.login.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		c.Close()
	}
}

// call makes one exchange with the instance. When the session has expired it signs in and makes the
// call once more. The error is fit for outcomeOf.
func (s *session) call(ctx context.Context, method, path string, body any) (*httpclient.Response, error) {
	var stale *token
	for {
		t, err := s.token(ctx, stale)
		if err != nil {
			return nil, err
		}
		res, err := t.api.Do(ctx, method, path, body, http.Header{"Authorization": {"Bearer " + t.access}})
		if err != nil {
			return nil, err
		}
		s.usage.watch(res.Header, s.log)
		if res.Status != http.StatusUnauthorized || stale != nil {
			return res, nil
		}
		stale = t
	}
}

// token returns the token in use, or a new one when that is stale.
func (s *session) token(ctx context.Context, stale *token) (*token, error) {
	for {
		if t := s.fresh(stale); t != nil {
			return t, nil
		}
		flight := s.flight.DoChan("", func() (any, error) { return s.renew(stale) })
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case r := <-flight:
			if r.Err != nil {
				return nil, r.Err
			}
			// A flight that was begun for an older token may bring the very one that is stale here.
			if t := r.Val.(*token); t != stale {
				return t, nil
			}
		}
	}
}

func (s *session) fresh(stale *token) *token {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == stale {
		return nil
	}
	return s.current
}

func (s *session) renew(stale *token) (*token, error) {
	if t := s.fresh(stale); t != nil {
		return t, nil
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, context.Canceled
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	ctx, cancel := context.WithTimeout(s.life, signInTimeout)
	defer cancel()
	t, err := s.signIn(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.current = t
	s.mu.Unlock()
	return t, nil
}

func (s *session) signIn(ctx context.Context) (*token, error) {
	form, err := s.credentials.form(time.Now())
	if err != nil {
		return nil, err
	}
	res, err := s.login.Do(ctx, http.MethodPost, "/services/oauth2/token", form, nil)
	if err != nil {
		return nil, err
	}
	if res.Status != http.StatusOK {
		return nil, signInFailure(res)
	}
	var answer struct {
		AccessToken  string `json:"access_token"`
		InstanceURL  string `json:"instance_url"`
		RefreshToken string `json:"refresh_token"`
	}
	if err := res.Decode(&answer); err != nil || answer.AccessToken == "" {
		return nil, &failure{sdk.Retry("NO_TOKEN", "the token endpoint answered without an access token")}
	}
	if rotated := answer.RefreshToken; rotated != "" && s.credentials.refreshToken != "" && rotated != s.credentials.refreshToken {
		s.credentials.refreshToken = rotated
		s.log.Warn("Salesforce rotated the refresh token; the new one is kept in memory only, and the configured one fails after a restart",
			"fix", "turn off refresh token rotation for the app, or use client_secret or private_key")
	}
	api, err := s.client(answer.InstanceURL)
	if err != nil {
		return nil, &failure{sdk.Unauthorized("BAD_INSTANCE_URL", "the token endpoint named an instance_url that no token may be sent to: it %v", err)}
	}
	s.log.Debug("signed in")
	return &token{access: answer.AccessToken, api: api}, nil
}

func (s *session) client(instance string) (*httpclient.Client, error) {
	u, err := endpoint(instance, s.loopback)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[u.String()]; c != nil {
		return c, nil
	}
	c, err := httpclient.New(u.String(), maxInFlight)
	if err != nil {
		return nil, err
	}
	s.clients[u.String()] = c
	return c, nil
}

// failure is an error that knows its outcome.
type failure struct{ outcome sdk.Outcome }

func (f *failure) Error() string { return f.outcome.Code + ": " + f.outcome.Message }

func outcomeOf(err error) sdk.Outcome {
	var f *failure
	if errors.As(err, &f) {
		return f.outcome
	}
	return sdk.FromError(err)
}
