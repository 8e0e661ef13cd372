package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/rules/eval"
)

// justifications are the sender's lawful bases.
var justifications = []string{"consent", "legitimate-interest", "contract", "public-interest", "vital-interest", "legal-obligation"}

func (p *parser) names(c *Config, options, preferences []*reader) {
	for _, r := range options {
		p.identifier(r, 0)
		o := rules.Option{
			Name:          r.labels[0],
			ID:            r.need("id", `"k3Rmx"`).string,
			Type:          r.oneOf("type", "option", "option", "group"),
			Justification: r.oneOf("justification", "", justifications...),
			Range:         r.header,
		}
		r.done()
		if p.first("option", o.Name, r.header) {
			c.Names.Options = append(c.Names.Options, o)
		}
	}
	for _, r := range preferences {
		p.identifier(r, 0)
		n := rules.Preference{Name: r.labels[0], Reference: r.labels[0], Range: r.header}
		if reference := r.text("reference"); reference.set {
			if reference.string == "" {
				r.error(reference.at, "Empty value", "In %s, %q is empty. Write the preference's reference at the sender, or leave it out if it is the block's name.", r.what, "reference")
			}
			n.Reference = reference.string
		}
		r.done()
		if p.first("preference", n.Name, r.header) {
			c.Names.Preferences = append(c.Names.Preferences, n)
		}
	}
}

func (p *parser) rules(c *Config, found []*reader) {
	var sources, targets []string
	for _, s := range c.Sources {
		sources = append(sources, s.Name)
	}
	for _, t := range c.Targets {
		targets = append(targets, t.Name)
	}
	for _, r := range found {
		p.identifier(r, 0)
		d := rules.Definition{
			Name:   r.labels[0],
			Source: p.reference(r, "source", sources),
			Target: p.reference(r, "target", targets),
			Range:  r.header,
		}
		if when, ok := r.expression("when"); ok {
			d.When = when
		}
		if each, ok := r.expression("for_each"); ok {
			d.ForEach = each
		}
		if record := r.single("record"); record != nil {
			d.Record, d.RecordRange = record.body, record.header
		} else {
			r.error(r.header, "Missing block", "In %s, %q is missing. Add record { ... } with what the target should hold.", r.what, "record")
		}
		r.done()
		if p.first("rule", d.Name, r.header) {
			c.Rules = append(c.Rules, d)
		}
	}
}

// reference reads an attribute that names another block, as in source.dataguard.
func (p *parser) reference(r *reader, kind string, known []string) string {
	expr, ok := r.expression(kind)
	if !ok {
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add %s = %s.%s.", r.what, kind, kind, kind, example(known))
		return ""
	}
	t, diags := hcl.AbsTraversalForExpr(expr)
	if diags.HasErrors() || len(t) != 2 || t.RootName() != kind {
		r.error(expr.Range(), "Not a reference", "In %s, %q refers to a block by its name. %s", r.what, kind, insteadOf(expr, t, kind, known))
		return ""
	}
	step, ok := t[1].(hcl.TraverseAttr)
	if !ok {
		r.error(expr.Range(), "Not a reference", "In %s, %q refers to a block by its name. Write %s = %s.%s.", r.what, kind, kind, kind, example(known))
		return ""
	}
	for _, name := range known {
		if name == step.Name {
			return name
		}
	}
	at := step.SrcRange
	at.Start.Byte++ // the dot
	at.Start.Column++
	advice := fmt.Sprintf("Add a block %s for it.", header(kind, step.Name))
	if len(known) > 0 {
		advice = eval.DidYouMean(step.Name, known)
	}
	r.error(at, "Unknown "+kind, "There is no %s %q. %s", kind, step.Name, advice)
	return ""
}

func header(kind, name string) string {
	if kind == "target" {
		return fmt.Sprintf("target \"TYPE\" %q { ... }", name)
	}
	return fmt.Sprintf("%s %q { ... }", kind, name)
}

// insteadOf says how the reference should have been written.
func insteadOf(expr hclsyntax.Expression, t hcl.Traversal, kind string, known []string) string {
	meant := ""
	switch {
	case len(t) == 0:
		if v, diags := expr.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
			meant = v.AsString()
		}
	case len(t) == 1:
		meant = t.RootName()
	default:
		if step, ok := t[1].(hcl.TraverseAttr); ok {
			meant = step.Name
		}
	}
	if near := eval.Suggest(meant, known); near != "" {
		return fmt.Sprintf("Did you mean %s = %s.%s?", kind, kind, near)
	}
	return fmt.Sprintf("Write %s = %s.%s, without quotes.", kind, kind, example(known))
}

func example(known []string) string {
	if len(known) > 0 {
		return known[0]
	}
	return "NAME"
}
