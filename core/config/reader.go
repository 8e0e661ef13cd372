package config

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/consentd/consentd/core/rules/eval"
)

// reader reads one block. The names it is asked for are the names that exist; done reports the others.
type reader struct {
	p      *parser
	body   *hclsyntax.Body
	header hcl.Range
	labels []string
	// labelRanges are of the labels, in their order.
	labelRanges []hcl.Range
	// what is the block in a sentence: `source "dataguard"`.
	what string

	attributes []string
	blocks     []string
}

// text is a string with the place it was written at.
type text struct {
	string
	at     hcl.Range
	set    bool
	secret bool
}

// shown is the string as a diagnostic may show it.
func (t text) shown() string {
	if t.secret {
		return hidden
	}
	return fmt.Sprintf("%q", t.string)
}

// didYouMean is what to write instead. What is near to a secret would tell of it.
func (t text) didYouMean(allowed []string) string {
	if t.secret {
		return eval.Known(allowed)
	}
	return eval.DidYouMean(t.string, allowed)
}

func (r *reader) error(at hcl.Range, summary, format string, args ...any) {
	r.p.report(at, summary, format, args...)
}

// value is an attribute's value as t; !ok when it is absent, null or wrong, and the last is reported.
func (r *reader) value(name string, t cty.Type) (v cty.Value, at hcl.Range, ok bool) {
	expr, ok := r.expression(name)
	if !ok {
		return cty.NilVal, r.header, false
	}
	at = expr.Range()
	v, diags := r.p.scope.Value(expr)
	r.p.diags = append(r.p.diags, diags...)
	if bare, _ := v.Unmark(); diags.HasErrors() || bare.IsNull() {
		return cty.NilVal, at, false
	}
	if wrong := eval.Misfit(v, t); wrong != "" {
		r.error(at, "Wrong value", "This is for %q in %s. %s", name, r.what, wrong)
		return cty.NilVal, at, false
	}
	v, err := convert.Convert(v, t)
	if err != nil {
		r.error(at, "Wrong value", "This is for %q in %s, and is not of its type.", name, r.what)
		return cty.NilVal, at, false
	}
	return v, at, true
}

// expression is an attribute as it is written.
func (r *reader) expression(name string) (hclsyntax.Expression, bool) {
	r.attributes = append(r.attributes, name)
	a, ok := r.body.Attributes[name]
	if !ok {
		return nil, false
	}
	return a.Expr, true
}

func (r *reader) text(name string) text {
	v, at, ok := r.value(name, cty.String)
	if !ok {
		return text{at: at}
	}
	return text{reveal(v).AsString(), at, true, v.IsMarked()}
}

// need is text that must be there and not be empty.
func (r *reader) need(name, example string) text {
	t := r.text(name)
	if r.absent(name) {
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add %s = %s.", r.what, name, name, example)
	} else if t.set && t.string == "" {
		r.error(t.at, "Empty value", "In %s, %q is empty. Write %s = %s.", r.what, name, name, example)
		t.set = false
	}
	return t
}

// absent is whether an attribute is not there, or null.
func (r *reader) absent(name string) bool {
	a, there := r.body.Attributes[name]
	if !there {
		return true
	}
	v, diags := a.Expr.Value(r.p.scope.Context)
	v, _ = v.Unmark()
	return !diags.HasErrors() && v.IsNull()
}

// texts is a list of strings, each with its own place where it was written out.
func (r *reader) texts(name string) (all []text, at hcl.Range) {
	v, at, ok := r.value(name, cty.List(cty.String))
	if !ok {
		return nil, at
	}
	var written []hclsyntax.Expression
	if tuple, ok := r.body.Attributes[name].Expr.(*hclsyntax.TupleConsExpr); ok {
		written = tuple.Exprs
	}
	v, marks := v.Unmark()
	for it := v.ElementIterator(); it.Next(); {
		_, element := it.Element()
		t := text{at: at, set: true, secret: len(marks) > 0 || element.IsMarked()}
		if i := len(all); i < len(written) {
			t.at = written[i].Range()
		}
		if element = reveal(element); !element.IsNull() {
			t.string = element.AsString()
		}
		all = append(all, t)
	}
	return all, at
}

// oneOf is text out of a closed list.
func (r *reader) oneOf(name, fallback string, allowed ...string) string {
	t := r.text(name)
	if !t.set {
		return fallback
	}
	if !slices.Contains(allowed, t.string) {
		r.error(t.at, "Unknown value", "In %s, %q cannot be %s. %s", r.what, name, t.shown(), t.didYouMean(allowed))
		return fallback
	}
	return t.string
}

func (r *reader) number(name string, fallback, least, most float64) float64 {
	v, at, ok := r.value(name, cty.Number)
	if !ok {
		return fallback
	}
	n, _ := reveal(v).AsBigFloat().Float64()
	if n < least || n > most {
		r.error(at, "Number out of range", "In %s, %q must be from %v to %v.", r.what, name, least, most)
		return fallback
	}
	return n
}

// boolean is false when it is absent.
func (r *reader) boolean(name string) (is bool, at hcl.Range) {
	v, at, ok := r.value(name, cty.Bool)
	return ok && reveal(v).True(), at
}

