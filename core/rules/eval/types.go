package eval

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// ParseType reads a type as HCL writes it: "string", "list(string)", "map(bool)", "any",
// "object({a = string, b = optional(number)})".
func ParseType(text string) (cty.Type, error) {
	expr, diags := hclsyntax.ParseExpression([]byte(text), "type", hcl.InitialPos)
	if diags.HasErrors() {
		return cty.NilType, errors.New("not a type expression")
	}
	t, _, diags := typeexpr.TypeConstraintWithDefaults(expr)
	if diags.HasErrors() {
		return cty.NilType, errors.New("not a type")
	}
	return t, nil
}

// want is what a value must satisfy, besides having a type.
type want struct {
	enum      []string
	sensitive bool
}

// misfit says what is wrong with v where a value of type t is wanted, or is empty. Of an unknown value it
// judges the type. It follows the same rules as appendValue does at run time.
func (w want) misfit(v cty.Value, t cty.Type) string {
	v, marks := v.Unmark()
	w.sensitive = w.sensitive || len(marks) > 0
	have := v.Type()
	if t == cty.DynamicPseudoType || have == cty.DynamicPseudoType || v.IsKnown() && v.IsNull() {
		return ""
	}
	switch {
	case t.IsPrimitiveType():
		return w.misfitPlain(v, t)
	case t.IsMapType():
		if have.IsMapType() || have.IsObjectType() {
			return w.misfitElements(v, func(cty.Value) (cty.Type, string) { return t.ElementType(), "" })
		}
	case t.IsListType() || t.IsSetType():
		if have.IsListType() || have.IsSetType() || have.IsTupleType() {
			return w.misfitElements(v, func(cty.Value) (cty.Type, string) { return t.ElementType(), "" })
		}
	case t.IsTupleType():
		if have.IsTupleType() && have.Length() == t.Length() {
			i := -1
			return w.misfitElements(v, func(cty.Value) (cty.Type, string) { i++; return t.TupleElementType(i), "" })
		}
	case t.IsObjectType():
		if have.IsObjectType() {
			if missing := missingAttribute(have, t); missing != "" {
				return fmt.Sprintf("The attribute %q is missing. Add it.", missing)
			}
			return w.misfitElements(v, func(key cty.Value) (cty.Type, string) {
				name := key.AsString()
				if !t.HasAttribute(name) {
					return cty.NilType, fmt.Sprintf("There is no attribute %q in it. %s", name, DidYouMean(name, attributeNames(t)))
				}
				return t.AttributeType(name), ""
			})
		}
	}
	return fmt.Sprintf("It must be a %s; this is a %s. %s", typeexpr.TypeString(t), friendly(have), howToWrite(t))
}

func (w want) misfitPlain(v cty.Value, t cty.Type) string {
	have := v.Type()
	wrong := fmt.Sprintf("It must be a %s; this is a %s. %s", typeexpr.TypeString(t), friendly(have), howToWrite(t))
	if !have.IsPrimitiveType() {
		return wrong
	}
	if have != t {
		if convert.GetConversionUnsafe(have, t) == nil {
			return wrong
		}
		if !v.IsKnown() {
			return ""
		}
		converted, err := convert.Convert(v, t)
		if err != nil {
			return wrong
		}
		v = converted
	}
	if t == cty.String && v.IsKnown() && len(w.enum) > 0 && !slices.Contains(w.enum, v.AsString()) {
		if w.sensitive {
			return Known(w.enum)
		}
		return fmt.Sprintf("%q is none of the values allowed. %s", v.AsString(), DidYouMean(v.AsString(), w.enum))
	}
	return ""
}

// misfitElements judges every element; the type of each is asked for in the value's own order.
func (w want) misfitElements(v cty.Value, elementType func(key cty.Value) (cty.Type, string)) string {
	check := func(key, element cty.Value) string {
		t, wrong := elementType(key)
		if wrong != "" {
			return wrong
		}
		return w.misfit(element, t)
	}
	if v.IsKnown() {
		for it := v.ElementIterator(); it.Next(); {
			if wrong := check(it.Element()); wrong != "" {
				return wrong
			}
		}
		return ""
	}
	switch have := v.Type(); {
	case have.IsTupleType():
		for i, t := range have.TupleElementTypes() {
			if wrong := check(cty.NumberIntVal(int64(i)), cty.UnknownVal(t)); wrong != "" {
				return wrong
			}
		}
	case have.IsObjectType():
		for _, name := range attributeNames(have) {
			if wrong := check(cty.StringVal(name), cty.UnknownVal(have.AttributeType(name))); wrong != "" {
				return wrong
			}
		}
	default:
		return check(cty.UnknownVal(cty.String), cty.UnknownVal(have.ElementType()))
	}
	return ""
}

func missingAttribute(have, t cty.Type) string {
	optional := t.OptionalAttributes()
	for _, name := range attributeNames(t) {
		if _, ok := optional[name]; !ok && !have.HasAttribute(name) {
			return name
		}
	}
	return ""
}

func attributeNames(t cty.Type) []string {
	names := make([]string, 0, len(t.AttributeTypes()))
	for name := range t.AttributeTypes() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// friendly is a type in the words of a person who writes HCL.
func friendly(t cty.Type) string {
	switch {
	case t.IsTupleType():
		return "list"
	case t.IsObjectType():
		return "map"
	case t.IsPrimitiveType() || t.IsCollectionType():
		return typeexpr.TypeString(t)
	}
	return t.FriendlyName()
}

func howToWrite(t cty.Type) string {
	switch {
	case t == cty.Bool:
		return "Write true or false."
	case t == cty.Number:
		return "Write a number, without quotes."
	case t == cty.String:
		return `Write a string, in quotes: "...".`
	case t.IsMapType() || t.IsObjectType():
		return "Write { name = value }, or { for x in LIST : x => value }."
	}
	return "Write [value, ...], or [for x in LIST : value]."
}

// Misfit says what is wrong with v where a value of type t is wanted, and what to write instead; it is
// empty when v fits.
func Misfit(v cty.Value, t cty.Type) string { return want{}.misfit(v, t) }
