package webhook

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/consentd/consentd/sdk"
)

// placeholder stands for the record's key in the URL.
const placeholder = "{key}"

// settings are the config block.
type settings struct {
	URL     string
	Method  string
	Headers map[string]string
	Auth    *auth
}

type auth struct {
	Token, Username, Password, Header, Value string
}

// ours are headers that the plugin or the connection sets.
var ours = []string{"Idempotency-Key", "Content-Length", "Transfer-Encoding", "Connection", "Host", "Trailer", "Upgrade"}

// target checks the settings and makes the target of them.
func (c settings) target() (*target, error) {
	var mistakes []error
	at, err := parseEndpoint(c.URL)
	mistakes = append(mistakes, err)
	method := c.Method
	switch method {
	case "":
		method = http.MethodPost
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		mistakes = append(mistakes, sdk.InvalidConfig("method", "The method has to be POST, PUT or PATCH."))
	}
	header := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"consentd"}}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		mistakes = append(mistakes, setHeader(header, "headers."+name, name, c.Headers[name]))
	}
	if c.Auth != nil {
		mistakes = append(mistakes, c.Auth.set(header))
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	return &target{endpoint: at, method: method, header: header, transport: newTransport()}, nil
}

// endpoint is a URL, whole or split around the placeholders.
type endpoint struct {
	parts []string // one more than there are placeholders
	fixed *url.URL // set when there is none
}

func parseEndpoint(raw string) (endpoint, error) {
	// The parser's own errors quote the URL, and a URL may hold a secret.
	u, err := url.Parse(strings.ReplaceAll(raw, placeholder, "key"))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return endpoint{}, sdk.InvalidConfig("url", "The URL has to be absolute, with http or https.")
	case u.User != nil:
		return endpoint{}, sdk.InvalidConfig("url", "Credentials do not belong in the URL. Write them in an auth block, with username and password.")
	case u.Fragment != "":
		return endpoint{}, sdk.InvalidConfig("url", "A fragment (#) is never sent. Remove it.")
	}
	if !strings.Contains(raw, placeholder) {
		return endpoint{fixed: u}, nil
	}
	authority := len(u.Scheme) + len("://")
	if i := strings.IndexAny(raw[authority:], "/?"); i < 0 || strings.Contains(raw[:authority+i], placeholder) {
		return endpoint{}, sdk.InvalidConfig("url", "{key} may stand in the path and in the query only.")
	}
	return endpoint{parts: strings.Split(raw, placeholder)}, nil
}

// of is the URL for one key. No key leads out of the place that the URL gives it.
func (e endpoint) of(key string) (*url.URL, error) {
	if e.fixed != nil {
		return e.fixed, nil
	}
	if key == "" || key == "." || key == ".." {
		return nil, errors.New("the key is empty or made of dots, which a URL cannot carry")
	}
	// QueryEscape leaves only unreserved characters alone, so it is right for paths too, save the space.
	escaped := strings.ReplaceAll(url.QueryEscape(key), "+", "%20")
	u, err := url.Parse(strings.Join(e.parts, escaped))
	if err != nil {
		return nil, errors.New("the key does not fit into the URL")
	}
	return u, nil
}

// set puts the credentials on every request.
func (a *auth) set(header http.Header) error {
	switch (auth{Token: flag(a.Token), Username: flag(a.Username), Password: flag(a.Password), Header: flag(a.Header), Value: flag(a.Value)}) {
	case auth{Token: "set"}:
		return setHeader(header, "auth.token", "Authorization", "Bearer "+a.Token)
	case auth{Username: "set", Password: "set"}:
		if strings.Contains(a.Username, ":") {
			return sdk.InvalidConfig("auth.username", "A username cannot hold a colon (RFC 7617).")
		}
		return setHeader(header, "auth.username", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password)))
	case auth{Header: "set", Value: "set"}:
		return setHeader(header, "auth.header", a.Header, a.Value)
	default:
		return sdk.InvalidConfig("auth", "Write either token, or username and password, or header and value. None may be empty.")
	}
}

func flag(s string) string {
	if s == "" {
		return ""
	}
	return "set"
}

// setHeader refuses what net/http would refuse at every request.
func setHeader(header http.Header, path, name, value string) error {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !isToken(name):
		return sdk.InvalidConfig(path, "This is not a header's name.")
	case slices.Contains(ours, canonical):
		return sdk.InvalidConfig(path, "%s is set by consentd.", canonical)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return sdk.InvalidConfig(path, "The value holds a line break or another control character. A file's last line break is cut with chomp().")
	}
	header[canonical] = []string{value}
	return nil
}

// isToken is RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
