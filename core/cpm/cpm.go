// Package cpm speaks the sender's API: what citizens allow now, what option ids mean, and the subscriptions by which
// webhooks come. It is apart from package webhook, which the sender calls, and from those that use it, because it
// alone knows the API's paths, names and habits.
//
// Much of the API is not documented where it could be read. What is known and what is a guess stands in README.md,
// and all that is a guess can be configured. Answers are read tolerantly: a list may be the answer itself or a member
// of it, and what is not known is ignored.
//
// Errors hold no credential and nothing of a citizen.
package cpm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// Environment is where one of the sender's environments has its API and its token endpoint. The API's host is the
// audience of its tokens. They are from the vendor's published Postman environments
// (github.com/MyLifeDigital/customer-postman).
type Environment struct{ BaseURL, TokenURL string }

// Environments by their names.
func Environments() map[string]Environment {
	return map[string]Environment{
		"uk":      {"https://api.consentric.io", "https://consentric.eu.auth0.com/oauth/token"},
		"eu":      {"https://api.dgconsent.de", "https://dgconsentde.eu.auth0.com/oauth/token"},
		"sandbox": {"https://sandbox-api.consentric.io", "https://sandbox-consentric.eu.auth0.com/oauth/token"},
		"testing": {"https://testing-api.consentric.io", "https://test-consentric.eu.auth0.com/oauth/token"},
	}
}

// Config is what it takes to speak to the API for one application.
type Config struct {
	BaseURL     string
	Application string
	Auth        httpclient.Auth
	RateLimit   float64 // requests a second; 0: none
	PageSize    int     // 1 to 100
	Timeout     time.Duration
	Paths       Paths
	Params      Params
	// Identity is the same for two Configs that say the same, credentials included, of which Auth does not tell.
	Identity [sha256.Size]byte
}

// Format keeps credentials out of whatever prints a Config.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprint(f, "{api (sensitive)}") }

// Paths are where things are. Each begins with a slash.
type Paths struct {
	// Effective lists the state of citizens, Permissions has that of one.
	Effective, Permissions string
	// Configuration has what option ids mean.
	Configuration string
	// Citizens, with a slash and an id, is one citizen; Subscriptions, likewise, one subscription.
	Citizens, Subscriptions string
}

// Params are the names of query parameters.
type Params struct {
	Application, Citizen, ExternalRef string
	Since, Before                     string
	Limit, Offset, IncludeTotal       string
}

// DefaultPaths and DefaultParams are what is known best; README.md says how well.
func DefaultPaths() Paths {
	return Paths{
		Effective: "/v1/permissions/effective", Permissions: "/v1/permissions", Configuration: "/v1/permissions/configuration",
		Citizens: "/v1/citizens", Subscriptions: "/v1/subscriptions",
	}
}

func DefaultParams() Params {
	return Params{
		Application: "applicationId", Citizen: "citizenId", ExternalRef: "externalRef", Since: "since", Before: "before",
		Limit: "limit", Offset: "offset", IncludeTotal: "includeTotal",
	}
}

// What callers branch on.
var (
	// ErrNobody: the API knows no such citizen.
	ErrNobody = errors.New("the sender's API knows no such citizen")
	// ErrTooLarge: the API did not answer in time, and is to be asked for less.
	ErrTooLarge = errors.New("the sender's API did not answer in time; a smaller window may")
	// errSlow is the ErrTooLarge of an API that did not answer at all in time.
	errSlow = fmt.Errorf("%w (it did not answer at all)", ErrTooLarge)
	// ErrRefused: it will not answer this, however often it is asked.
	ErrRefused = errors.New("the sender's API refuses")
)

const (
	// tries is how often one request is made before its caller hears of it.
	tries = 4
	// firstWait and longestWait space them, unless the API says how long to wait.
	firstWait   = 500 * time.Millisecond
	longestWait = time.Minute
	// maxAnswer is far above a page of a hundred citizens.
	maxAnswer = 32 << 20
)

