package eval

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/sdk"
)

// Body is an HCL body compiled against a plugin's schema. It is safe for concurrent use.
type Body struct {
	fields []field // in the order of their names
}

// field is one name of a body: an attribute, or the blocks of one type.
type field struct {
	quoted []byte // the name as JSON, with its colon
	where  string

	expr     hcl.Expression
	typ      cty.Type
	want     want
	required bool

	blocks   []*Body
	repeated bool
}

// Compile checks a body against the schema and its expressions in the scope. header is where the block
// begins; what is the block in words: `record of rule "newsletter"`.
func (s *Scope) Compile(body hcl.Body, header hcl.Range, schema sdk.Schema, what string) (*Body, hcl.Diagnostics) {
	native, ok := body.(*hclsyntax.Body)
	if !ok {
		return nil, hcl.Diagnostics{problem(header, "Not in HCL's own syntax", "Only HCL's native syntax is read here, not its JSON form.")}
	}
	c := compiler{scope: s, what: what}
	compiled := c.body(native, header, schema, "")
	slices.SortStableFunc(c.diags, func(a, b *hcl.Diagnostic) int { return a.Subject.Start.Byte - b.Subject.Start.Byte })
	return compiled, c.diags
}

// Expressions are all expressions of the body.
func (b *Body) Expressions() []hcl.Expression {
	var all []hcl.Expression
	for _, f := range b.fields {
		if f.expr != nil {
			all = append(all, f.expr)
		}
		for _, block := range f.blocks {
			all = append(all, block.Expressions()...)
		}
	}
	return all
}

