package eval

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"
)

func TestSuggest(t *testing.T) {
	known := []string{"subscribed", "unsubscribed", "pending", "id", "newsletter_email", "level", "max_attempts"}
	for given, want := range map[string]string{
		"subscribd": "subscribed", "unsubscribd": "unsubscribed", "Pending": "pending", "levl": "level", "newsletter-email": "newsletter_email",
		"max_atempts": "max_attempts", "newsletter": "newsletter_email", "pend": "pending", "idd": "id",
		"": "", "x": "", "gone": "", "to": "", "completely": "",
	} {
		if got := Suggest(given, known); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	for want, c := range map[string]struct {
		given string
		known []string
	}{
		`Did you mean "b1"?`:               {"b2", []string{"b1"}},
		`Did you mean "env"?`:              {"evn", []string{"env", "min"}},
		`Write "long".`:                    {"x", []string{"long"}},
		`Write one of "a", "bb" or "ccc".`: {"unlike", []string{"ccc", "a", "bb"}},
		"":                                 {"unlike", nil},
	} {
		if got := DidYouMean(c.given, c.known); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestParseType(t *testing.T) {
	for _, text := range []string{"string", "number", "bool", "any", "list(string)", "set(number)", "map(bool)", "map(any)", "list(map(string))", "object({a=string})", "tuple([string,bool])"} {
		if got, err := ParseType(text); err != nil || typeexpr.TypeString(got) != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	optional, err := ParseType("object({a = string, b = optional(number)})")
	if err != nil || !optional.AttributeOptional("b") || optional.AttributeOptional("a") {
		t.Errorf("%#v, %v", optional, err)
	}
	for _, text := range []string{"", "strng", "list", "map()", "list(string", "string string"} {
		if got, err := ParseType(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestAppendValue(t *testing.T) {
	text, number := cty.StringVal, cty.NumberIntVal
	for name, c := range map[string]struct {
		typ   string
		value cty.Value
		want  string
	}{
		"element types are kept under any":     {"map(any)", cty.ObjectVal(map[string]cty.Value{"a": number(1), "b": text("x"), "c": cty.True}), `{"a":1,"b":"x","c":true}`},
		"elements take the type of the schema": {"map(string)", cty.ObjectVal(map[string]cty.Value{"b": number(1), "a": cty.True}), `{"a":"true","b":"1"}`},
		"tuples are lists":                     {"list(number)", cty.TupleVal([]cty.Value{text("1"), number(2)}), `[1,2]`},
		"sets lose what stands twice":          {"set(string)", cty.TupleVal([]cty.Value{text("b"), text("a"), text("b")}), `["a","b"]`},
		"objects":                              {"object({a = string, b = optional(number)})", cty.ObjectVal(map[string]cty.Value{"a": number(5)}), `{"a":"5"}`},
		"tuple":                                {"tuple([string, bool])", cty.TupleVal([]cty.Value{number(5), text("true")}), `["5",true]`},
		"null inside":                          {"list(string)", cty.TupleVal([]cty.Value{cty.NullVal(cty.DynamicPseudoType)}), `[null]`},
		"escapes":                              {"string", text("a\"\\\n\u2028<é"), "\"a\\\"\\\\\\n\u2028<é\""},
		"empty":                                {"any", cty.TupleVal([]cty.Value{cty.EmptyObjectVal, cty.EmptyTupleVal, cty.MapValEmpty(cty.String)}), `[{},[],{}]`},
		"not a bool":                           {"bool", text("yes"), ""},
		"too short":                            {"tuple([string, bool])", cty.TupleVal([]cty.Value{number(5)}), ""},
		"missing":                              {"object({a = string})", cty.EmptyObjectVal, ""},
		"not named":                            {"object({a = string})", cty.ObjectVal(map[string]cty.Value{"a": text("x"), "b": text("x")}), ""},
		"infinite":                             {"number", cty.PositiveInfinity, ""},
		"unknown":                              {"string", cty.UnknownVal(cty.String), ""},
		"malformed":                            {"string", text("\xff"), ""},
	} {
		typ, err := ParseType(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		got, err := want{}.appendValue(nil, c.value, typ)
		if (err == nil) != (c.want != "") || err == nil && string(got) != c.want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, c.want)
		}
	}
}

// What is fit at validate time can be written at run time, as JSON, and the other way about.
func TestMisfitAgreesWithAppend(t *testing.T) {
	types := rapid.Custom(func(t *rapid.T) cty.Type { return drawType(t, 2) })
	rapid.Check(t, func(t *rapid.T) {
		typ := types.Draw(t, "type")
		v := drawValue(t, 3)
		w := want{enum: rapid.SampledFrom([][]string{nil, {"x", "1"}}).Draw(t, "enum")}
		misfit := w.misfit(v, typ)
		text, err := w.appendValue(nil, v, typ)
		if (misfit == "") != (err == nil) {
			// A set of mixed elements has to agree on one type, which is known only with the values.
			if containsSet(typ) && misfit == "" {
				t.Skip("set")
			}
			t.Fatalf("%#v as %s: %q, but %v", v, typeexpr.TypeString(typ), misfit, err)
		}
		if err == nil && !json.Valid(text) {
			t.Fatalf("not JSON: %s", text)
		}
		// Of the type alone less can be said, and never more.
		if misfit == "" && len(w.enum) == 0 && !v.IsNull() {
			if wrong := w.misfit(cty.UnknownVal(v.Type()), typ); wrong != "" {
				t.Fatalf("%#v fits %s, but its type does not: %s", v, typeexpr.TypeString(typ), wrong)
			}
		}
	})
}

func containsSet(t cty.Type) bool {
	switch {
	case t.IsSetType():
		return true
	case t.IsCollectionType():
		return containsSet(t.ElementType())
	case t.IsTupleType():
		return slices.ContainsFunc(t.TupleElementTypes(), containsSet)
	case t.IsObjectType():
		return slices.ContainsFunc(slices.Collect(maps.Values(t.AttributeTypes())), containsSet)
	}
	return false
}

func drawType(t *rapid.T, depth int) cty.Type {
	n := 4
	if depth > 0 {
		n = 9
	}
	switch rapid.IntRange(0, n-1).Draw(t, "kind") {
	case 0:
		return cty.String
	case 1:
		return cty.Number
	case 2:
		return cty.Bool
	case 3:
		return cty.DynamicPseudoType
	case 4:
		return cty.List(drawType(t, depth-1))
	case 5:
		return cty.Set(drawType(t, depth-1))
	case 6:
		return cty.Map(drawType(t, depth-1))
	case 7:
		return cty.Tuple([]cty.Type{drawType(t, depth-1), drawType(t, depth-1)})
	}
	return cty.Object(map[string]cty.Type{"a": drawType(t, depth-1), "b": drawType(t, depth-1)})
}

func drawValue(t *rapid.T, depth int) cty.Value {
	n := 4
	if depth > 0 {
		n = 8
	}
	switch rapid.IntRange(0, n-1).Draw(t, "kind") {
	case 0:
		return cty.StringVal(rapid.SampledFrom([]string{"x", "1", "true", ""}).Draw(t, "string"))
	case 1:
		return cty.NumberIntVal(rapid.Int64().Draw(t, "number"))
	case 2:
		return cty.BoolVal(rapid.Bool().Draw(t, "bool"))
	case 3:
		return cty.NullVal(cty.DynamicPseudoType)
	case 4:
		return cty.ObjectVal(map[string]cty.Value{"a": drawValue(t, depth-1), "b": drawValue(t, depth-1)})
	case 5:
		return cty.TupleVal([]cty.Value{drawValue(t, depth-1), drawValue(t, depth-1)})
	case 6:
		return cty.ListVal([]cty.Value{cty.StringVal("x"), cty.StringVal("2")})
	}
	return cty.MapVal(map[string]cty.Value{"a": cty.NumberIntVal(1), "b": cty.NullVal(cty.Number)})
}

func TestStrip(t *testing.T) {
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{"x": cty.StringVal("secret")}}
	expr, _ := hclsyntax.ParseExpression([]byte("x + 1"), "f", hcl.InitialPos)
	_, diags := expr.Value(ctx)
	for _, d := range Strip(diags) {
		if d.Expression != nil || d.EvalContext != nil || d.Extra != nil || d.Subject == nil || d.Summary == "" {
			t.Errorf("got %+v", d)
		}
	}
	if diags[0].EvalContext == nil {
		t.Error("the original was changed")
	}
}
