package config

import (
	"net/url"
	"time"

	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules/eval"
	"github.com/consentd/consentd/sdk/httpclient"
)

var lookupAuths = []string{"bearer", "basic", "header", "oauth2"}

// lookupAuth reads how a lookup shows who asks, and whether it does.
func (p *parser) lookupAuth(block *reader, h *lookup.HTTP) (there bool) {
	found := block.each("auth", "MODE")
	if len(found) == 0 {
		return false
	}
	for _, again := range found[1:] {
		block.error(again.header, "Block stands twice", "There is one block %q in %s, and the first is at %s. Keep one of them.", "auth", block.what, place(found[0].header))
	}
	r := found[0]
	r.what += " of " + block.what
	switch mode := r.labels[0]; mode {
	case "bearer":
		h.Auth = httpclient.Bearer(p.printable(r, "token", `env("CRM_TOKEN")`))
	case "basic":
		h.Auth = httpclient.Basic(r.need("user", `"consentd"`).string, r.need("password", `env("CRM_PASSWORD")`).string)
	case "header":
		name := r.need("name", `"X-API-Key"`)
		if name.set && !headerName.MatchString(name.string) {
			r.error(name.at, "Not a header", "In %s, %q must be the name of an HTTP header. Write name = \"X-API-Key\".", r.what, "name")
		}
		h.Auth = httpclient.APIKey(name.string, p.printable(r, "key", `env("CRM_KEY")`))
	case "oauth2":
		endpoint := r.need("token_url", `"https://login.example.org/oauth/token"`)
		if endpoint.set {
			if _, err := httpclient.Endpoint(endpoint.string); err != nil {
				r.error(endpoint.at, "Not an address", "In %s, %q %v.", r.what, "token_url", err)
			}
		}
		h.Auth = httpclient.SignIn(httpclient.OAuth2{TokenURL: endpoint.string, Grant: clientCredentials(
			p.printable(r, "client_id", `env("CRM_CLIENT_ID")`), p.printable(r, "client_secret", `env("CRM_CLIENT_SECRET")`),
			r.text("scope").string, r.text("audience").string)})
	default:
		r.error(r.labelRanges[0], "Unknown auth", "There is no auth %q here. %s", mode, eval.DidYouMean(mode, lookupAuths))
		return true
	}
	r.done()
	if len(h.URL) > 0 {
		if _, err := httpclient.Endpoint(host.FindString(h.URL[0].Text)); err != nil {
			block.error(r.header, "Credentials would go in clear", "In %s, credentials are sent, so its address must begin with https://, unless it is on this machine.", block.what)
		}
	}
	return true
}

// printable is a secret that can stand in a header.
func (p *parser) printable(r *reader, name, example string) string {
	t := r.need(name, example)
	if t.set && !httpclient.Printable(t.string) {
		r.error(t.at, "Not a credential", "In %s, %q has spaces, line breaks or letters that no credential has. Write it as it was given to you.", r.what, name)
	}
	return t.string
}

// clientCredentials is the grant of RFC 6749, 4.4, with the audience that some ask for beside or in place of a scope.
func clientCredentials(id, secret, scope, audience string) httpclient.Grant {
	grant := httpclient.ClientCredentials(id, secret, scope)
	return func(now time.Time) (url.Values, error) {
		form, err := grant(now)
		if err == nil && audience != "" {
			form.Set("audience", audience)
		}
		return form, err
	}
}
