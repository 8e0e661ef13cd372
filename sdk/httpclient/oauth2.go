package httpclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/singleflight"

	"github.com/consentd/consentd/sdk"
)

// OAuth2 is how access tokens are fetched. TokenURL and Grant are required.
type OAuth2 struct {
	// TokenURL is the whole address of the token endpoint: https, or http to this machine.
	TokenURL string
	Grant    Grant
	// Query sends the grant in the query of a GET, as Marketo wants it, in place of a form.
	Query bool
	// Basic sends the grant's client_id and client_secret as name and password (RFC 6749, 2.3.1) rather than
	// in the form.
	Basic bool
	// Scheme is the word before the token. Empty is Bearer.
	Scheme string
	// Instance is the member of the token's answer that says where the API is: "instance_url". It takes
	// the place of BaseURL. The token is sent there only if it is https, or on this machine when the
	// token endpoint is.
	Instance string
	// Classify corrects what RFC 6749 says of a refusal: nearly all of them are for a person to mend.
	Classify func(*Response, sdk.Outcome) sdk.Outcome
}

const (
	// signInTimeout bounds one sign-in. It runs apart from the caller that needed it first, because
	// others wait for it too and a rotated refresh token must not be lost half-way.
	signInTimeout = 30 * time.Second
	// renewEarly is how long before its end a token is renewed, so that it does not end on the way. It is
	// no more than a tenth of its life: some vendors give out the same token again until it ends.
	renewEarly = 30 * time.Second
)

// token is an access token. Its pointer tells it from another, for a vendor may give out the same twice.
type token struct {
	authorization string    // the header's value
	instance      string    // where it is valid; empty: at the base URL
	renewAt       time.Time // zero: the vendor does not say when it ends, and a refused call will tell
}

// heldToken is the access token in use, of all clients with the same Auth.
type heldToken struct {
	mu      sync.Mutex
	current *token
}

// session keeps an access token for all callers.
type session struct {
	OAuth2
	held     *heldToken
	loopback bool // the token endpoint is on this machine, so the instance may be as well
	log      hclog.Logger
	exchange func(*http.Request) (*Response, error)
	life     context.Context
	end      context.CancelFunc
	flight   singleflight.Group
	rotated  string // the newest refresh token; touched by the one flight only

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // flights
}

func newSession(o OAuth2, held *heldToken, log hclog.Logger, exchange func(*http.Request) (*Response, error)) (*session, error) {
	u, err := Endpoint(o.TokenURL)
	if err != nil {
		return nil, fmt.Errorf("token endpoint: %w", err)
	}
	if o.Scheme == "" {
		o.Scheme = "Bearer"
	}
	if log == nil {
		log = hclog.NewNullLogger()
	}
	life, end := context.WithCancel(context.Background())
	return &session{OAuth2: o, held: held, loopback: isLoopback(u), log: log, exchange: exchange, life: life, end: end}, nil
}

// close ends a sign-in that is under way and waits for it.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.running.Wait()
}

// token returns the token in use, or a new one when that is the refused one.
func (s *session) token(ctx context.Context, refused *token) (*token, error) {
	for {
		if t := s.fresh(refused); t != nil {
			return t, nil
		}
		flight := s.flight.DoChan("", func() (any, error) { return s.renew(refused) })
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case r := <-flight:
			if r.Err != nil {
				return nil, r.Err
			}
			// A flight that was begun for an older token may bring the very one that is refused here.
			if t := r.Val.(*token); t != refused {
				return t, nil
			}
		}
	}
}

func (s *session) fresh(refused *token) *token {
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	t := s.held.current
	if t == nil || t == refused || !t.renewAt.IsZero() && time.Now().After(t.renewAt) {
		return nil
	}
	return t
}