func (r *reader) integer(name string, fallback, least, most int) int {
	v, at, ok := r.value(name, cty.Number)
	if !ok {
		return fallback
	}
	n, exact := reveal(v).AsBigFloat().Int64()
	if exact != big.Exact || n < int64(least) || n > int64(most) {
		r.error(at, "Number out of range", "In %s, %q must be a whole number from %d to %d.", r.what, name, least, most)
		return fallback
	}
	return int(n)
}

func (r *reader) duration(name string, fallback, least, most time.Duration) time.Duration {
	t := r.text(name)
	if !t.set {
		return fallback
	}
	d, err := parseDuration(t.string)
	if err != nil {
		r.error(t.at, "Not a duration", "In %s, %q cannot be %s. %s", r.what, name, t.shown(), durationForm)
		return fallback
	}
	if d < least || d > most {
		r.error(t.at, "Duration out of range", "In %s, %q must be from %q to %q.", r.what, name, formatDuration(least), formatDuration(most))
		return fallback
	}
	return d
}

// size is a number of bytes; bounds is how a diagnostic names the least and the most.
func (r *reader) size(name string, fallback, least, most int64, bounds string) int64 {
	t := r.text(name)
	if !t.set {
		return fallback
	}
	n, err := parseSize(t.string)
	if err != nil {
		r.error(t.at, "Not a size", "In %s, %q cannot be %s. %s", r.what, name, t.shown(), sizeForm)
		return fallback
	}
	if n < least || n > most {
		r.error(t.at, "Size out of range", "In %s, %q must be from %s.", r.what, name, bounds)
		return fallback
	}
	return n
}

// paths are folders and files; nil only when the attribute is absent.
func (r *reader) paths(name string) []string {
	if r.absent(name) {
		r.attributes = append(r.attributes, name)
		return nil
	}
	texts, _ := r.texts(name)
	paths := make([]string, 0, len(texts))
	for _, t := range texts {
		if t.string == "" {
			r.error(t.at, "Empty value", "In %s, %q names folders and files. Write %s = [\"/var/lib/acme\"].", r.what, name, name)
			continue
		}
		paths = append(paths, resolve(r.p.dir, t.string))
	}
	return paths
}

// single reads a block that may stand once; nil when it is absent.
func (r *reader) single(name string) *reader {
	found := r.each(name)
	if len(found) == 0 {
		return nil
	}
	for _, again := range found[1:] {
		r.error(again.header, "Block stands twice", "There is one block %q in %s, and the first is at %s. Keep one of them.", name, r.what, place(found[0].header))
	}
	return found[0]
}

// each reads all blocks of a type that have as many labels as are named.
func (r *reader) each(name string, labels ...string) []*reader {
	r.blocks = append(r.blocks, name)
	var found []*reader
	for _, b := range r.body.Blocks {
		if b.Type != name {
			continue
		}
		header := strings.Join(append([]string{name}, quoteAll(labels)...), " ")
		if len(b.Labels) != len(labels) {
			at := b.TypeRange
			if len(b.Labels) > len(labels) {
				at = b.LabelRanges[len(labels)]
			}
			r.error(at, "Wrong number of labels", "The block %q takes %d labels. Write %s { ... }.", name, len(labels), header)
			continue
		}
		what := strings.Join(append([]string{name}, quoteAll(b.Labels)...), " ")
		if len(labels) == 0 && r.what != top {
			what += " of " + r.what
		}
		found = append(found, &reader{
			p: r.p, body: b.Body, header: b.DefRange(), labels: b.Labels, labelRanges: b.LabelRanges, what: what,
		})
	}
	return found
}

func quoteAll(labels []string) []string {
	quoted := make([]string, len(labels))
	for i, l := range labels {
		quoted[i] = fmt.Sprintf("%q", l)
	}
	return quoted
}

// done reports what stands in the block and was not asked for.
func (r *reader) done() {
	known := slices.Concat(r.attributes, r.blocks)
	for _, name := range slices.Sorted(maps.Keys(r.body.Attributes)) {
		at := r.body.Attributes[name].NameRange
		switch {
		case slices.Contains(r.attributes, name):
		case slices.Contains(r.blocks, name):
			r.error(at, "Block written as an attribute", "In %s, %q is a block. Write %s { ... }, without the equals sign.", r.what, name, name)
		default:
			r.error(at, "Unknown attribute", "There is no attribute %q in %s. %s", name, r.what, eval.DidYouMean(name, known))
		}
	}
	for _, b := range r.body.Blocks {
		switch {
		case slices.Contains(r.blocks, b.Type):
		case slices.Contains(r.attributes, b.Type):
			r.error(b.TypeRange, "Attribute written as a block", "In %s, %q is an attribute. Write %s = ..., with an equals sign.", r.what, b.Type, b.Type)
		default:
			r.error(b.TypeRange, "Unknown block", "There is no block %q in %s. %s", b.Type, r.what, eval.DidYouMean(b.Type, known))
		}
	}
}

func place(at hcl.Range) string {
	return fmt.Sprintf("%s:%d,%d", at.Filename, at.Start.Line, at.Start.Column)
}
