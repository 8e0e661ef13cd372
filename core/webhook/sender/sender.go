// Package sender posts updates as the sender does: with its credentials, its refresh upon a 401, and its
// three attempts. It is what `consentd send` and tests of the way in are made of, and apart from package
// webhook so that the listener is only ever tested from outside.
package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// Defaults after the sender's documentation, which tells of up to three attempts straight away.
const (
	DefaultAttempts = 3
	defaultHeader   = "Authorization"
	defaultPrefix   = "Bearer"
	timeout         = time.Minute // of one exchange; the sender's own is not documented
	maxAnswer       = 64 << 10    // bytes of an answer that are read
)

// ErrNoToken is wrapped by Send when the token endpoint answered, and gave no access token.
var ErrNoToken = errors.New("no access token was given")

// Options say where to post and with what.
type Options struct {
	// URL of the source, absolute, http or https.
	URL string
	// Credential is the api key, static token or access token; empty to send none, which is also how a
	// sender with Refresh may begin.
	Credential string
	// Header and Query say where the credential stands; at most one is set. With neither it stands in
	// `Authorization: Bearer`. Prefix comes before it in the header, with a space between.
	Header, Query, Prefix string
	// Refresh, when not nil, is what a 401 is met with.
	Refresh *Refresh
	// Attempts bounds the tries after errors; 0 is DefaultAttempts. The try after a refresh is not counted.
	Attempts int
	// Delay is waited between tries; the sender waits for nothing.
	Delay time.Duration
	// Transport is http.DefaultTransport when nil.
	Transport http.RoundTripper
}

// Refresh is where and how a new access token is fetched.
type Refresh struct {
	URL, Token string
	// ClientID and ClientSecret are sent in the form when they are set.
	ClientID, ClientSecret string
}

// Sender posts updates. It is safe for concurrent use, and keeps the newest access token from one post to
// the next, as the sender does.
type Sender struct {
	options Options
	client  *http.Client

	mu         sync.Mutex
	credential string
}

// Answer is what came back last.
type Answer struct {
	Status int
	Body   []byte
	// Posts counts the requests to the source, Refreshed is whether a token was fetched between them.
	Posts     int
	Refreshed bool
}

// OK is whether the update was taken: the sender counts every status but a 2xx as a failure.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// New checks the options and makes a Sender of them. Redirects are not followed: whether the sender
// follows them is not documented.
func New(o Options) (*Sender, error) {
	if err := checkURL(o.URL); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if o.Refresh != nil {
		if err := checkURL(o.Refresh.URL); err != nil {
			return nil, fmt.Errorf("refresh url: %w", err)
		}
		if o.Refresh.Token == "" {
			return nil, errors.New("refresh token is missing")
		}
	}
	if o.Header != "" && o.Query != "" {
		return nil, errors.New("a credential stands in a header or in the query, not in both")
	}
	if o.Header == "" && o.Query == "" {
		o.Header, o.Prefix = defaultHeader, defaultPrefix
	}
	if o.Attempts < 0 {
		return nil, errors.New("attempts must not be below zero")
	}
	if o.Attempts == 0 {
		o.Attempts = DefaultAttempts
	}
	return &Sender{options: o, credential: o.Credential, client: &http.Client{
		Transport:     o.Transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// checkURL says nothing of the URL itself, whose query may hold a key.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("must be an absolute http or https URL")
	}
	return nil
}

// Send posts one update and answers with what the last try brought; an error means that it brought no
// answer, or that no token could be fetched. Errors hold neither a credential nor anything of the update.
func (s *Sender) Send(ctx context.Context, update []byte) (answer Answer, err error) {
	for attempt := 1; ; attempt++ {
		credential := s.current()
		err = s.post(ctx, update, credential, &answer)
		if err == nil && answer.Status == http.StatusUnauthorized && s.options.Refresh != nil && !answer.Refreshed {
			if err := s.refresh(ctx, credential); err != nil {
				return answer, fmt.Errorf("refresh the access token: %w", err)
			}
			answer.Refreshed = true
			if err = s.post(ctx, update, s.current(), &answer); answer.Status == http.StatusUnauthorized {
				return answer, err // a new token would fare no better
			}
		}
		if err == nil && answer.OK() || attempt >= s.options.Attempts {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, fmt.Errorf("post the update: %w", ctx.Err())
		case <-time.After(s.options.Delay):
		}
	}
}

func (s *Sender) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credential
}

func (s *Sender) post(ctx context.Context, update []byte, credential string, answer *Answer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.options.URL, bytes.NewReader(update))
	if err != nil {
		return fmt.Errorf("post the update: %w", bare(err))
	}
	req.Header.Set("Content-Type", "application/json")
	switch {
	case credential == "":
	case s.options.Query != "":
		q := req.URL.Query()
		q.Set(s.options.Query, credential)
		req.URL.RawQuery = q.Encode()
	case s.options.Prefix != "":
		req.Header.Set(s.options.Header, s.options.Prefix+" "+credential)
	default:
		req.Header.Set(s.options.Header, credential)
	}
	answer.Posts++
	answer.Status, answer.Body, err = s.exchange(req)
	if err != nil {
		return fmt.Errorf("post the update: %w", err)
	}
	return nil
}

// refresh fetches a new access token in place of the one refused, unless another post has done so
// meanwhile.
func (s *Sender) refresh(ctx context.Context, refused string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.credential != refused {
		return nil
	}
	r := s.options.Refresh
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.Token}}
	if r.ClientID != "" {
		form.Set("client_id", r.ClientID)
	}
	if r.ClientSecret != "" {
		form.Set("client_secret", r.ClientSecret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return bare(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	status, body, err := s.exchange(req)
	if err != nil {
		return err
	}
	var tokens struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
	}
	if err := json.Unmarshal(body, &tokens); err != nil && status == http.StatusOK {
		return fmt.Errorf("%w: the token endpoint's answer is not the JSON it should be", ErrNoToken)
	}
	switch {
	case status != http.StatusOK && knownErrors[tokens.Error]:
		return fmt.Errorf("%w: the token endpoint answers %d %s", ErrNoToken, status, tokens.Error)
	case status != http.StatusOK:
		return fmt.Errorf("%w: the token endpoint answers %d", ErrNoToken, status)
	case tokens.AccessToken == "":
		return fmt.Errorf("%w: the token endpoint's answer has no access_token", ErrNoToken)
	}
	s.credential = tokens.AccessToken
	return nil
}

// knownErrors are the codes of RFC 6749, section 5.2; other text of the endpoint's is not repeated.
var knownErrors = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true,
	"unauthorized_client": true, "unsupported_grant_type": true, "invalid_scope": true,
}

func (s *Sender) exchange(req *http.Request) (status int, body []byte, err error) {
	res, err := s.client.Do(req)
	if err != nil {
		return 0, nil, bare(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer)); err != nil {
		return res.StatusCode, body, fmt.Errorf("read the answer: %w", err)
	}
	return res.StatusCode, body, nil
}

// bare takes the URL out of an error: its query may hold the credential.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
