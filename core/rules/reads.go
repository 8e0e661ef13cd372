package rules

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// step is the name at place i of a traversal, or "" when there is none or it is not fixed.
func step(t hcl.Traversal, i int) string {
	if i >= len(t) {
		return ""
	}
	switch s := t[i].(type) {
	case hcl.TraverseAttr:
		return s.Name
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && s.Key.IsKnown() && !s.Key.IsNull() {
			return s.Key.AsString()
		}
	}
	return ""
}

// elementReads adds to r what an expression reads of the elements of a list in the scope, and says
// whether it reads the list at all. A list that is used in any way but as the collection of a for
// expression or of a splat is read whole.
func elementReads(expr hcl.Expression, list string, r reads) bool {
	node, ok := expr.(hclsyntax.Expression)
	if !ok {
		r.add("")
		return true
	}
	uses, followed := 0, 0
	visit(node, func(n hclsyntax.Node) {
		switch n := n.(type) {
		case *hclsyntax.ScopeTraversalExpr:
			if n.Traversal.RootName() == list {
				uses++
			}
		case *hclsyntax.ForExpr:
			if isName(n.CollExpr, list) {
				followed++
				for _, part := range []hclsyntax.Expression{n.KeyExpr, n.ValExpr, n.CondExpr} {
					variableReads(part, n.ValVar, r)
				}
			}
		case *hclsyntax.SplatExpr:
			if each, ok := n.Each.(*hclsyntax.RelativeTraversalExpr); ok && each.Source == n.Item && isName(n.Source, list) {
				followed++
				r.add(step(each.Traversal, 0))
			}
		}
	})
	if uses > followed {
		r.add("")
	}
	return uses > 0
}

func variableReads(expr hclsyntax.Expression, variable string, r reads) {
	if expr == nil {
		return
	}
	visit(expr, func(n hclsyntax.Node) {
		if t, ok := n.(*hclsyntax.ScopeTraversalExpr); ok && t.Traversal.RootName() == variable {
			r.add(step(t.Traversal, 1))
		}
	})
}

func isName(expr hclsyntax.Expression, name string) bool {
	t, ok := expr.(*hclsyntax.ScopeTraversalExpr)
	return ok && len(t.Traversal) == 1 && t.Traversal.RootName() == name
}

func visit(expr hclsyntax.Expression, f func(hclsyntax.Node)) {
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		f(n)
		return nil
	})
}
