package config

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/consentd/consentd/core/lookup"
)

func (p *parser) httpLookup(r *reader, l *lookup.Config) {
	p.asked(r, l)
	h := &lookup.HTTP{Method: r.oneOf("method", http.MethodGet, http.MethodGet, http.MethodPost), Header: p.headers(r)}
	l.HTTP = h
	asksFor := false
	if body, ok := r.expression("body"); ok {
		if h.Method == http.MethodGet {
			r.error(body.Range(), "Body of a GET", "In %s, a GET has no body. Write method = \"POST\", or leave the body out.", r.what)
		}
		e, diags := lookup.Compile(body, cty.DynamicPseudoType)
		p.diags = append(p.diags, diags...)
		h.Body, asksFor = &e, lookup.ReadsCitizen(body)
	}
	const example = `"https://crm.example.org/people/${citizen.external_ref}"`
	if expr, ok := r.expression("url"); ok {
		h.URL = p.url(r, expr, nil)
		asksFor = asksFor || lookup.ReadsCitizen(expr)
		if !asksFor && len(h.URL) > 0 {
			r.error(expr.Range(), "Everybody is asked for the same", "In %s, the url says nothing of the citizen. Write url = %s.", r.what, example)
		}
	} else {
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add url = %s.", r.what, "url", example)
	}
	_ = p.lookupAuth(r, h)
	p.fields(r, l, `"$.contact.email"`, append(slices.Clone(fieldTypes), listType), nil)
}

var host = regexp.MustCompile(`^https?://[^/?#@\s]+`)

// url reads an address. What it says of the citizen is escaped, and stands behind the host.
func (p *parser) url(r *reader, expr hclsyntax.Expression, base lookup.URL) lookup.URL {
	parts := []hclsyntax.Expression{expr}
	if template, ok := expr.(*hclsyntax.TemplateExpr); ok {
		parts = template.Parts
	} else if lookup.ReadsCitizen(expr) {
		r.error(expr.Range(), "Not a template", "In %s, an address that reads the citizen is written in quotes, so that each part can be escaped by itself. Write \"https://crm.example.org/people/${ ... }\".", r.what)
		return nil
	}
	all := slices.Clone(base)
	failed := false
	for _, part := range parts {
		if lookup.ReadsCitizen(part) {
			e, diags := lookup.Compile(part, cty.String)
			p.diags = append(p.diags, diags...)
			all = append(all, lookup.Part{Expr: &e})
			continue
		}
		v, diags := p.scope.Value(part)
		p.diags = append(p.diags, diags...)
		if failed = failed || diags.HasErrors(); failed {
			continue
		}
		if v, err := convert.Convert(reveal(v), cty.String); err != nil || v.IsNull() {
			r.error(part.Range(), "Wrong value", "In %s, this part of the address comes to no text. Write a string.", r.what)
			failed = true
		} else if s := v.AsString(); len(all) > 0 && all[len(all)-1].Expr == nil {
			all[len(all)-1].Text += s
		} else {
			all = append(all, lookup.Part{Text: s})
		}
	}
	if failed {
		return nil
	}
	if len(all) == 0 {
		all = lookup.URL{{}}
	}
	begins := host.FindString(all[0].Text)
	rest := strings.TrimPrefix(all[0].Text, begins)
	if begins == "" || len(all) > 1 && rest == "" || rest != "" && rest[0] != '/' && rest[0] != '?' {
		r.error(expr.Range(), "Not an address", "In %s, the address begins with http:// or https://, a host and a slash, none of which depends on the citizen, and holds no password. Write \"https://crm.example.org/people/${citizen.external_ref}\".", r.what)
		return nil
	}
	return all
}

func (p *parser) headers(r *reader) http.Header {
	header := http.Header{}
	v, at, ok := r.value("headers", cty.Map(cty.String))
	if !ok {
		return header
	}
	for name, value := range reveal(v).AsValueMap() {
		if !headerName.MatchString(name) || value.IsNull() || strings.ContainsAny(value.AsString(), "\r\n\x00") {
			r.error(at, "Not a header", "In %s, %q maps names of HTTP headers to what they say, in one line each. Write headers = { \"X-Tenant\" = \"acme\" }.", r.what, "headers")
			continue
		}
		header.Set(name, value.AsString())
	}
	return header
}