// Client speaks to the API. It is safe for concurrent use. All callers share one access token, which the sender asks
// for as fair use, and one rate limit.
type Client struct {
	Config
	http *httpclient.Client
	now  func() time.Time
}

// New makes a client. It reaches nobody.
func New(c Config, log hclog.Logger) (*Client, error) {
	o := httpclient.Options{BaseURL: c.BaseURL, Auth: c.Auth, MaxInFlight: 4, MaxAnswer: maxAnswer, Log: log}
	if c.RateLimit > 0 {
		o.Limiter = rate.NewLimiter(rate.Limit(c.RateLimit), max(1, int(c.RateLimit)))
	}
	h, err := httpclient.New(o)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return &Client{Config: c, http: h, now: time.Now}, nil
}

// Close ends a sign-in that is under way, and idle connections.
func (c *Client) Close() { c.http.Close() }

// answer is a whole one, with the instant before which everything that is true in it was true.
type answer struct {
	*httpclient.Response
	asOf time.Time
}

// do makes a request, and makes it again after what may pass. A POST that may have been done is not made again.
func (c *Client) do(ctx context.Context, r httpclient.Request) (answer, error) {
	wait := firstWait
	for try := 1; ; try++ {
		a, o, err := c.once(ctx, r)
		if err == nil || ctx.Err() != nil {
			return a, err
		}
		again := o.Kind == sdk.KindThrottled || o.Kind == sdk.KindRetry && r.Method != http.MethodPost
		if !again || try == tries || errors.Is(err, ErrTooLarge) {
			return a, err
		}
		pause := wait
		if o.RetryAfter > 0 {
			pause = min(o.RetryAfter, longestWait)
		}
		wait = min(2*wait, longestWait)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return a, ctx.Err()
		}
	}
}

func (c *Client) once(ctx context.Context, r httpclient.Request) (answer, sdk.Outcome, error) {
	within, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	began := c.now()
	res, err := c.http.Do(within, r)
	if err != nil {
		o := sdk.FromError(err)
		if ctx.Err() == nil && within.Err() != nil && r.Method == http.MethodGet {
			return answer{}, o, errSlow
		}
		return answer{}, o, fmt.Errorf("ask the sender's API for %s: %s", c.shown(r.Path), said(o))
	}
	a := answer{res, asOf(began, c.now(), res.Header)}
	switch o := res.Outcome(); {
	case res.OK():
		return a, o, nil
	case res.Status == http.StatusGatewayTimeout && r.Method == http.MethodGet:
		return a, o, ErrTooLarge
	case o.Kind == sdk.KindRejected, o.Kind == sdk.KindUnauthorized:
		return a, o, fmt.Errorf("%w %s %s: %s", ErrRefused, r.Method, c.shown(r.Path), said(o))
	default:
		return a, o, fmt.Errorf("ask the sender's API for %s: %s", c.shown(r.Path), said(o))
	}
}

// shown is a path as errors name it: without whom it is about.
func (c *Client) shown(path string) string {
	if strings.HasPrefix(path, c.Paths.Citizens+"/") {
		return c.Paths.Citizens
	}
	return path
}

func said(o sdk.Outcome) string { return strings.ReplaceAll(o.Message, "the vendor", "it") }

// asOf is the instant of a request on the clock that the sender's sentAt is of. An answer has no sentAt; it says what
// was true at some time after the request came in. So what it says is at least as new as a message that was sent
// before, and a message that was sent later may be newer. The sender's own clock is in the header Date, in whole
// seconds and after the fact: cut by how long the request took, it is never later than when the request came in. Where
// it is missing, or off by more than clocks should be, our own clock at the request's beginning stands for it.
func asOf(began, ended time.Time, h http.Header) time.Time {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || date.Sub(ended).Abs() > maxSkew {
		return began.UTC()
	}
	return date.Add(-ended.Sub(began)).UTC()
}

// maxSkew is how far the sender's clock is believed to be off: as far as consent.MaxSkew lets it run ahead.
const maxSkew = 5 * time.Minute

// query is that of every request for the application.
func (c *Client) query() url.Values { return url.Values{c.Params.Application: {c.Application}} }
