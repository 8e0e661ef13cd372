package httpclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/metadata"

	"github.com/consentd/consentd/sdk"
)

// MaxBody is the default of Options.MaxRequest and Options.MaxAnswer, in bytes.
const MaxBody = 16 << 20

// Options are what one vendor is like. Only BaseURL is required.
type Options struct {
	// BaseURL is what the path of every request is appended to: an absolute http or https URL without
	// credentials, query and fragment. With OAuth2.Instance it may be empty.
	BaseURL string
	// Auth puts the credentials on every request.
	Auth Auth
	// Header is put on every request, as a version or an Accept that the vendor asks for.
	Header http.Header
	// MaxInFlight bounds the calls at once, over HTTP/2 as well; those beyond it wait. Zero is no bound.
	MaxInFlight int
	// Limiter spreads the calls of this process. A call for which the time that is left does not suffice
	// is Throttled and not made.
	Limiter *rate.Limiter
	// Quota names the vendor's rate headers.
	Quota Quota
	// MaxRequest and MaxAnswer bound bodies, in bytes; an answer counts unpacked.
	MaxRequest, MaxAnswer int
	// StatusOnly is for a vendor whose answers say nothing beyond their status: no body is kept, and a
	// long one is no error.
	StatusOnly bool
	// Classify corrects what the status alone says of an answer: a throttle with 403, a failure with
	// 200, a passing one with 400. It gets what sdk.FromResponse made of it. It must not put into the
	// outcome what the vendor repeats of the request; Word and Words pick out what is safe.
	Classify func(*Response, sdk.Outcome) sdk.Outcome
	// Expired tells an answer that means an access token is no longer taken. By default that is 401.
	// The call is then made once more, with a new token. Only for an Auth made by SignIn.
	Expired func(*Response) bool
	// Log gets what a person has to know about signing in. It may be nil.
	Log hclog.Logger
}

// Client speaks to one vendor. It is safe for concurrent use.
type Client struct {
	options Options
	base    string
	header  http.Header // of every request; never changed
	// transport and not an http.Client, which follows redirects and wraps errors in the address.
	transport *http.Transport
	pace      *pace
	session   *session // nil without OAuth2
}

// New makes a client. It reaches nobody.
func New(o Options) (*Client, error) {
	c := &Client{options: o, pace: newPace(o.MaxInFlight, o.Limiter)}
	if o.BaseURL != "" || o.Auth.signIn == nil || o.Auth.signIn.Instance == "" {
		u, err := plainURL(o.BaseURL)
		if err != nil {
			return nil, err
		}
		c.base = u.String()
	}
	if o.MaxRequest == 0 {
		c.options.MaxRequest = MaxBody
	}
	if o.MaxAnswer == 0 {
		c.options.MaxAnswer = MaxBody
	}
	c.header = http.Header{"Accept": {"application/json"}, "User-Agent": {"consentd"}}
	for name, values := range o.Header {
		c.header[http.CanonicalHeaderKey(name)] = values
	}
	if o.Auth.name != "" {
		c.header[http.CanonicalHeaderKey(o.Auth.name)] = []string{o.Auth.value}
	}

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 0
	transport.MaxIdleConnsPerHost = max(o.MaxInFlight, 8) // no connection is made twice
	transport.ResponseHeaderTimeout = 2 * time.Minute
	transport.WriteBufferSize = 8 << 10 // a usual request in one write
	transport.DisableCompression = o.StatusOnly
	c.transport = transport
	if o.Auth.signIn != nil {
		s, err := newSession(*o.Auth.signIn, o.Auth.held, o.Log, func(req *http.Request) (*Response, error) {
			return c.exchange(req, false)
		})
		if err != nil {
			return nil, err
		}
		c.session = s
	}
	return c, nil
}

// Close ends a sign-in that is under way, and idle connections.
func (c *Client) Close() {
	if c.session != nil {
		c.session.close()
	}
	c.transport.CloseIdleConnections()
}

// Request is one call.
type Request struct {
	Method string
	// Path is appended to the base. What comes from a record must be escaped: url.PathEscape.
	Path  string
	Query url.Values
	// Header values replace the client's.
	Header http.Header
	// Body is sent as it is when it is a []byte or a json.RawMessage, as a form when it is url.Values,
	// not at all when it is nil, and else as JSON. Its Content-Type is application/json, unless a header
	// says otherwise or it is a form.
	Body any
}

