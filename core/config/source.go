package config

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/rules/eval"
)

func (p *parser) sources(c *Config, found []*reader) {
	paths := map[string]hcl.Range{}
	for _, r := range found {
		p.identifier(r, 0)
		application := r.text("application_id")
		s := Source{Name: r.labels[0], UpdateType: p.updateType(r), ApplicationID: application.string}
		s.API = p.api(r, application)
		s.ApplyRegressions = r.oneOf("regressions", "hold", "hold", "apply") == "apply"
		at := r.need("path", `"/webhooks/dataguard"`)
		s.Path = at.string
		if at.set && p.urlPath(r, at, "path") {
			p.claim(r, paths, at)
		}
		s.Auth = p.auth(r, r.each("auth", "MODE"), at, paths)
		r.done()
		if p.first("source", s.Name, r.header) {
			c.Sources = append(c.Sources, s)
		}
	}
}

func (p *parser) updateType(r *reader) consent.UpdateType {
	t := r.need("update_type", `"effective-permission"`)
	if !t.set {
		return ""
	}
	allowed := []string{string(consent.EffectivePermission), string(consent.ConsentReceipts)}
	switch {
	case slices.Contains(allowed, t.string):
	case t.string == "citizen-emails":
		r.error(t.at, "Update type is not served",
			"A citizen-emails subscription sends whole e-mails for you to deliver; it says nothing of permissions, so there is nothing to bring to a target. Subscribe with \"effective-permission\", and let your mail system take the e-mails.")
	default:
		r.error(t.at, "Unknown value", "In %s, %q cannot be %s. %s", r.what, "update_type", t.shown(), t.didYouMean(allowed))
	}
	return consent.UpdateType(t.string)
}

// urlPath checks a path that the listener serves.
func (p *parser) urlPath(r *reader, t text, name string) bool {
	if strings.HasPrefix(t.string, "/") && path.Clean(t.string) == t.string && !strings.ContainsAny(t.string, "?#{}%\\ \t\r\n\"") {
		return true
	}
	r.error(t.at, "Not a path", "In %s, %q must be a plain path from the root, without a slash at its end, a query or braces. Write \"/webhooks/dataguard\".", r.what, name)
	return false
}

// claim takes a path for one use.
func (p *parser) claim(r *reader, paths map[string]hcl.Range, t text) {
	if before, taken := paths[t.string]; taken {
		r.error(t.at, "Path is taken", "The path %s is already in use at %s. Give this one another.", t.shown(), place(before))
		return
	}
	paths[t.string] = t.at
}

