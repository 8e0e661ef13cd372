package config

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/theory/jsonpath"
	"github.com/zclconf/go-cty/cty"

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
