package eval

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// leaves judges the values that an expression can come to, each where it is written: the arms of a
// conditional, the items of a map or a list, the body of a for expression. whole is whether expr is the
// attribute's value and not a part of it.
func (c *compiler) leaves(expr hclsyntax.Expression, f *field, t cty.Type, ctx *hcl.EvalContext, whole bool) {
	switch e := expr.(type) {
	case *hclsyntax.ParenthesesExpr:
		c.leaves(e.Expression, f, t, ctx, whole)
		return
	case *hclsyntax.TemplateWrapExpr:
		c.leaves(e.Wrapped, f, t, ctx, whole)
		return
	case *hclsyntax.ConditionalExpr:
		c.leaves(e.TrueResult, f, t, ctx, whole)
		c.leaves(e.FalseResult, f, t, ctx, whole)
		return
	case *hclsyntax.ForExpr:
		c.leavesFor(e, f, t, ctx)
		return
	case *hclsyntax.ObjectConsExpr:
		if t.IsMapType() {
			for _, item := range e.Items {
				c.leaves(item.ValueExpr, f, t.ElementType(), ctx, false)
			}
			return
		}
	case *hclsyntax.TupleConsExpr:
		if t.IsListType() || t.IsSetType() {
			for _, item := range e.Exprs {
				c.leaves(item, f, t.ElementType(), ctx, false)
			}
			return
		}
	}
	v, diags := expr.Value(ctx)
	if diags.HasErrors() {
		// The other arm of a conditional over known values, which is never taken, or said already.
		return
	}
	if v, _ := v.Unmark(); whole && f.required && v.IsKnown() && v.IsNull() {
		c.report(problem(expr.Range(), "Required attribute is null",
			"The %s needs %q, so it cannot be null. Write a value.", c.what, f.where))
		return
	}
	if wrong := f.want.misfit(v, t); wrong != "" {
		c.report(problem(expr.Range(), "Wrong value", "This is for %q in the %s. %s", f.where, c.what, wrong))
	}
}

func (c *compiler) leavesFor(e *hclsyntax.ForExpr, f *field, t cty.Type, ctx *hcl.EvalContext) {
	have, fits := cty.EmptyTuple, t.IsListType() || t.IsSetType() || t.IsTupleType()
	if e.KeyExpr != nil {
		have, fits = cty.EmptyObject, t.IsMapType() || t.IsObjectType()
	}
	if t == cty.DynamicPseudoType {
		return
	}
	if !fits {
		if wrong := f.want.misfit(cty.UnknownVal(have), t); wrong != "" {
			c.report(problem(e.Range(), "Wrong value", "This is for %q in the %s. %s", f.where, c.what, wrong))
		}
		return
	}
	if !t.IsCollectionType() {
		return
	}
	element := t.ElementType()
	if e.Group {
		if !element.IsListType() && !element.IsSetType() {
			return
		}
		element = element.ElementType()
	}
	c.leaves(e.ValExpr, f, element, forContext(ctx, e), false)
}
