package eval

import (
	"errors"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// What can go wrong when a value is written. The texts hold no value.
var (
	errWrongType    = errors.New("value of the wrong type")
	errNotInEnum    = errors.New("not one of the values allowed")
	errNotANumber   = errors.New("number without a finite value")
	errMalformed    = errors.New("string that is not UTF-8")
	errRequiredNull = errors.New("required, and the value is null")
	errUnknown      = errors.New("value that is not known")
)

// AppendJSON writes a value as records are written; its parts keep the types that they have.
func AppendJSON(dst []byte, v cty.Value) ([]byte, error) {
	return want{}.appendValue(dst, v, cty.DynamicPseudoType)
}

// appendValue writes v as JSON of type t, with sorted names and exact numbers. Elements keep their own
// types where t says any.
func (w want) appendValue(dst []byte, v cty.Value, t cty.Type) ([]byte, error) {
	if v.IsNull() {
		return append(dst, "null"...), nil
	}
	if !v.IsKnown() {
		return dst, errUnknown
	}
	have := v.Type()
	if t == cty.DynamicPseudoType {
		return w.appendAny(dst, v)
	}
	switch {
	case t.IsPrimitiveType():
		if have != t {
			if !have.IsPrimitiveType() {
				return dst, errWrongType
			}
			converted, err := convert.Convert(v, t)
			if err != nil {
				return dst, errWrongType
			}
			v = converted
		}
		if t == cty.String && len(w.enum) > 0 && !slices.Contains(w.enum, v.AsString()) {
			return dst, errNotInEnum
		}
		return appendPlain(dst, v)
	case t.IsMapType():
		if have.IsMapType() || have.IsObjectType() {
			return w.appendNamed(dst, v, func(string) (cty.Type, error) { return t.ElementType(), nil })
		}
	case t.IsSetType() && !have.IsSetType():
		set, err := convert.Convert(v, t)
		if err != nil {
			return dst, errWrongType
		}
		return w.appendValue(dst, set, t)
	case t.IsListType() || t.IsSetType():
		if have.IsListType() || have.IsSetType() || have.IsTupleType() {
			return w.appendList(dst, v, func(int) cty.Type { return t.ElementType() })
		}
	case t.IsTupleType():
		if have.IsTupleType() && have.Length() == t.Length() {
			return w.appendList(dst, v, t.TupleElementType)
		}
	case t.IsObjectType():
		if have.IsObjectType() && missingAttribute(have, t) == "" {
			return w.appendNamed(dst, v, func(name string) (cty.Type, error) {
				if !t.HasAttribute(name) {
					return cty.NilType, errWrongType
				}
				return t.AttributeType(name), nil
			})
		}
	}
	return dst, errWrongType
}

func (w want) appendAny(dst []byte, v cty.Value) ([]byte, error) {
	switch have := v.Type(); {
	case have.IsPrimitiveType():
		return appendPlain(dst, v)
	case have.IsMapType() || have.IsObjectType():
		return w.appendNamed(dst, v, func(string) (cty.Type, error) { return cty.DynamicPseudoType, nil })
	case have.IsListType() || have.IsSetType() || have.IsTupleType():
		return w.appendList(dst, v, func(int) cty.Type { return cty.DynamicPseudoType })
	}
	return dst, errWrongType
}

// appendNamed writes a map or an object; cty iterates over both in the order of their names.
func (w want) appendNamed(dst []byte, v cty.Value, elementType func(string) (cty.Type, error)) ([]byte, error) {
	dst = append(dst, '{')
	first := true
	for it := v.ElementIterator(); it.Next(); {
		key, element := it.Element()
		name := key.AsString()
		t, err := elementType(name)
		if err != nil {
			return dst, err
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if dst, err = appendString(dst, name); err != nil {
			return dst, err
		}
		dst = append(dst, ':')
		if dst, err = w.appendValue(dst, element, t); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func (w want) appendList(dst []byte, v cty.Value, elementType func(int) cty.Type) ([]byte, error) {
	dst = append(dst, '[')
	i := 0
	for it := v.ElementIterator(); it.Next(); i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		_, element := it.Element()
		var err error
		if dst, err = w.appendValue(dst, element, elementType(i)); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendPlain(dst []byte, v cty.Value) ([]byte, error) {
	switch v.Type() {
	case cty.String:
		return appendString(dst, v.AsString())
	case cty.Bool:
		if v.True() {
			return append(dst, "true"...), nil
		}
		return append(dst, "false"...), nil
	}
	return appendNumber(dst, v.AsBigFloat())
}

func appendString(dst []byte, s string) ([]byte, error) {
	dst, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		return dst, errMalformed
	}
	return dst, nil
}

// plainDigits is up to how many binary digits before the point a number is written without exponent.
const plainDigits = 256

func appendNumber(dst []byte, n *big.Float) ([]byte, error) {
	if n.IsInf() {
		return dst, errNotANumber
	}
	if exponent := n.MantExp(nil); exponent > plainDigits || exponent < -plainDigits {
		return n.Append(dst, 'e', -1), nil
	}
	if n.Sign() == 0 { // big.Float knows a negative zero
		return append(dst, '0'), nil
	}
	return n.Append(dst, 'f', -1), nil
}
