package eval

import (
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Scope is what expressions may use.
type Scope struct {
	// Context holds the functions and the variables: their values, or unknown values of their types.
	Context *hcl.EvalContext
	// Unknown is whether the variables are unknown. Then both arms of a conditional, both sides of && and
	// ||, and the bodies of for expressions are tried as well, since any of them may be what counts later.
	Unknown bool
	// Loose names variables whose shape may differ from one evaluation to the next, so that try may
	// probe them.
	Loose []string
	// Advice, where it is set, says what to write instead of a name that is not there: path leads to it,
	// known are its siblings.
	Advice func(path []string, known []string) string
	// Foreign are functions that exist elsewhere, with a sentence that says where.
	Foreign map[string]string
	// Secret names functions whose results must not be quoted.
	Secret []string
}

// Check tries an expression in the scope. First come wrong names, wherever they stand, also within try
// and can; when there are none, what goes wrong when it is evaluated.
func (s *Scope) Check(expr hcl.Expression) hcl.Diagnostics {
	_, diags := s.Value(expr)
	return diags
}

// Value is Check, and the value.
func (s *Scope) Value(expr hcl.Expression) (cty.Value, hcl.Diagnostics) {
	w := &walker{scope: s, contexts: []*hcl.EvalContext{s.Context}}
	if node, ok := expr.(hclsyntax.Expression); ok {
		_ = hclsyntax.Walk(node, w)
	}
	if len(w.names) > 0 {
		return cty.DynamicVal, unique(w.names)
	}
	v, diags := expr.Value(s.Context)
	diags = append(diags, w.other...)
	if s.readsSecret(expr) {
		diags = s.withhold(diags)
	}
	return v, Strip(unique(diags))
}

// readsSecret is whether a secret function is called anywhere in the expression.
func (s *Scope) readsSecret(expr hcl.Expression) bool {
	if len(s.Secret) == 0 {
		return false
	}
	found := false
	if node, ok := expr.(hclsyntax.Expression); ok {
		_ = hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics {
			if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && slices.Contains(s.Secret, call.Name) {
				found = true
			}
			return nil
		})
	}
	return found
}

// withhold drops the details that HCL and its library wrote, which may quote a secret. What a secret
// function itself says is kept: those know what they may say.
func (s *Scope) withhold(diags hcl.Diagnostics) hcl.Diagnostics {
	kept := make(hcl.Diagnostics, len(diags))
	for i, d := range diags {
		copied := *d
		kept[i] = &copied
		if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && slices.Contains(s.Secret, call.CalledFunctionName()) {
			if err := call.FunctionCallError(); err != nil {
				copied.Summary, copied.Detail = "Value not available", upperFirst(err.Error())+"."
			}
			continue
		}
		copied.Detail = "This reads a sensitive value, so nothing more can be said here. Check that the value has the form that is expected."
	}
	return kept
}

func upperFirst(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}

// walker goes through an expression and knows in which context each part of it will be evaluated.
type walker struct {
	scope    *Scope
	contexts []*hcl.EvalContext
	fors     []*hcl.EvalContext
	tries    int
	names    hcl.Diagnostics
	other    hcl.Diagnostics
}

func (w *walker) context() *hcl.EvalContext { return w.contexts[len(w.contexts)-1] }

func (w *walker) Enter(node hclsyntax.Node) hcl.Diagnostics {
	switch n := node.(type) {
	case *hclsyntax.ForExpr:
		w.fors = append(w.fors, forContext(w.context(), n))
	case hclsyntax.ChildScope:
		w.contexts = append(w.contexts, w.fors[len(w.fors)-1])
		w.attempt(n.Expr)
	case *hclsyntax.ConditionalExpr:
		w.attempt(n.TrueResult)
		w.attempt(n.FalseResult)
	case *hclsyntax.BinaryOpExpr:
		if n.Op == hclsyntax.OpLogicalAnd || n.Op == hclsyntax.OpLogicalOr {
			w.attempt(n.LHS)
			w.attempt(n.RHS)
		}
	case *hclsyntax.FunctionCallExpr:
		w.call(n)
		if n.Name == "try" || n.Name == "can" {
			w.tries++
		}
	case *hclsyntax.ScopeTraversalExpr:
		w.traversal(n.Traversal)
	case *hclsyntax.RelativeTraversalExpr:
		if w.tries == 0 {
			if v, diags := n.Source.Value(w.context()); !diags.HasErrors() {
				w.steps(nil, v.Type(), n.Traversal)
			}
		}
	case *hclsyntax.SplatExpr:
		w.splat(n)
	}
	return nil
}

func (w *walker) Exit(node hclsyntax.Node) hcl.Diagnostics {
	switch n := node.(type) {
	case *hclsyntax.ForExpr:
		w.fors = w.fors[:len(w.fors)-1]
	case hclsyntax.ChildScope:
		w.contexts = w.contexts[:len(w.contexts)-1]
	case *hclsyntax.FunctionCallExpr:
		if n.Name == "try" || n.Name == "can" {
			w.tries--
		}
	}
	return nil
}

// attempt evaluates what HCL would leave out as long as something else is unknown.
func (w *walker) attempt(expr hclsyntax.Expression) {
	if w.tries > 0 || !w.scope.Unknown {
		return
	}
	_, diags := expr.Value(w.context())
	w.other = append(w.other, diags...)
}

