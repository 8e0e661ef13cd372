package ruletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/rules"
)

// Failure is one expectation that was not met.
type Failure struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Rule   string `json:"rule,omitempty"`
	Target string `json:"target,omitempty"`
	// Update is the number of the update before, from 1, and Outcome what became of it.
	Update      int          `json:"update"`
	Outcome     string       `json:"outcome,omitempty"`
	Summary     string       `json:"summary"`
	Differences []Difference `json:"differences,omitempty"`
}

// Text is the failure for a person, in lines.
func (f Failure) Text() []string {
	outcome := ""
	if f.Outcome != "" && f.Outcome != accepted {
		outcome = ", which was " + f.Outcome
	}
	lines := []string{fmt.Sprintf("%s:%d,%d: after update %d%s: %s", f.File, f.Line, f.Column, f.Update, outcome, f.Summary)}
	for _, d := range f.Differences {
		lines = append(lines, "  "+d.String())
	}
	return lines
}

func (x *run) fail(f Failure, at hcl.Range) {
	f.File, f.Line, f.Column = at.Filename, at.Start.Line, at.Start.Column
	f.Update, f.Outcome = x.last, x.outcome
	x.failures = append(x.failures, f)
}

// check compares one expectation with how things stand.
func (x *run) check(e *expectation) {
	if e.golden != "" {
		x.checkGolden(e)
		return
	}
	if e.outcome != "" {
		x.asked = true
		if e.outcome != x.outcome {
			why := ""
			if x.reason != "" {
				why = ": " + x.reason
			}
			x.fail(Failure{Summary: fmt.Sprintf("expected the update to be %s, and it was %s%s", e.outcome, x.outcome, why)}, e.at)
		}
	}
	if e.withdrawal != nil && *e.withdrawal != x.withdrawal {
		words := map[bool]string{true: "a withdrawal", false: "no withdrawal"}
		x.fail(Failure{Summary: fmt.Sprintf("expected the update to be %s, and it was %s", words[*e.withdrawal], words[x.withdrawal])}, e.at)
	}
	if e.rule == "" && e.target == "" {
		return
	}
	var got []json.RawMessage
	for _, r := range x.suite.rules {
		if r.Source != x.test.source.Name || e.rule != "" && r.Name != e.rule || e.rule == "" && r.Target != e.target {
			continue
		}
		records, ok := x.checkRule(e, r)
		if !ok {
			return
		}
		got = append(got, records...)
	}
	if e.records != nil {
		x.checkRecords(e, got)
	}
}

// checkRule compares all but the records of one rule; !ok when these are not worth a look.
func (x *run) checkRule(e *expectation, r *rules.Rule) (records []json.RawMessage, ok bool) {
	res := x.look(r.Name)
	f := Failure{Rule: r.Name, Target: r.Target}
	switch {
	case e.target != "" && r.Target != e.target:
		f.Summary = fmt.Sprintf("rule %q feeds target %q, expected %q", r.Name, r.Target, e.target)
	case res.unasked != "":
		f.Summary = fmt.Sprintf("rule %q reads lookup.%s, of which the test gives no answer: add lookup %q { ... } with what it finds, or without anything if it knows nobody", r.Name, res.unasked, res.unasked)
	case e.waits && res.waits == nil:
		f.Summary = fmt.Sprintf("expected rule %q to wait for a lookup, and it %s", r.Name, res.did())
	case e.err != nil && res.err == nil:
		f.Summary = fmt.Sprintf("expected rule %q to fail with %q, and it %s", r.Name, e.err, res.did())
	case e.err != nil && !e.err.MatchString(res.err.Error()):
		f.Summary = fmt.Sprintf("expected rule %q to fail with %q, and it %s", r.Name, e.err, res.did())
	case e.records != nil && (res.waits != nil || res.err != nil):
		f.Summary = fmt.Sprintf("rule %q %s", r.Name, res.did())
	default:
		return res.records, true
	}
	x.fail(f, e.at)
	return nil, false
}

// did is what a rule did, in words.
func (r result) did() string {
	switch {
	case r.err != nil:
		return "fails, and would make a dead letter: " + r.err.Error()
	case r.waits != nil:
		return "would wait: " + r.waits.Error()
	}
	return "gives " + count(len(r.records), "record")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (x *run) checkRecords(e *expectation, got []json.RawMessage) {
	f := Failure{Rule: e.rule, Target: e.target}
	var err error
	if f.Differences, err = compare(e.records, list(got)); err != nil {
		f.Summary = err.Error()
	} else if len(f.Differences) == 0 {
		return
	}
	of := fmt.Sprintf("rule %q", e.rule)
	if e.rule == "" {
		of = fmt.Sprintf("target %q", e.target)
	}
	var expected []json.RawMessage
	if f.Summary == "" && json.Unmarshal(e.records, &expected) == nil && len(expected) != len(got) {
		f.Summary = fmt.Sprintf("%s: expected %s, got %d", of, count(len(expected), "record"), len(got))
	} else if f.Summary == "" {
		f.Summary = of + ": the records differ"
	}
	x.fail(f, e.at)
}

// list is records as one JSON array.
func list(records []json.RawMessage) []byte {
	parts := make([][]byte, len(records))
	for i, r := range records {
		parts[i] = r
	}
	return append(append([]byte("["), bytes.Join(parts, []byte(","))...), ']')
}

// withoutPlace cuts the place off a rule's error, which depends on where the configuration is.
func withoutPlace(err error) string {
	text := err.Error()
	if _, rest, ok := strings.Cut(text, ": "); ok && strings.Contains(text[:len(text)-len(rest)], ".hcl:") {
		return rest
	}
	return text
}
