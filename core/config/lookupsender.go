package config

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/theory/jsonpath"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/lookup"
)

// The citizen API as the vendor's own published client of 2018 calls it. Newer documents name no paths.
const dataguardPath = "/v1/citizens/"

func (p *parser) dataguardLookup(c *Config, r *reader, l *lookup.Config) {
	p.asked(r, l)
	h := &lookup.HTTP{Method: http.MethodGet, Header: p.headers(r)}
	l.HTTP = h
	application := r.text("application_id")
	path := dataguardPath
	var base text
	_, shared := r.expression("source")
	if shared {
		if api := p.sharedAPI(c, r); api != nil {
			l.Sender = api.name
			base = text{string: api.BaseURL, set: true}
			h.Auth, path = api.Auth, api.Paths.Citizens+"/"
			if !application.set {
				application.string = api.Application
			}
		}
	} else if base = r.need("base_url", `"https://api.consentric.io"`); base.set {
		u, err := url.Parse(base.string)
		if err != nil || host.FindString(base.string) == "" || u.RawQuery != "" || u.Fragment != "" {
			r.error(base.at, "Not an address", "In %s, %q is the address of the API without a path of its own. Write base_url = \"https://api.consentric.io\".", r.what, "base_url")
			base.set = false
		}
	}
	start := lookup.URL{{Text: strings.TrimSuffix(base.string, "/")}}
	if expr, ok := r.expression("path"); ok && base.set {
		h.URL = p.url(r, expr, start)
	} else if base.set {
		id, _ := hclsyntax.ParseExpression([]byte("citizen.id"), r.header.Filename, r.header.Start)
		e, _ := lookup.Compile(id, cty.String)
		start[0].Text += path
		h.URL = append(start, lookup.Part{Expr: &e})
	}
	if !shared && !p.lookupAuth(r, h) {
		r.error(r.header, "Missing block", "In %s, %q is missing. Add auth \"header\" { name = \"X-API-Key\" key = env(\"CPM_API_KEY\") }, or source = source.dataguard to ask with what its api block has.", r.what, "auth")
	}
	if strings.ContainsAny(application.string, `'\`) {
		r.error(application.at, "Wrong value", "In %s, %q holds neither quotes nor backslashes.", r.what, "application_id")
		application.string = ""
	}
	p.fields(r, l, `"$.applicationDetails[0].email"`, append(slices.Clone(fieldTypes), listType), dataguardFields(application.string))
}

// namedAPI is the API of a source.
type namedAPI struct {
	*API
	name string
}

// sharedAPI is that of the source that a lookup names; nil if it names none with an api block, which is reported.
func (p *parser) sharedAPI(c *Config, r *reader) *namedAPI {
	var names []string
	for _, s := range c.Sources {
		names = append(names, s.Name)
	}
	name := p.reference(r, "source", names)
	for _, s := range c.Sources {
		if s.Name != name {
			continue
		}
		if s.API != nil {
			return &namedAPI{s.API, name}
		}
		r.error(r.body.Attributes["source"].Expr.Range(), "Source has no API", "In %s, the source %q has no api block, which says how its sender is asked. Add one there, or write base_url and auth here.", r.what, name)
	}
	return nil
}

// dataguardFields are what the API says of a citizen in the details of one application, or of any.
func dataguardFields(application string) []lookup.Field {
	which := "*"
	if application != "" {
		which = fmt.Sprintf("?@.applicationId == '%s'", application)
		if regexp.MustCompile(`^[1-9][0-9]{0,14}$`).MatchString(application) {
			which += " || @.applicationId == " + application
		}
	}
	var all []lookup.Field
	for _, f := range []struct{ name, member string }{
		{"email", "email"}, {"telephone", "telephone"}, {"external_ref", "externalRef"}, {"given_name", "givenName"}, {"family_name", "familyName"},
	} {
		from := fmt.Sprintf("$.applicationDetails[%s].%s", which, f.member)
		all = append(all, lookup.Field{Name: f.name, From: from, Path: jsonpath.MustParse(from), Type: cty.String, Optional: f.name != "email"})
	}
	return all
}