// Do makes one call; only where an access token has ended, a second one with a new token. It never
// retries: the host does. Nor does it look at the status: see Response.Err.
//
// The error is fit for sdk.FromError. It holds neither the address nor a body. Whether the vendor acted
// on a call that failed is not known.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	body, contentType, err := encode(r.Body)
	if err != nil {
		return nil, err
	}
	if len(body) > c.options.MaxRequest {
		return nil, sdk.Rejected("REQUEST_TOO_LARGE", "the request would be longer than the %d bytes that the vendor takes", c.options.MaxRequest).Err()
	}
	header := maps.Clone(c.header)
	switch {
	case body == nil:
		delete(header, "Content-Type")
	case contentType != jsonType || header["Content-Type"] == nil:
		header["Content-Type"] = []string{contentType}
	}
	if parent := traceparent(ctx); parent != "" {
		header["Traceparent"] = []string{parent}
	}
	for name, values := range r.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	if c.session == nil {
		return c.call(ctx, c.base, r, header, body)
	}
	var refused *token
	for {
		t, err := c.session.token(ctx, refused)
		if err != nil {
			return nil, err
		}
		base := c.base
		if t.instance != "" {
			base = t.instance
		}
		signed := maps.Clone(header)
		signed["Authorization"] = []string{t.authorization}
		res, err := c.call(ctx, base, r, signed, body)
		if err != nil || refused != nil || !c.expired(res) {
			return res, err
		}
		refused = t
	}
}

func (c *Client) expired(res *Response) bool {
	if c.options.Expired != nil {
		return c.options.Expired(res)
	}
	return res.Status == http.StatusUnauthorized
}

func (c *Client) call(ctx context.Context, base string, r Request, header http.Header, body []byte) (*Response, error) {
	at := base + r.Path
	if len(r.Query) > 0 {
		at += "?" + r.Query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, at, reader)
	if err != nil {
		return nil, sdk.Rejected("INVALID_REQUEST", "no address or no method can be made of the record").Err()
	}
	req.Header = header
	leave, err := c.pace.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	res, err := c.exchange(req, c.options.StatusOnly)
	if err != nil {
		return nil, err
	}
	res.classify = c.options.Classify
	left, wait, said := c.options.Quota.read(res.Header, time.Now())
	if said {
		res.refill = wait
		if left == 0 {
			c.pace.hold(wait)
		}
	}
	return res, nil
}

// exchange sends a request and reads the answer.
func (c *Client) exchange(req *http.Request, statusOnly bool) (*Response, error) {
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, &exchangeError{err}
	}
	defer res.Body.Close()
	answer := &Response{Status: res.StatusCode, Header: res.Header}
	if statusOnly {
		// Read so that the connection can be used again; opening one costs less than reading on.
		_, _ = io.CopyN(io.Discard, res.Body, maxDrain)
		return answer, nil
	}
	answer.Body, err = io.ReadAll(io.LimitReader(res.Body, int64(c.options.MaxAnswer)+1))
	if err != nil {
		return nil, &exchangeError{err}
	}
	if len(answer.Body) > c.options.MaxAnswer {
		return nil, sdk.Retry("ANSWER_TOO_LONG", "the vendor's answer is longer than %d bytes", c.options.MaxAnswer).Err()
	}
	return answer, nil
}

const maxDrain = 256 << 10

// exchangeError is an error of net/http without the address that its text holds.
type exchangeError struct{ err error }

func (e *exchangeError) Error() string { return sdk.FromError(e.err).Message }

func (e *exchangeError) Unwrap() error { return e.err }

const jsonType = "application/json"

func encode(body any) (data []byte, contentType string, err error) {
	switch b := body.(type) {
	case nil:
		return nil, "", nil
	case []byte:
		return b, jsonType, nil
	case json.RawMessage:
		return b, jsonType, nil
	case url.Values:
		return []byte(b.Encode()), "application/x-www-form-urlencoded", nil
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(body) != nil {
		// The encoder's own error may quote a value.
		return nil, "", sdk.Rejected("INVALID_RECORD", "the record cannot be written as JSON").Err()
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), jsonType, nil
}

// plainURL reads where an API is.
func plainURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(raw, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("must be an absolute http or https URL")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, fmt.Errorf("must be a plain URL such as %s://%s, without credentials, query and fragment", u.Scheme, u.Host)
	}
	return u, nil
}

// Endpoint checks a URL that secrets are sent to: https, or http to this machine. The error says what
// the URL must be, for sdk.InvalidConfig.
func Endpoint(raw string) (*url.URL, error) {
	u, err := plainURL(raw)
	if err == nil && u.Scheme != "https" && !isLoopback(u) {
		err = errors.New("must begin with https://: credentials are sent there")
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}

func isLoopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback() || u.Hostname() == "localhost"
}

// w3c is a trace's header in the version that is written today.
var w3c = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceparent is what the host sent with the delivery. tracestate stays here: it may hold what is no
// concern of the vendor.
func traceparent(ctx context.Context) string {
	if sent := metadata.ValueFromIncomingContext(ctx, "traceparent"); len(sent) == 1 && w3c.MatchString(sent[0]) {
		return sent[0]
	}
	return ""
}
