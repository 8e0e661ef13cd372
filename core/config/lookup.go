package config

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/theory/jsonpath"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/rules/eval"
)

var lookupKinds = []string{"http", "sql", "csv", "dataguard"}

func (p *parser) lookups(c *Config, found []*reader) {
	for _, r := range found {
		p.identifier(r, 1)
		// A CSV file is in memory, so it has no use for the bounds that the others read.
		l := lookup.Config{Kind: r.labels[0], Name: r.labels[1], Range: r.header, Timeout: time.Minute, MaxInFlight: 2, Size: leastCache}
		switch l.Kind {
		case "http":
			p.httpLookup(r, &l)
		case "sql":
			p.sqlLookup(r, &l)
		case "csv":
			p.csvLookup(r, &l)
		case "dataguard":
			p.dataguardLookup(c, r, &l)
		default:
			r.error(r.labelRanges[0], "Unknown lookup", "There is no lookup of the kind %q. %s", l.Kind, eval.DidYouMean(l.Kind, lookupKinds))
			continue
		}
		r.done()
		if !p.first("lookup", l.Name, r.header) {
			continue
		}
		c.Lookups = append(c.Lookups, l)
		named := rules.Lookup{Name: l.Name, Fields: map[string]cty.Type{}}
		for _, f := range l.Fields {
			named.Fields[f.Name] = f.Type
		}
		c.Names.Lookups = append(c.Names.Lookups, named)
	}
}

// leastCache is the least size of a cache: an answer must not be dropped before the deliveries have read it that
// waited for it, and several targets have hundreds of them at once.
const leastCache = 1000

// asked reads how a system may be asked, and how long its answers are kept.
func (p *parser) asked(r *reader, l *lookup.Config) {
	l.Timeout = r.duration("timeout", 5*time.Second, time.Millisecond, 5*time.Minute)
	l.MaxInFlight = r.integer("max_in_flight", 8, 2, 1000)
	l.RateLimit = p.rate(r, "rate_limit")
	l.TTL, l.Size = time.Hour, 10_000
	if cache := r.single("cache"); cache != nil {
		l.TTL = cache.duration("ttl", l.TTL, 10*time.Second, 30*24*time.Hour)
		l.Size = cache.integer("size", l.Size, leastCache, 10_000_000)
		cache.done()
	}
}

// Types that a field can have.
var fieldTypes = []string{"string", "number", "bool"}

// listType is one more, where an answer can hold a list.
const listType = "list(string)"

// fields reads the fields and where each is found. fallback is what they are without the attribute; nil when they are required.
func (p *parser) fields(r *reader, l *lookup.Config, where string, types []string, fallback []lookup.Field) {
	items, ok := p.items(r, "fields", where)
	if !ok {
		if fallback == nil {
			r.error(r.header, "Missing attribute", "In %s, %q is missing. Add fields = { email = %s }.", r.what, "fields", where)
		}
		l.Fields = fallback
	}
	for _, i := range items {
		l.Fields = append(l.Fields, lookup.Field{Name: i.name, From: i.value.string, Type: cty.String})
	}
	known := make([]string, len(l.Fields))
	for i, f := range l.Fields {
		known[i] = f.Name
	}
	byName := func(name string, at hcl.Range) *lookup.Field {
		i := slices.Index(known, name)
		if i < 0 {
			r.error(at, "Unknown field", "There is no field %q in %s. %s", name, r.what, eval.DidYouMean(name, known))
			return nil
		}
		return &l.Fields[i]
	}
	written, _ := p.items(r, "types", `"bool"`)
	for _, i := range written {
		f := byName(i.name, i.at)
		if !slices.Contains(types, i.value.string) {
			r.error(i.value.at, "Unknown type", "In %s, the type of a field cannot be %s. %s", r.what, i.value.shown(), i.value.didYouMean(types))
		} else if f != nil {
			f.Type, _ = eval.ParseType(i.value.string)
		}
	}
	optional, _ := r.texts("optional")
	for _, t := range optional {
		if f := byName(t.string, t.at); f != nil {
			f.Optional = true
		}
	}
	if len(l.Fields) > 0 && !slices.ContainsFunc(l.Fields, func(f lookup.Field) bool { return !f.Optional }) {
		r.error(r.header, "Every field is optional", "In %s, at least one field has to be known of everybody who is found. Take one out of %q.", r.what, "optional")
	}
	for i := range l.Fields {
		if f := &l.Fields[i]; l.HTTP != nil && f.Path == nil {
			p.path(r, f, items)
		}
	}
}