func (s *session) renew(refused *token) (*token, error) {
	if t := s.fresh(refused); t != nil {
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
	s.held.mu.Lock()
	s.held.current = t
	s.held.mu.Unlock()
	s.log.Debug("signed in")
	return t, nil
}

func (s *session) signIn(ctx context.Context) (*token, error) {
	form, err := s.Grant(time.Now())
	if err != nil {
		return nil, sdk.Unauthorized("NO_GRANT", "%v", err).Err()
	}
	refresh := form.Get("grant_type") == refreshGrant
	if refresh && s.rotated != "" {
		form.Set("refresh_token", s.rotated)
	}
	req, err := s.request(ctx, form)
	if err != nil {
		return nil, err
	}
	res, err := s.exchange(req)
	if err != nil {
		return nil, err
	}
	if res.Status != http.StatusOK {
		return nil, s.refusal(res, form).Err()
	}
	var answer map[string]any
	_ = res.Decode(&answer)
	text := func(name string) string { t, _ := answer[name].(string); return t }
	access := text("access_token")
	if access == "" {
		return nil, sdk.Retry("NO_TOKEN", "the token endpoint answered without an access token").Err()
	}
	if next := text("refresh_token"); refresh && next != "" && next != form.Get("refresh_token") {
		s.rotated = next
		s.log.Warn("the vendor rotated the refresh token; the new one is kept in memory only, and the configured one fails after a restart",
			"fix", "turn off refresh token rotation for the app, or sign in another way")
	}
	t := &token{authorization: s.Scheme + " " + access, renewAt: renewAt(answer["expires_in"], time.Now())}
	if s.Instance != "" {
		if t.instance, err = s.instance(text(s.Instance)); err != nil {
			return nil, sdk.Unauthorized("BAD_INSTANCE_URL", "the token endpoint named an address of the API that no token may be sent to: it %v", err).Err()
		}
	}
	return t, nil
}

func (s *session) request(ctx context.Context, form url.Values) (*http.Request, error) {
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if s.Basic {
		form = maps.Clone(form)
		form.Del("client_id")
		form.Del("client_secret")
	}
	method, at, body := http.MethodPost, s.TokenURL, form.Encode()
	if s.Query {
		method, at, body = http.MethodGet, at+"?"+body, ""
	}
	req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("build token request")
	}
	req.Header = http.Header{"Accept": {"application/json"}, "User-Agent": {"consentd"}}
	if s.Basic {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	if !s.Query {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, nil
}

// renewAt reads how many seconds a token lives; some vendors write the number as a string.
func renewAt(expiresIn any, now time.Time) time.Time {
	var life time.Duration
	switch n := expiresIn.(type) {
	case json.Number:
		life, _ = time.ParseDuration(n.String() + "s")
	case string:
		life, _ = time.ParseDuration(n + "s")
	}
	if life <= 0 {
		return time.Time{}
	}
	return now.Add(life - min(renewEarly, life/10))
}

func (s *session) instance(raw string) (string, error) {
	u, err := Endpoint(raw)
	if err == nil && u.Scheme == "http" && !s.loopback {
		err = errors.New("must begin with https://: credentials are sent there")
	}
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// refusal reads an error of the token endpoint (RFC 6749, 5.2).
func (s *session) refusal(res *Response, form url.Values) sdk.Outcome {
	o := res.Outcome()
	after := o.RetryAfter
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = res.Decode(&answer)
	switch {
	case o.Kind == sdk.KindThrottled || res.Status >= 500 || res.Status == http.StatusRequestTimeout:
	case Word(answer.Error) == "":
		o = sdk.Unauthorized(o.Code, "the token endpoint answered %d, and not as OAuth 2 has it: is its address right?", res.Status)
	default:
		text := fmt.Sprintf("the vendor refused to sign in: %.200s", withoutSecrets(answer.Description, form))
		switch answer.Error {
		case "server_error", "temporarily_unavailable":
			o = sdk.Retry(answer.Error, "%s", text)
		default:
			o = sdk.Unauthorized(answer.Error, "%s", text)
		}
	}
	o.RetryAfter = after
	if s.Classify != nil {
		o = s.Classify(res, o)
	}
	return o
}

// withoutSecrets cuts from text what a token request must keep to itself.
func withoutSecrets(text string, form url.Values) string {
	secrets := maps.Clone(form)
	for _, told := range []string{"grant_type", "client_id", "scope"} {
		secrets.Del(told)
	}
	data, err := json.Marshal(secrets)
	if err != nil {
		return ""
	}
	return sdk.Redact(text, data)
}
