package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/sdk"
)

// TargetDiagnostic is a plugin's complaint about a target's configuration, at the deepest place in its
// config block that the complaint's path leads to. Secrets of the block are cut from its text.
func (c *Config) TargetDiagnostic(target string, e sdk.ConfigError) *hcl.Diagnostic {
	d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: e.Summary, Detail: e.Detail}
	i := slices.IndexFunc(c.Targets, func(t Target) bool { return t.Name == target })
	if i < 0 {
		return d
	}
	t := c.Targets[i]
	at := locate(t.config, t.configRange, e.Path)
	d.Subject = &at
	d.Summary, d.Detail = t.redact(d.Summary), t.redact(d.Detail)
	return d
}

func (t *Target) redact(text string) string {
	for _, secret := range t.secrets {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}

// locate follows a path of attribute and block names, map keys and list indexes.
func locate(body *hclsyntax.Body, header hcl.Range, path []string) hcl.Range {
	if len(path) == 0 {
		return header
	}
	if a, ok := body.Attributes[path[0]]; ok {
		if len(path) == 1 {
			return a.Expr.Range()
		}
		return locateIn(a.Expr, path[1:])
	}
	var found []*hclsyntax.Block
	for _, b := range body.Blocks {
		if b.Type == path[0] {
			found = append(found, b)
		}
	}
	if len(found) == 0 {
		return header
	}
	block, rest := found[0], path[1:]
	if len(rest) > 0 {
		if i, err := strconv.Atoi(rest[0]); err == nil && i >= 0 && i < len(found) {
			block, rest = found[i], rest[1:]
		}
	}
	return locate(block.Body, block.DefRange(), rest)
}

func locateIn(expr hclsyntax.Expression, path []string) hcl.Range {
	if len(path) == 0 {
		return expr.Range()
	}
	switch e := expr.(type) {
	case *hclsyntax.ParenthesesExpr:
		return locateIn(e.Expression, path)
	case *hclsyntax.ObjectConsExpr:
		for _, item := range e.Items {
			key, diags := item.KeyExpr.Value(nil)
			if !diags.HasErrors() && key.Type() == cty.String && key.IsKnown() && !key.IsNull() && key.AsString() == path[0] {
				return locateIn(item.ValueExpr, path[1:])
			}
		}
	case *hclsyntax.TupleConsExpr:
		if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i < len(e.Exprs) {
			return locateIn(e.Exprs[i], path[1:])
		}
	}
	return expr.Range()
}

// shortest is how long a string must be to be cut from a text as a secret: shorter ones are parts of
// ordinary words.
const shortest = 4

// plainTexts are all strings in a value.
func plainTexts(v cty.Value) []string {
	var all []string
	_ = cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) {
		if v.Type() == cty.String && v.IsKnown() && !v.IsNull() && len(v.AsString()) >= shortest {
			all = append(all, v.AsString())
		}
		return true, nil
	})
	return all
}

// declared are the strings in a rendered block that the plugin's schema calls sensitive.
func declared(values any, schema sdk.Schema) []string {
	fields, ok := values.(map[string]any)
	if !ok {
		return nil
	}
	var all []string
	for name, a := range schema.Attributes {
		if a.Sensitive {
			all = append(all, deepStrings(fields[name])...)
		}
	}
	for name, b := range schema.Blocks {
		if list, ok := fields[name].([]any); ok {
			for _, one := range list {
				all = append(all, declared(one, b.Body)...)
			}
		} else {
			all = append(all, declared(fields[name], b.Body)...)
		}
	}
	return all
}

func deepStrings(v any) []string {
	var all []string
	switch v := v.(type) {
	case string:
		if len(v) >= shortest {
			all = append(all, v)
		}
	case []any:
		for _, e := range v {
			all = append(all, deepStrings(e)...)
		}
	case map[string]any:
		for _, e := range v {
			all = append(all, deepStrings(e)...)
		}
	}
	return all
}