// Append renders the body as one JSON object with sorted names and appends it to dst. An attribute that
// is absent from the body is absent from the object; one that is null is null. reveal, where it is not
// nil, takes the marks off a value. The error is an *Error.
func (b *Body) Append(dst []byte, ctx *hcl.EvalContext, reveal func(cty.Value) cty.Value) ([]byte, error) {
	dst = append(dst, '{')
	for i := range b.fields {
		f := &b.fields[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, f.quoted...)
		var err error
		if f.expr != nil {
			dst, err = f.appendTo(dst, ctx, reveal)
		} else {
			dst, err = f.appendBlocks(dst, ctx, reveal)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func (f *field) appendTo(dst []byte, ctx *hcl.EvalContext, reveal func(cty.Value) cty.Value) ([]byte, error) {
	v, diags := f.expr.Value(ctx)
	if diags.HasErrors() {
		return dst, Failed(f.where, f.expr, diags)
	}
	if reveal != nil {
		v = reveal(v)
	}
	if f.required && v.IsNull() {
		return dst, &Error{At: f.expr.Range(), Where: f.where, What: errRequiredNull.Error()}
	}
	dst, err := f.want.appendValue(dst, v, f.typ)
	if err != nil {
		return dst, &Error{At: f.expr.Range(), Where: f.where, What: err.Error()}
	}
	return dst, nil
}

func (f *field) appendBlocks(dst []byte, ctx *hcl.EvalContext, reveal func(cty.Value) cty.Value) ([]byte, error) {
	var err error
	if !f.repeated {
		return f.blocks[0].Append(dst, ctx, reveal)
	}
	dst = append(dst, '[')
	for i, block := range f.blocks {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = block.Append(dst, ctx, reveal); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

type compiler struct {
	scope *Scope
	what  string
	diags hcl.Diagnostics
}

func (c *compiler) report(d ...*hcl.Diagnostic) { c.diags = append(c.diags, d...) }

// body compiles one level; path leads to it, with a dot at its end.
func (c *compiler) body(body *hclsyntax.Body, header hcl.Range, schema sdk.Schema, path string) *Body {
	known := slices.Concat(slices.Collect(maps.Keys(schema.Attributes)), slices.Collect(maps.Keys(schema.Blocks)))
	compiled := &Body{}
	for name, attr := range body.Attributes {
		switch s, ok := schema.Attributes[name]; {
		case ok:
			if f, ok := c.attribute(attr, s, path); ok {
				compiled.fields = append(compiled.fields, f)
			}
		case hasBlock(schema, name):
			c.report(problem(attr.NameRange, "Block written as an attribute",
				"In the %s, %q is a block. Write %s { ... }, without the equals sign.", c.what, path+name, name))
		default:
			c.report(problem(attr.NameRange, "Unknown attribute",
				"The %s has no attribute %q. %s", c.what, path+name, DidYouMean(name, known)))
		}
	}
	blocks := map[string][]*hclsyntax.Block{}
	for _, block := range body.Blocks {
		switch _, isAttribute := schema.Attributes[block.Type]; {
		case hasBlock(schema, block.Type):
			blocks[block.Type] = append(blocks[block.Type], block)
		case isAttribute:
			c.report(problem(block.TypeRange, "Attribute written as a block",
				"In the %s, %q is an attribute. Write %s = { ... }, with an equals sign.", c.what, path+block.Type, block.Type))
		default:
			c.report(problem(block.TypeRange, "Unknown block",
				"The %s has no block %q. %s", c.what, path+block.Type, DidYouMean(block.Type, known)))
		}
	}
	for name, found := range blocks {
		if f, ok := c.blocks(name, found, schema.Blocks[name], path); ok {
			compiled.fields = append(compiled.fields, f)
		}
	}
	c.missing(body, header, schema, path)
	slices.SortFunc(compiled.fields, func(a, b field) int { return strings.Compare(a.where, b.where) })
	return compiled
}

func hasBlock(schema sdk.Schema, name string) bool {
	_, ok := schema.Blocks[name]
	return ok
}

func (c *compiler) missing(body *hclsyntax.Body, header hcl.Range, schema sdk.Schema, path string) {
	for _, name := range slices.Sorted(maps.Keys(schema.Attributes)) {
		if _, ok := body.Attributes[name]; schema.Attributes[name].Required && !ok {
			c.report(problem(header, "Missing attribute",
				"The %s needs %q (%s). Add %s = ...", c.what, path+name, schema.Attributes[name].Type, name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Blocks)) {
		if schema.Blocks[name].Required && !slices.ContainsFunc(body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == name }) {
			c.report(problem(header, "Missing block", "The %s needs a block %q. Add %s { ... }", c.what, path+name, name))
		}
	}
}

func (c *compiler) blocks(name string, found []*hclsyntax.Block, schema sdk.Block, path string) (field, bool) {
	f := field{quoted: quotedName(name), where: path + name, repeated: schema.Repeated}
	if !schema.Repeated && len(found) > 1 {
		c.report(problem(found[1].DefRange(), "Block stands twice",
			"The %s takes one block %q; the first is at %s. Keep one of them.", c.what, path+name, place(found[0].DefRange())))
		return f, false
	}
	for _, block := range found {
		if len(block.Labels) > 0 {
			c.report(problem(block.LabelRanges[0], "Label where none belongs", "A block %q has no label. Write %s { ... }", path+name, name))
			continue
		}
		f.blocks = append(f.blocks, c.body(block.Body, block.DefRange(), schema.Body, path+name+"."))
	}
	return f, len(f.blocks) > 0
}

func place(at hcl.Range) string {
	return fmt.Sprintf("%s:%d,%d", at.Filename, at.Start.Line, at.Start.Column)
}

func quotedName(name string) []byte {
	quoted, _ := appendString(nil, name)
	return append(quoted, ':')
}

func (c *compiler) attribute(attr *hclsyntax.Attribute, schema sdk.Attribute, path string) (field, bool) {
	f := field{
		quoted: quotedName(attr.Name), where: path + attr.Name, expr: attr.Expr,
		want: want{enum: schema.Enum, sensitive: schema.Sensitive}, required: schema.Required,
	}
	t, err := ParseType(schema.Type)
	if err != nil {
		c.report(problem(attr.NameRange, "Plugin's schema is broken",
			"The plugin declares %q with the type %q, which is %v. Report it to the plugin's author.", f.where, schema.Type, err))
		return f, false
	}
	f.typ = t
	if diags := c.scope.Check(attr.Expr); diags.HasErrors() {
		c.report(diags...)
		return f, false
	}
	before := len(c.diags)
	c.leaves(attr.Expr, &f, t, c.scope.Context, true)
	return f, len(c.diags) == before
}
