package webhook

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
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
	Token        string `json:"token"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	Header       string `json:"header"`
	Value        string `json:"value"`
	TokenURL     string `json:"token_url"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Scope        string `json:"scope"`
}

// ours are headers that the plugin or the connection sets.
var ours = []string{"Idempotency-Key", "Content-Length", "Transfer-Encoding", "Connection", "Host", "Trailer", "Upgrade"}

// target checks the settings and makes the target of them.
func (c settings) target(log hclog.Logger) (*target, error) {
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
	header := http.Header{"Content-Type": {"application/json"}}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		mistakes = append(mistakes, checkHeader("headers."+name, name, c.Headers[name]))
		header[http.CanonicalHeaderKey(name)] = []string{c.Headers[name]}
	}
	var known httpclient.Auth
	if c.Auth != nil {
		known, err = c.Auth.credentials()
		mistakes = append(mistakes, err)
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	client, err := httpclient.New(httpclient.Options{
		BaseURL: at.base, Auth: known, Header: header, Classify: at.classify, StatusOnly: true, MaxInFlight: batch * maxInFlight, Log: log,
	})
	if err != nil {
		return nil, sdk.InvalidConfig("url", "The URL %v.", err)
	}
	return &target{endpoint: at, method: method, client: client}, nil
}

// endpoint is a URL.
type endpoint struct {
	base  string   // scheme and authority
	parts []string // the rest, split around the placeholders
}

func (e endpoint) hasKey() bool { return len(e.parts) > 1 }

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
	rest := raw[len(u.Scheme)+len("://"):]
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[i:]
	} else {
		rest = ""
	}
	base := strings.TrimSuffix(raw, rest)
	if strings.Contains(base, placeholder) {
		return endpoint{}, sdk.InvalidConfig("url", "{key} may stand in the path and in the query only.")
	}
	return endpoint{base: base, parts: strings.Split(rest, placeholder)}, nil
}

// of is what follows the base, for one key. No key leads out of the place that the URL gives it.
func (e endpoint) of(key string) (string, error) {
	if e.hasKey() && (key == "" || key == "." || key == "..") {
		return "", errors.New("the key is empty or made of dots, which a URL cannot carry")
	}
	// QueryEscape leaves only unreserved characters alone, so it is right for paths too, save the space.
	return strings.Join(e.parts, strings.ReplaceAll(url.QueryEscape(key), "+", "%20")), nil
}

// credentials checks the block and reads it.
func (a *auth) credentials() (httpclient.Auth, error) {
	set := auth{
		Token: flag(a.Token), Username: flag(a.Username), Password: flag(a.Password), Header: flag(a.Header), Value: flag(a.Value),
		TokenURL: flag(a.TokenURL), ClientID: flag(a.ClientID), ClientSecret: flag(a.ClientSecret),
	}
	if a.Scope != "" && a.TokenURL == "" {
		return httpclient.Auth{}, sdk.InvalidConfig("auth.scope", "A scope is asked for at a token_url only.")
	}
	switch set {
	case auth{Token: "set"}:
		return httpclient.Bearer(a.Token), checkHeader("auth.token", "Authorization", a.Token)
	case auth{Username: "set", Password: "set"}:
		if strings.Contains(a.Username, ":") {
			return httpclient.Auth{}, sdk.InvalidConfig("auth.username", "A username cannot hold a colon (RFC 7617).")
		}
		return httpclient.Basic(a.Username, a.Password), nil
	case auth{Header: "set", Value: "set"}:
		return httpclient.APIKey(a.Header, a.Value), checkHeader("auth.header", a.Header, a.Value)
	case auth{TokenURL: "set", ClientID: "set", ClientSecret: "set"}:
		_, err := httpclient.Endpoint(a.TokenURL)
		if err != nil {
			err = sdk.InvalidConfig("auth.token_url", "The URL %v.", err)
		}
		return httpclient.SignIn(httpclient.OAuth2{
			TokenURL: a.TokenURL, Grant: httpclient.ClientCredentials(a.ClientID, a.ClientSecret, a.Scope),
		}), errors.Join(err, checkHeader("auth.client_id", "Authorization", a.ClientID), checkHeader("auth.client_secret", "Authorization", a.ClientSecret))
	default:
		return httpclient.Auth{}, sdk.InvalidConfig("auth", "Write either token, or username and password, or header and value, or token_url, client_id and client_secret. None may be empty.")
	}
}

func flag(s string) string {
	if s == "" {
		return ""
	}
	return "set"
}

// checkHeader refuses what net/http would refuse at every request.
func checkHeader(path, name, value string) error {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !isToken(name):
		return sdk.InvalidConfig(path, "This is not a header's name.")
	case slices.Contains(ours, canonical):
		return sdk.InvalidConfig(path, "%s is set by consentd.", canonical)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return sdk.InvalidConfig(path, "The value holds a line break or another control character. A file's last line break is cut with chomp().")
	}
	return nil
}

// isToken is RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
