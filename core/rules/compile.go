package rules

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/consentd/consentd/core/rules/eval"
	"github.com/consentd/consentd/sdk"
)

// functions is what rules may call; it is never written to.
var functions = eval.Functions()

// Compile checks a definition against the names and the plugin's record schema, by evaluating it over
// unknown values of the exact types, and makes a Rule of it. No diagnostic holds a value.
func Compile(d Definition, names Names, record sdk.Schema) (*Rule, hcl.Diagnostics) {
	types := scopeTypes(names)
	scope := newScope(types, functions)
	r := &Rule{Name: d.Name, Source: d.Source, Target: d.Target, when: d.When, forEach: d.ForEach}
	var diags hcl.Diagnostics
	if d.When != nil {
		diags = append(diags, checkWhen(scope, d.When)...)
	}
	if d.ForEach != nil {
		each, more := eachType(scope, d.ForEach)
		diags = append(diags, more...)
		types["each"] = each
		scope = newScope(types, functions)
		scope.Loose = []string{"each"}
	}
	body, more := scope.Compile(d.Record, d.RecordRange, record, fmt.Sprintf("record of rule %q", d.Name))
	diags = append(diags, more...)
	if diags.HasErrors() {
		return nil, diags
	}
	r.record = body
	all := body.Expressions()
	if d.ForEach != nil {
		all = append(all, d.ForEach)
	}
	if d.When != nil {
		all = append(all, d.When)
		r.gate = needsOf(names, d.When)
	}
	r.needs = needsOf(names, all...)
	return r, diags
}

func newScope(types map[string]cty.Type, functions map[string]function.Function) *eval.Scope {
	variables := make(map[string]cty.Value, len(types))
	for name, t := range types {
		variables[name] = cty.UnknownVal(t).RefineNotNull()
	}
	// Single values of the state may be null, so nothing is promised of them.
	for _, name := range []string{"sent_at", "each"} {
		if t, ok := types[name]; ok {
			variables[name] = cty.UnknownVal(t)
		}
	}
	elsewhere := "A rule cannot read files, the environment or credentials. Put what it needs into the target's config block, or write it here."
	return &eval.Scope{
		Context: &hcl.EvalContext{Variables: variables, Functions: functions},
		Unknown: true,
		Advice:  advice,
		Foreign: map[string]string{"env": elsewhere, "file": elsewhere, "credential": elsewhere,
			"timestamp": "A rule has no clock, so that it always gives the same record for the same state. Use sent_at, or a time of the permission."},
	}
}

// advice says what to write instead of a name that the scope does not have.
func advice(path, known []string) string {
	switch {
	case len(path) == 1 && path[0] == "each":
		return "The names each.key and each.value are there in the record block of a rule with for_each only. Add for_each = LIST to the rule, or write without each."
	case len(path) == 2 && path[0] == "permission":
		return named(path[1], known, "option", "id")
	case len(path) == 2 && path[0] == "preference":
		return named(path[1], known, "preference", "reference")
	case len(path) == 2 && path[0] == "lookup":
		if s := eval.Suggest(path[1], known); s != "" {
			return fmt.Sprintf("Did you mean %q?", s)
		}
		return fmt.Sprintf("No lookup block has that name. Add lookup \"http\" %q { ... }, or use one that is there. %s", path[1], eval.Known(known))
	case len(path) == 3 && path[0] == "lookup" && eval.Suggest(path[2], known) == "":
		return fmt.Sprintf("The lookup %q has no such field. Add it to its fields, or use one that is there. %s", path[1], eval.Known(known))
	}
	return ""
}

func named(name string, known []string, block, attribute string) string {
	if s := eval.Suggest(name, known); s != "" {
		return fmt.Sprintf("Did you mean %q?", s)
	}
	return fmt.Sprintf("No %s block has that name. Add %s %q { %s = \"...\" }, or use one that is there. %s",
		block, block, name, attribute, eval.Known(known))
}

func checkWhen(scope *eval.Scope, when hcl.Expression) hcl.Diagnostics {
	v, diags := scope.Value(when)
	if diags.HasErrors() {
		return diags
	}
	at := when.Range()
	if t := v.Type(); t != cty.Bool && t != cty.DynamicPseudoType || v.IsNull() {
		return append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Condition is not a bool", Subject: &at,
			Detail: "A rule's when must come to true or false. Write a comparison, or something like permission.NAME.known.",
		})
	}
	return append(diags, warnAllowed(when)...)
}

// warnAllowed finds conditions that would keep a rule silent at the very withdrawal it should send.
func warnAllowed(when hcl.Expression) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, t := range when.Variables() {
		if t.RootName() != "permission" || step(t, 2) != "allowed" {
			continue
		}
		at := t.SourceRange()
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagWarning, Summary: "Rule falls silent at a withdrawal", Subject: &at,
			Detail: fmt.Sprintf("When the permission is withdrawn this condition turns false, and the target never hears of it. Write when = permission.%s.known, and map permission.%[1]s.allowed inside the record.", step(t, 1)),
		})
	}
	return diags
}

// eachType is the type of each for a for_each expression.
func eachType(scope *eval.Scope, forEach hcl.Expression) (cty.Type, hcl.Diagnostics) {
	v, diags := scope.Value(forEach)
	if diags.HasErrors() {
		return cty.DynamicPseudoType, diags
	}
	t := v.Type()
	if iterable := t.IsCollectionType() || t.IsTupleType() || t.IsObjectType() || t == cty.DynamicPseudoType; !iterable || v.IsNull() {
		at := forEach.Range()
		return cty.DynamicPseudoType, append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Nothing to go through", Subject: &at,
			Detail: "A rule's for_each must come to a list, a set, a map or an object. Write something like preference.NAME.choices, or [ ... ] around a single value.",
		})
	}
	key, value := eval.ElementTypes(t)
	return cty.Object(map[string]cty.Type{"key": key, "value": value}), diags
}
