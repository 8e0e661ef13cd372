package ruletest

import (
	"regexp"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/rules/eval"
)

// expect reads one expectation, which is of the moment at which it stands.
func (r *reading) expect(b *block) {
	e := &expectation{at: b.header}
	e.target = r.suite.reference(b, "target", r.suite.targets())
	e.outcome = b.oneOf("outcome", "", accepted, held, superseded, duplicate, quarantined)
	e.withdrawal = b.boolean("withdrawal")
	said := 0
	if expr, ok := b.expression("records"); ok {
		said++
		r.records(b, expr, e)
	}
	if text, at := b.text("error"); text != "" {
		said++
		var err error
		if e.err, err = regexp.Compile(text); err != nil {
			b.p.report(at, "Not a regular expression", "In %s, %q: %v. Write a part of the error, such as \"not a number\".", b.what, "error", err)
		}
	}
	if waits := b.boolean("waits"); waits != nil && *waits {
		said++
		e.waits = true
	}
	now, nowAt := b.instant("now")
	b.done()
	if len(b.labels) > 0 {
		e.rule = b.labels[0]
		r.checkRule(b)
	}
	switch {
	case said > 1:
		b.p.report(b.header, "Two things expected at once", "In %s, a rule gives records, or fails, or waits. Keep one of records, error and waits.", b.what)
	case said == 1 && e.rule == "" && e.target == "":
		b.p.report(b.header, "Which rule?", "In %s, say of what rule or target that is expected. Write expect \"RULE\" { ... }, or add target = target.NAME.", b.what)
	case said == 1 && e.rule == "" && e.records == nil && !b.p.diags.HasErrors():
		b.p.report(b.header, "Which rule?", "In %s, only records can be expected of a target. Write expect \"RULE\" { ... }.", b.what)
	case said == 0 && (e.rule != "" || e.target != "" || e.outcome == "" && e.withdrawal == nil) && !b.p.diags.HasErrors():
		b.p.report(b.header, "Nothing is expected", "In %s, say what is expected. Add records = [{ ... }], records = [] for none, error, waits or, without a rule, outcome.", b.what)
	}
	if !now.IsZero() {
		r.moveTo(b.p, now, nowAt)
	}
	r.test.moments = append(r.test.moments, moment{now: r.now, expect: e})
}

func (r *reading) records(b *block, expr hclsyntax.Expression, e *expectation) {
	v, diags := b.p.scope.Value(expr)
	b.p.diags = append(b.p.diags, diags...)
	if diags.HasErrors() {
		return
	}
	form := "Write [{ name = value }], with as many maps as there are records, or [] for none."
	if t := v.Type(); v.IsNull() || !t.IsTupleType() && !t.IsListType() {
		b.p.report(expr.Range(), "Wrong value", "In %s, %q is a list. %s", b.what, "records", form)
		return
	}
	for _, one := range v.AsValueSlice() {
		if t := one.Type(); one.IsNull() || !t.IsObjectType() && !t.IsMapType() {
			b.p.report(expr.Range(), "Wrong value", "In %s, each record in %q is a map. %s", b.what, "records", form)
			return
		}
	}
	var err error
	if e.records, err = eval.AppendJSON(nil, v); err != nil {
		b.p.report(expr.Range(), "Wrong value", "In %s, %q cannot be written as JSON: %v.", b.what, "records", err)
	}
}

// checkRule holds an expectation to a rule that hears of the test's source.
func (r *reading) checkRule(b *block) {
	var known []string
	for _, rule := range r.suite.config.Rules {
		if rule.Source == r.test.source.Name {
			known = append(known, rule.Name)
		}
	}
	if slices.Contains(known, b.labels[0]) {
		return
	}
	if i := slices.IndexFunc(r.suite.config.Rules, func(d rules.Definition) bool { return d.Name == b.labels[0] }); i >= 0 {
		b.p.report(b.labelRanges[0], "Rule of another source", "The rule %q reads source.%s, and this test is of source.%s. Write a test of that source for it.", b.labels[0], r.suite.config.Rules[i].Source, r.test.source.Name)
		return
	}
	b.p.report(b.labelRanges[0], "Unknown rule", "The configuration has no rule %q. %s", b.labels[0], eval.DidYouMean(b.labels[0], known))
}