// path reads a field's JSON path.
func (p *parser) path(r *reader, f *lookup.Field, items []item) {
	var err error
	if f.Path, err = jsonpath.Parse(f.From); err == nil {
		return
	}
	for _, i := range items {
		if i.name == f.Name {
			r.error(i.value.at, "Not a JSON path", "In %s, the field %q has no path of RFC 9535: %s. Write something like \"$.contact.email\", \"$.people[0].email\" or \"$.emails[?@.primary == true].address\".",
				r.what, f.Name, strings.TrimPrefix(err.Error(), "jsonpath: "))
		}
	}
}

// item is one of a map that is written out, with the places of both sides.
type item struct {
	name  string
	at    hcl.Range
	value text
}

// items reads a map of names to strings; !ok when it is absent.
func (p *parser) items(r *reader, name, example string) (items []item, ok bool) {
	expr, ok := r.expression(name)
	if !ok || r.absent(name) {
		return nil, false
	}
	object, isObject := expr.(*hclsyntax.ObjectConsExpr)
	if !isObject || len(object.Items) == 0 && name == "fields" {
		r.error(expr.Range(), "Wrong value", "In %s, %q has to be written out, so that rules can be checked against it. Write %s = { email = %s }.", r.what, name, name, example)
		return nil, true
	}
	seen := map[string]bool{}
	for _, i := range object.Items {
		key, diags := i.KeyExpr.Value(nil)
		if diags.HasErrors() || key.Type() != cty.String || key.IsNull() || !hclsyntax.ValidIdentifier(key.AsString()) || seen[key.AsString()] {
			r.error(i.KeyExpr.Range(), "Not a name", "In %s, each name in %q begins with a letter, goes on with letters, digits, _ and -, and stands once.", r.what, name)
			continue
		}
		seen[key.AsString()] = true
		v, diags := p.scope.Value(i.ValueExpr)
		p.diags = append(p.diags, diags...)
		if diags.HasErrors() {
			continue
		}
		marked := v.IsMarked()
		if v = reveal(v); v.IsNull() || v.Type() != cty.String || v.AsString() == "" {
			r.error(i.ValueExpr.Range(), "Wrong value", "In %s, %q of %q must be a string, and not empty. Write %s = %s.", r.what, key.AsString(), name, key.AsString(), example)
			continue
		}
		items = append(items, item{key.AsString(), i.KeyExpr.Range(), text{v.AsString(), i.ValueExpr.Range(), true, marked}})
	}
	return items, true
}

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

func (p *parser) sqlLookup(r *reader, l *lookup.Config) {
	p.asked(r, l)
	q := &lookup.SQL{
		Driver: r.oneOf("driver", "", lookup.Drivers...),
		DSN:    r.need("dsn", `env("CRM_DSN")`).string,
		Query:  r.need("query", `"SELECT email FROM people WHERE id = $1"`).string,
	}
	l.SQL = q
	if r.absent("driver") {
		r.error(r.header, "Missing attribute", "In %s, %q is missing. %s", r.what, "driver", eval.Known(lookup.Drivers))
	}
	if q.Driver == "sqlite" {
		q.DSN = resolve(p.dir, q.DSN)
	}
	const example = "args = [citizen.external_ref]"
	expr, ok := r.expression("args")
	list, isList := expr.(*hclsyntax.TupleConsExpr)
	switch {
	case !ok:
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add %s: the values of the query's parameters, in their order.", r.what, "args", example)
	case !isList || !lookup.ReadsCitizen(expr):
		r.error(expr.Range(), "Wrong value", "In %s, %q is a list with the values of the query's parameters, one of which reads the citizen. Write %s.", r.what, "args", example)
	default:
		for _, a := range list.Exprs {
			e, diags := lookup.Compile(a, cty.String)
			p.diags = append(p.diags, diags...)
			q.Args = append(q.Args, e)
		}
	}
	p.fields(r, l, `"email"`, fieldTypes, nil)
}

func (p *parser) csvLookup(r *reader, l *lookup.Config) {
	file := &lookup.CSV{Path: resolve(p.dir, r.need("path", `"people.csv"`).string), Key: r.need("key", `"id"`).string}
	l.CSV = file
	const example = "match = citizen.external_ref"
	expr, ok := r.expression("match")
	switch {
	case !ok:
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add %s: what stands in the column %q of the person.", r.what, "match", example, "key")
	case !lookup.ReadsCitizen(expr):
		r.error(expr.Range(), "Everybody is asked for the same", "In %s, %q says nothing of the citizen. Write %s.", r.what, "match", example)
	default:
		var diags hcl.Diagnostics
		file.Match, diags = lookup.Compile(expr, cty.String)
		p.diags = append(p.diags, diags...)
	}
	p.fields(r, l, `"email"`, fieldTypes, nil)
}

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