func (p *parser) auth(source *reader, found []*reader, sourcePath text, paths map[string]hcl.Range) Auth {
	modes := []string{string(AuthAPIKey), string(AuthToken), string(AuthOAuth2), string(AuthNone)}
	if len(found) == 0 {
		source.error(source.header, "Missing block", "In %s, %q is missing. Add auth \"api_key\" { header = \"X-API-Key\" keys = [env(\"CPM_KEY\")] }, or auth \"none\" {} to let everybody in.", source.what, "auth")
		return Auth{}
	}
	for _, again := range found[1:] {
		source.error(again.header, "Block stands twice", "There is one block %q in %s, and the first is at %s. Keep one of them.", "auth", source.what, place(found[0].header))
	}
	r := found[0]
	r.what += " of " + source.what
	a := Auth{Mode: AuthMode(r.labels[0])}
	switch a.Mode {
	case AuthNone:
	case AuthAPIKey:
		p.apiKey(r, &a)
	case AuthToken:
		p.bearer(r, &a)
		a.Keys = p.secrets(r, "tokens", `tokens = [env("CPM_TOKEN")]`)
	case AuthOAuth2:
		p.bearer(r, &a)
		p.oauth2(r, &a, sourcePath, paths)
	default:
		r.error(r.labelRanges[0], "Unknown auth", "There is no auth %q. %s", r.labels[0], eval.DidYouMean(r.labels[0], modes))
		return a
	}
	r.done()
	return a
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (p *parser) header(r *reader) text {
	t := r.text("header")
	if t.set && !headerName.MatchString(t.string) {
		r.error(t.at, "Not a header", "In %s, %q must be the name of an HTTP header. Write header = \"X-API-Key\".", r.what, "header")
	}
	return t
}

func (p *parser) apiKey(r *reader, a *Auth) {
	header, query := p.header(r), r.text("query")
	a.Header, a.Query = header.string, query.string
	switch {
	case header.set && query.set:
		r.error(query.at, "Key in two places", "In %s, the key stands in a header or in the query, as it is set at the sender. Keep one of header and query.", r.what)
	case a.Header == "" && a.Query == "":
		r.error(r.header, "Missing attribute", "In %s, neither header nor query says where the key stands. Add header = \"X-API-Key\".", r.what)
	}
	a.Keys = p.secrets(r, "keys", `keys = [env("CPM_KEY")]`)
}

// bearer reads where a token stands.
func (p *parser) bearer(r *reader, a *Auth) {
	header, prefix, query := p.header(r), r.text("prefix"), r.text("query")
	if query.set {
		a.Query = query.string
		if query.string == "" {
			r.error(query.at, "Empty value", "In %s, %q is empty. Write the name of the query parameter, or leave it out.", r.what, "query")
		}
		if header.set || prefix.set {
			r.error(query.at, "Token in two places", "In %s, the token stands in a header or in the query, as it is set at the sender. Keep either query, or header and prefix.", r.what)
		}
		return
	}
	a.Header = "Authorization"
	if header.set {
		a.Header = header.string
	}
	if strings.EqualFold(a.Header, "Authorization") {
		a.Prefix = "Bearer"
	}
	if prefix.set {
		a.Prefix = prefix.string
	}
}

// secrets reads a list of secrets, without the empty ones: env(NAME, "") is how one that may be missing
// is written.
func (p *parser) secrets(r *reader, name, example string) []string {
	all, at := r.texts(name)
	if r.absent(name) {
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add %s.", r.what, name, example)
		return nil
	}
	var kept []string
	for _, t := range all {
		if t.string != "" && !slices.Contains(kept, t.string) {
			kept = append(kept, t.string)
		}
	}
	if len(kept) == 0 && !p.failedAt(at) {
		r.error(at, "No secret is left", "In %s, every entry of %q is empty, so nobody could get in. Write %s, and set the variable.", r.what, name, example)
	}
	return kept
}

// failedAt is whether an error was reported within a range.
func (p *parser) failedAt(at hcl.Range) bool {
	return slices.ContainsFunc(p.diags, func(d *hcl.Diagnostic) bool {
		return d.Severity == hcl.DiagError && d.Subject != nil && d.Subject.Overlaps(at)
	})
}

func (p *parser) oauth2(r *reader, a *Auth, sourcePath text, paths map[string]hcl.Range) {
	endpoint := r.text("token_path")
	switch {
	case endpoint.set:
		if p.urlPath(r, endpoint, "token_path") {
			p.claim(r, paths, endpoint)
		}
	case sourcePath.set:
		endpoint = text{string: strings.TrimSuffix(sourcePath.string, "/") + "/oauth/token", at: r.header, secret: sourcePath.secret}
		p.claim(r, paths, endpoint)
	}
	a.TokenPath = endpoint.string
	a.RefreshTokens = p.secrets(r, "refresh_tokens", `refresh_tokens = [env("CPM_REFRESH_TOKEN")]`)
	if len(a.RefreshTokens) > 2 {
		r.error(r.body.Attributes["refresh_tokens"].Expr.Range(), "Too many refresh tokens", "In %s, two refresh tokens are enough for a rotation: the new one and the one before. Remove the others.", r.what)
	}
	id, secret := r.text("client_id"), r.text("client_secret")
	a.ClientID, a.ClientSecret = id.string, secret.string
	if (a.ClientID == "") != (a.ClientSecret == "") {
		r.error(r.header, "Half of the client's credentials", "In %s, client_id and client_secret belong together. Write both, or neither to ask for none.", r.what)
	}
	a.TokenLifetime = r.duration("token_lifetime", 4*time.Hour, time.Second, 30*24*time.Hour)
}
