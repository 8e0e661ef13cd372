package webhook

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/config"
)

// maxTokenRequest is the largest body the token endpoint reads, in bytes.
const maxTokenRequest = 16 << 10

// grantError is an error code of RFC 6749, section 5.2; beside "issued" the label of a metric.
type grantError string

const (
	invalidRequest       grantError = "invalid_request"
	invalidClient        grantError = "invalid_client"
	invalidGrant         grantError = "invalid_grant"
	unsupportedGrantType grantError = "unsupported_grant_type"
	// notIssued is not the RFC's: the endpoint drains or could not sign.
	notIssued grantError = "temporarily_unavailable"

	issued = "issued"
)

// tokenEndpoint answers grant_type=refresh_token with access tokens. The refresh token is neither
// rotated nor sent back: the sender keeps the one it was configured with.
type tokenEndpoint struct {
	access  *accessTokens
	refresh secrets
	// A client is asked for when clientID is not empty, and its secret when clientSecret is not.
	clientID, clientSecret secrets
	log                    hclog.Logger
	metrics                *prometheus.CounterVec
	draining               *atomic.Bool
	// failing is the error before, so that only a changed one is logged loudly.
	failing atomic.Value
}

func newTokenEndpoint(c config.Auth, access *accessTokens) (*tokenEndpoint, error) {
	t := &tokenEndpoint{access: access}
	var err error
	if t.refresh, err = newSecrets(c.RefreshTokens...); err != nil {
		return nil, err
	}
	if c.ClientID == "" {
		if c.ClientSecret != "" {
			return nil, errors.New("auth: a client secret is set and no client id")
		}
		return t, nil
	}
	if t.clientID, err = newSecrets(c.ClientID); err != nil {
		return nil, err
	}
	if c.ClientSecret != "" {
		t.clientSecret, err = newSecrets(c.ClientSecret)
	}
	return t, err
}

func (t *tokenEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	if r.Method != http.MethodPost {
		wrongMethod.write(w)
		return
	}
	if t.draining.Load() {
		draining.write(w)
		return
	}
	if status, err := t.check(w, r); err != nil {
		t.refuse(w, status, err)
		return
	}
	token, err := t.access.issue()
	if err != nil {
		t.refuse(w, http.StatusServiceUnavailable, fmt.Errorf("%w: %w", notIssued, err))
		return
	}
	t.metrics.WithLabelValues(issued).Inc()
	t.failing.Store("")
	t.log.Debug("access token issued")
	header["Content-Type"] = jsonType
	// An access token has no character that JSON would escape.
	_, _ = io.WriteString(w, `{"access_token":"`+token+`","token_type":"Bearer","expires_in":`+
		strconv.FormatInt(int64(t.access.lifetime.Seconds()), 10)+"}\n")
}

func (g grantError) Error() string { return string(g) }

// check is whether a token may be issued. Its errors wrap a grantError and hold nothing of the request.
func (t *tokenEndpoint) check(w http.ResponseWriter, r *http.Request) (status int, err error) {
	params, status, err := readParameters(w, r)
	if err != nil {
		return status, fmt.Errorf("%w: %w", invalidRequest, err)
	}
	grant, err1 := params.one("grant_type")
	refresh, err2 := params.one("refresh_token")
	id, err3 := params.one("client_id", "clientId")
	secret, err4 := params.one("client_secret", "clientSecret")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return http.StatusBadRequest, fmt.Errorf("%w: %w", invalidRequest, err)
	}
	if len(t.clientID) > 0 {
		known := t.client(id, secret)
		if user, password, ok := r.BasicAuth(); ok {
			if secret != "" {
				return http.StatusBadRequest, fmt.Errorf("%w: client credentials stand both in the header and in the body", invalidRequest)
			}
			known = t.basicClient(user, password)
		}
		if !known {
			return http.StatusUnauthorized, fmt.Errorf("%w: client credentials are missing or wrong", invalidClient)
		}
	}
	switch {
	case grant == "":
		return http.StatusBadRequest, fmt.Errorf("%w: grant_type is missing", invalidRequest)
	case grant != "refresh_token":
		return http.StatusBadRequest, fmt.Errorf("%w: only refresh_token is served", unsupportedGrantType)
	case refresh == "":
		return http.StatusBadRequest, fmt.Errorf("%w: refresh_token is missing", invalidRequest)
	case !t.refresh.hold(refresh):
		return http.StatusBadRequest, fmt.Errorf("%w: the refresh token is not one of this source", invalidGrant)
	}
	return http.StatusOK, nil
}

