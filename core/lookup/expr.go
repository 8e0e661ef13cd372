package lookup

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/consentd/consentd/core/rules/eval"
)

// functions is what expressions may call; it is never written to.
var functions = eval.Functions()

// ids are what can be read of citizen.
var ids = []struct {
	name string
	of   func(Person) string
}{
	{"id", func(p Person) string { return p.ID }},
	{"external_ref", func(p Person) string { return p.ExternalRef }},
	{"application_id", func(p Person) string { return p.ApplicationID }},
}

// Expr is an expression over the ids of a person.
type Expr struct{ expr hcl.Expression }

// Compile checks an expression whose value is to be of the type, or any with cty.DynamicPseudoType.
func Compile(expr hclsyntax.Expression, want cty.Type) (Expr, hcl.Diagnostics) {
	types := map[string]cty.Type{}
	for _, id := range ids {
		types[id.name] = cty.String
	}
	elsewhere := "What is read of a citizen cannot be mixed with the environment or with files in one expression. Put what it gives into headers, auth, or another part of the url."
	scope := eval.Scope{
		Context: &hcl.EvalContext{
			Variables: map[string]cty.Value{"citizen": cty.UnknownVal(cty.Object(types)).RefineNotNull()},
			Functions: functions,
		},
		Unknown: true,
		Advice: func(path, _ []string) string {
			if len(path) == 1 {
				return "A lookup can read citizen.id, citizen.external_ref and citizen.application_id, and nothing else."
			}
			return ""
		},
		Foreign: map[string]string{"env": elsewhere, "file": elsewhere, "credential": elsewhere},
	}
	v, diags := scope.Value(expr)
	if wrong := ""; !diags.HasErrors() {
		if wrong = eval.Misfit(v, want); wrong != "" {
			at := expr.Range()
			diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Wrong value", Detail: wrong, Subject: &at})
		}
	}
	return Expr{expr}, diags
}

// ReadsCitizen is whether an expression has to do with a person at all.
func ReadsCitizen(expr hclsyntax.Expression) bool {
	for _, t := range expr.Variables() {
		if t.RootName() == "citizen" {
			return true
		}
	}
	return false
}

// value is the expression's for a person. It is ErrNobody when it comes to nothing, as when the person has no
// such id.
func (e Expr) value(p Person) (cty.Value, error) {
	values, absent := map[string]cty.Value{}, false
	for _, id := range ids {
		if s := id.of(p); s != "" {
			values[id.name] = cty.StringVal(s)
		} else {
			values[id.name], absent = cty.NullVal(cty.String), true
		}
	}
	v, diags := e.expr.Value(&hcl.EvalContext{Variables: map[string]cty.Value{"citizen": cty.ObjectVal(values)}, Functions: functions})
	switch {
	case diags.HasErrors() && absent, !diags.HasErrors() && v.IsNull():
		return cty.NilVal, ErrNobody
	case diags.HasErrors() || !v.IsWhollyKnown():
		at := e.expr.Range()
		return cty.NilVal, fmt.Errorf("the expression at %s:%d,%d cannot be evaluated for this person", at.Filename, at.Start.Line, at.Start.Column)
	}
	return v, nil
}

func (e Expr) text(p Person) (string, error) {
	v, err := e.value(p)
	if err != nil {
		return "", err
	}
	v, err = convert.Convert(v, cty.String)
	if err != nil {
		return "", errors.New("what is made of the person's ids is no text")
	}
	return v.AsString(), nil
}

// URL is an address with parts that depend on the person.
type URL []Part

// Part is fixed text, or an expression whose value is escaped.
type Part struct {
	Text string
	Expr *Expr
}

func (u URL) of(p Person) (string, error) {
	var out strings.Builder
	for _, part := range u {
		if part.Expr == nil {
			out.WriteString(part.Text)
			continue
		}
		s, err := part.Expr.text(p)
		if err != nil {
			return "", err
		}
		if s == "" || s == "." || s == ".." {
			// These would change which path it is, in spite of escaping.
			return "", ErrNobody
		}
		// What is escaped for a query is safe in a path as well, but for the plus sign.
		out.WriteString(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"))
	}
	return out.String(), nil
}