// forContext is the context of a for expression's body, for an element of which only the type is known.
func forContext(parent *hcl.EvalContext, n *hclsyntax.ForExpr) *hcl.EvalContext {
	key, element := cty.DynamicPseudoType, cty.DynamicPseudoType
	if v, diags := n.CollExpr.Value(parent); !diags.HasErrors() {
		key, element = ElementTypes(v.Type())
	}
	ctx := parent.NewChild()
	ctx.Variables = map[string]cty.Value{n.ValVar: cty.UnknownVal(element)}
	if n.KeyVar != "" {
		ctx.Variables[n.KeyVar] = cty.UnknownVal(key)
	}
	return ctx
}

// ElementTypes are the types of a key and an element of a collection; any where they differ.
func ElementTypes(collection cty.Type) (key, element cty.Type) {
	switch {
	case collection.IsListType():
		return cty.Number, collection.ElementType()
	case collection.IsSetType():
		return collection.ElementType(), collection.ElementType()
	case collection.IsMapType():
		return cty.String, collection.ElementType()
	case collection.IsTupleType():
		return cty.Number, common(collection.TupleElementTypes())
	case collection.IsObjectType():
		return cty.String, common(slices.Collect(maps.Values(collection.AttributeTypes())))
	}
	return cty.DynamicPseudoType, cty.DynamicPseudoType
}

func common(types []cty.Type) cty.Type {
	for _, t := range types {
		if !t.Equals(types[0]) {
			return cty.DynamicPseudoType
		}
	}
	if len(types) == 0 {
		return cty.DynamicPseudoType
	}
	return types[0]
}

func (w *walker) call(n *hclsyntax.FunctionCallExpr) {
	if _, ok := w.scope.Context.Functions[n.Name]; ok {
		return
	}
	advice := w.scope.Foreign[n.Name]
	if advice == "" {
		advice = DidYouMean(n.Name, slices.Collect(maps.Keys(w.scope.Context.Functions)))
	}
	w.names = append(w.names, problem(n.NameRange, "Unknown function", "There is no function named %q. %s", n.Name, advice))
}

func (w *walker) traversal(t hcl.Traversal) {
	root := t[0].(hcl.TraverseRoot)
	var known []string
	for ctx := w.context(); ctx != nil; ctx = ctx.Parent() {
		v, ok := ctx.Variables[root.Name]
		if !ok {
			known = slices.AppendSeq(known, maps.Keys(ctx.Variables))
			continue
		}
		loose := ctx != w.scope.Context || slices.Contains(w.scope.Loose, root.Name)
		if w.tries == 0 || !loose {
			w.steps([]string{root.Name}, v.Type(), t[1:])
		}
		return
	}
	w.unknown(root.SrcRange, nil, root.Name, known)
}

// steps follows a traversal through types. What has no definite type is let pass.
func (w *walker) steps(path []string, at cty.Type, t hcl.Traversal) {
	for _, step := range t {
		var name string
		var rng hcl.Range
		switch step := step.(type) {
		case hcl.TraverseAttr:
			name, rng = step.Name, step.SrcRange
			if rng.End.Byte-rng.Start.Byte == len(name)+1 { // the dot
				rng.Start.Byte++
				rng.Start.Column++
			}
		case hcl.TraverseIndex:
			if at.IsListType() || at.IsTupleType() {
				_, at = ElementTypes(at)
				continue
			}
			if step.Key.Type() != cty.String || !step.Key.IsKnown() || step.Key.IsNull() {
				return
			}
			name, rng = step.Key.AsString(), step.SrcRange
		default:
			return
		}
		switch {
		case at.IsMapType():
			at = at.ElementType()
		case at.IsObjectType():
			if !at.HasAttribute(name) {
				known := slices.Collect(maps.Keys(at.AttributeTypes()))
				w.unknown(rng, path, name, known)
				return
			}
			at = at.AttributeType(name)
		case at.IsListType() || at.IsSetType():
			if _, indexed := step.(hcl.TraverseIndex); !indexed {
				w.names = append(w.names, problem(rng, "Attribute of a list",
					"This is a list, and a list has no attributes. Write [for x in LIST : x.%s] to get it of every element.", name))
			}
			return
		case at.IsPrimitiveType():
			w.names = append(w.names, problem(rng, "Attribute of a plain value",
				"This is a %s, and has no attribute %q. Leave out everything from here on.", at.FriendlyName(), name))
			return
		default:
			return
		}
		path = append(slices.Clone(path), name)
	}
}

func (w *walker) unknown(at hcl.Range, path []string, name string, known []string) {
	advice := ""
	if w.scope.Advice != nil {
		advice = w.scope.Advice(append(slices.Clone(path), name), known)
	}
	if advice == "" {
		advice = DidYouMean(name, known)
	}
	w.names = append(w.names, problem(at, "Unknown name", "There is nothing named %q here. %s", name, advice))
}

// splat checks list[*].name; its inner symbol has a value only while HCL evaluates it.
func (w *walker) splat(n *hclsyntax.SplatExpr) {
	each, ok := n.Each.(*hclsyntax.RelativeTraversalExpr)
	if !ok || each.Source != n.Item || w.tries > 0 {
		return
	}
	v, diags := n.Source.Value(w.context())
	if diags.HasErrors() {
		return
	}
	if t := v.Type(); t.IsListType() || t.IsSetType() || t.IsTupleType() {
		_, element := ElementTypes(t)
		w.steps(nil, element, each.Traversal)
	}
}