func (t *tokenEndpoint) client(id, secret string) bool {
	right := t.clientID.hold(id)
	if len(t.clientSecret) > 0 {
		right = t.clientSecret.hold(secret) && right
	}
	return right
}

// basicClient takes the credentials both escaped, as RFC 6749, section 2.3.1, has it, and as they are,
// as many clients send them.
func (t *tokenEndpoint) basicClient(id, secret string) bool {
	right := t.client(id, secret)
	plainID, err1 := url.QueryUnescape(id)
	plainSecret, err2 := url.QueryUnescape(secret)
	if err1 == nil && err2 == nil {
		right = t.client(plainID, plainSecret) || right
	}
	return right
}

func (t *tokenEndpoint) refuse(w http.ResponseWriter, status int, err error) {
	code, _ := errors.AsType[grantError](err)
	t.metrics.WithLabelValues(string(code)).Inc()
	level := hclog.Warn
	if t.failing.Swap(string(code)) == string(code) {
		level = hclog.Debug
	}
	t.log.Log(level, "access token not issued", "reason", err)
	header := w.Header()
	header["Content-Type"] = jsonType
	switch status {
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Basic realm="consentd"`)
	case http.StatusServiceUnavailable:
		header["Retry-After"] = retryAfterSec
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"error":"`+string(code)+`"}`+"\n")
}

// parameters are those of a token request, by name.
type parameters map[string][]string

// one is the value that stands under one of the names; empty when there is none.
func (p parameters) one(names ...string) (value string, err error) {
	for _, name := range names {
		for _, v := range p[name] {
			if v == "" {
				continue // as if it were not there: RFC 6749, section 3.2
			}
			if value != "" {
				return "", fmt.Errorf("%s stands more than once", names[0])
			}
			value = v
		}
	}
	return value, nil
}

// readParameters takes a form or one JSON object. RFC 6749 knows only forms; which of the two the
// sender posts is not documented. The errors quote nothing.
func readParameters(w http.ResponseWriter, r *http.Request) (parameters, int, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTokenRequest))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, http.StatusRequestEntityTooLarge, errors.New("body is too large")
	} else if err != nil {
		return nil, http.StatusBadRequest, errors.New("body could not be read")
	}
	contentType := r.Header.Get("Content-Type")
	media, _, _ := mime.ParseMediaType(contentType)
	var p parameters
	switch {
	case media == "application/x-www-form-urlencoded", contentType == "" && !strings.HasPrefix(string(body), "{"):
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, http.StatusBadRequest, errors.New("malformed form")
		}
		p = parameters(form)
	case isJSON(contentType):
		var fields map[string]jsontext.Value
		if err := json.Unmarshal(body, &fields); err != nil {
			return nil, http.StatusBadRequest, errors.New("malformed JSON")
		}
		p = make(parameters, len(fields))
		for name, v := range fields {
			if v.Kind() == '"' {
				s, err := jsontext.AppendUnquote(nil, v)
				if err != nil {
					return nil, http.StatusBadRequest, errors.New("malformed JSON")
				}
				p[name] = []string{string(s)}
			}
		}
	default:
		return nil, http.StatusBadRequest, errors.New("body is neither a form nor JSON")
	}
	return p, http.StatusOK, nil
}
