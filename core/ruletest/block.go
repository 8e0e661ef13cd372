package ruletest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/consentd/consentd/core/rules/eval"
)

// parser reads test files. An expression in them may call functions and knows no names.
type parser struct {
	scope *eval.Scope
	diags hcl.Diagnostics
}

func newParser() *parser {
	const elsewhere = "A test says the same wherever it runs. Write the value here; what the configuration reads of the environment stands in env = { NAME = \"...\" } at the top of the file."
	return &parser{scope: &eval.Scope{
		Context: &hcl.EvalContext{Functions: eval.Functions()},
		Foreign: map[string]string{
			"env": elsewhere, "credential": elsewhere,
			"file":      "Write update { file = \"update.json\" } for an update, and golden = \"records.json\" for what is expected.",
			"timestamp": "A test has a clock of its own. Write the time, as in \"2026-03-02T09:14:05Z\".",
		},
		Advice: func(path, _ []string) string {
			return fmt.Sprintf("A test compares with plain values. Write the value, in quotes if it is a string: %q.", strings.Join(path, "."))
		},
	}}
}

func (p *parser) report(at hcl.Range, summary, format string, args ...any) {
	p.diags = append(p.diags, &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at,
	})
}

// top is the outermost level in sentences.
const top = "the test file"

// block is one block of a test file. The names it is asked for are the names that exist; done reports the others.
type block struct {
	p           *parser
	body        *hclsyntax.Body
	header      hcl.Range
	labels      []string
	labelRanges []hcl.Range
	// what is the block in a sentence: `test "a grant"`.
	what string

	attributes, blocks []string
}

func (b *block) expression(name string) (hclsyntax.Expression, bool) {
	b.attributes = append(b.attributes, name)
	a, ok := b.body.Attributes[name]
	if !ok {
		return nil, false
	}
	return a.Expr, true
}

// value is an attribute's value as t; !ok when it is absent, null or wrong, and the last is reported.
func (b *block) value(name string, t cty.Type) (v cty.Value, at hcl.Range, ok bool) {
	expr, ok := b.expression(name)
	if !ok {
		return cty.NilVal, b.header, false
	}
	at = expr.Range()
	v, diags := b.p.scope.Value(expr)
	b.p.diags = append(b.p.diags, diags...)
	if diags.HasErrors() || v.IsNull() {
		return cty.NilVal, at, false
	}
	if wrong := eval.Misfit(v, t); wrong != "" {
		b.p.report(at, "Wrong value", "This is for %q in %s. %s", name, b.what, wrong)
		return cty.NilVal, at, false
	}
	if v, diags := convert.Convert(v, t); diags == nil {
		return v, at, true
	}
	b.p.report(at, "Wrong value", "This is for %q in %s, and is not of its type.", name, b.what)
	return cty.NilVal, at, false
}

// text is "" when it is absent.
func (b *block) text(name string) (string, hcl.Range) {
	v, at, ok := b.value(name, cty.String)
	if !ok {
		return "", at
	}
	return v.AsString(), at
}

// boolean is nil when it is absent.
func (b *block) boolean(name string) *bool {
	v, _, ok := b.value(name, cty.Bool)
	if !ok {
		return nil
	}
	is := v.True()
	return &is
}

// texts is a list of strings.
func (b *block) texts(name string) ([]string, hcl.Range, bool) {
	v, at, ok := b.value(name, cty.List(cty.String))
	if !ok {
		return nil, at, false
	}
	all := []string{}
	for _, e := range v.AsValueSlice() {
		if e.IsNull() {
			b.p.report(at, "Wrong value", "This is for %q in %s. No string in it may be null.", name, b.what)
			return nil, at, false
		}
		all = append(all, e.AsString())
	}
	return all, at, true
}

// oneOf is text out of a closed list; "" when it is absent.
func (b *block) oneOf(name, otherwise string, allowed ...string) string {
	v, at, ok := b.value(name, cty.String)
	if !ok {
		return ""
	}
	s := v.AsString()
	if !slices.Contains(allowed, s) {
		b.p.report(at, "Unknown value", "In %s, %q cannot be %q. %s%s", b.what, name, s, eval.DidYouMean(s, allowed), otherwise)
		return ""
	}
	return s
}

// instant is zero when it is absent.
func (b *block) instant(name string) (time.Time, hcl.Range) {
	v, at, ok := b.value(name, cty.String)
	if !ok {
		return time.Time{}, at
	}
	t, err := time.Parse(time.RFC3339Nano, v.AsString())
	if err != nil {
		b.p.report(at, "Not a time", "In %s, %q is no time of RFC 3339. Write %s = \"2026-03-02T09:14:05Z\".", b.what, name, name)
	}
	return t, at
}

// each reads all blocks of a type that have from least to most labels; form is how one is written.
func (b *block) each(name, form string, least, most int) []*block {
	b.blocks = append(b.blocks, name)
	var found []*block
	for _, in := range b.body.Blocks {
		if in.Type != name {
			continue
		}
		if n := len(in.Labels); n < least || n > most {
			at := in.TypeRange
			if n > most {
				at = in.LabelRanges[most]
			}
			b.p.report(at, "Wrong number of labels", "In %s, write %s.", b.what, form)
			continue
		}
		what := name
		for _, l := range in.Labels {
			what += fmt.Sprintf(" %q", l)
		}
		if b.what != top {
			what += " of " + b.what
		}
		found = append(found, &block{
			p: b.p, body: in.Body, header: in.DefRange(), labels: in.Labels, labelRanges: in.LabelRanges, what: what,
		})
	}
	return found
}

// single reads a block that may stand once; nil when it is absent.
func (b *block) single(name string) *block {
	found := b.each(name, name+" { ... }", 0, 0)
	if len(found) == 0 {
		return nil
	}
	for _, again := range found[1:] {
		b.p.report(again.header, "Block stands twice", "There is one block %q in %s, and the first is at %s. Keep one of them.", name, b.what, place(found[0].header))
	}
	return found[0]
}

// done reports what stands in the block and was not asked for.
func (b *block) done() {
	known := slices.Compact(slices.Sorted(slices.Values(slices.Concat(b.attributes, b.blocks))))
	for _, name := range slices.Sorted(maps.Keys(b.body.Attributes)) {
		at := b.body.Attributes[name].NameRange
		switch {
		case slices.Contains(b.attributes, name):
		case slices.Contains(b.blocks, name):
			b.p.report(at, "Block written as an attribute", "In %s, %q is a block. Write %s { ... }, without the equals sign.", b.what, name, name)
		default:
			b.p.report(at, "Unknown attribute", "There is no attribute %q in %s. %s", name, b.what, eval.DidYouMean(name, known))
		}
	}
	for _, in := range b.body.Blocks {
		switch {
		case slices.Contains(b.blocks, in.Type):
		case slices.Contains(b.attributes, in.Type):
			b.p.report(in.TypeRange, "Attribute written as a block", "In %s, %q is an attribute. Write %s = ..., with an equals sign.", b.what, in.Type, in.Type)
		default:
			b.p.report(in.TypeRange, "Unknown block", "There is no block %q in %s. %s", in.Type, b.what, eval.DidYouMean(in.Type, known))
		}
	}
}

func place(at hcl.Range) string {
	return fmt.Sprintf("%s:%d,%d", at.Filename, at.Start.Line, at.Start.Column)
}
