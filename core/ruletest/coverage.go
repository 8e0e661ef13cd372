package ruletest

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// Coverage is what the tests have seen of the rules, and what no rule reads.
type Coverage struct {
	Rules []RuleCoverage `json:"rules"`
	// UnreadOptions and UnreadPreferences are named in the configuration and read by no rule.
	UnreadOptions     []string `json:"unread_options"`
	UnreadPreferences []string `json:"unread_preferences"`
}

// RuleCoverage is what the tests have seen of one rule. A test sees of a rule what it has an expectation of.
type RuleCoverage struct {
	Rule   string `json:"rule"`
	Target string `json:"target"`
	// Tests is how many tests saw a record of it.
	Tests       int                  `json:"tests"`
	Permissions []PermissionCoverage `json:"permissions"`
}

// PermissionCoverage is whether tests saw the rule with the permission allowed, and with it known and not allowed.
type PermissionCoverage struct {
	Name    string `json:"name"`
	Granted bool   `json:"granted"`
	Refused bool   `json:"refused"`
}

type coverage struct {
	suite *Suite
	tests []*seen
}

// seen is what one test has looked at.
type seen struct {
	rendered         map[string]bool // by rule
	granted, refused map[[2]string]bool
}

func (s *Suite) newCoverage() *coverage { return &coverage{suite: s} }

func (c *coverage) test() *seen {
	one := &seen{map[string]bool{}, map[[2]string]bool{}, map[[2]string]bool{}}
	c.tests = append(c.tests, one)
	return one
}

// look notes that an expectation was of what a rule makes of the state.
func (s *seen) look(rule string, res result) {
	if res.err != nil || res.waits != nil || res.unasked != "" {
		return
	}
	if len(res.records) > 0 {
		s.rendered[rule] = true
	}
	for _, p := range res.standings {
		if p.Allowed {
			s.granted[[2]string{rule, p.Name}] = true
		} else if p.Known {
			s.refused[[2]string{rule, p.Name}] = true
		}
	}
}

func (c *coverage) summary() *Coverage {
	sum := &Coverage{Rules: []RuleCoverage{}, UnreadOptions: []string{}, UnreadPreferences: []string{}}
	for _, r := range c.suite.rules {
		of := RuleCoverage{Rule: r.Name, Target: r.Target, Permissions: []PermissionCoverage{}}
		for _, name := range r.Options() {
			of.Permissions = append(of.Permissions, PermissionCoverage{Name: name})
		}
		for _, t := range c.tests {
			if t.rendered[r.Name] {
				of.Tests++
			}
			for i := range of.Permissions {
				p := &of.Permissions[i]
				p.Granted = p.Granted || t.granted[[2]string{r.Name, p.Name}]
				p.Refused = p.Refused || t.refused[[2]string{r.Name, p.Name}]
			}
		}
		sum.Rules = append(sum.Rules, of)
	}
	for _, o := range c.suite.config.Names.Options {
		if !c.suite.reads(o.Name, true) {
			sum.UnreadOptions = append(sum.UnreadOptions, o.Name)
		}
	}
	for _, p := range c.suite.config.Names.Preferences {
		if !c.suite.reads(p.Name, false) {
			sum.UnreadPreferences = append(sum.UnreadPreferences, p.Name)
		}
	}
	return sum
}

func (s *Suite) reads(name string, option bool) bool {
	for _, r := range s.rules {
		if option && slices.Contains(r.Options(), name) || !option && slices.Contains(r.Preferences(), name) {
			return true
		}
	}
	return false
}

// Warnings are of what is not covered, where it stands in the configuration.
func (s *Suite) Warnings(c *Coverage) hcl.Diagnostics {
	var diags hcl.Diagnostics
	warn := func(at hcl.Range, summary, format string, args ...any) {
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at})
	}
	for _, o := range s.config.Names.Options {
		if slices.Contains(c.UnreadOptions, o.Name) {
			warn(o.Range, "Option that no rule reads", "No rule reads permission.%s, so what citizens say of it reaches no target. Read it in a rule, or remove the block.", o.Name)
		}
	}
	for _, p := range s.config.Names.Preferences {
		if slices.Contains(c.UnreadPreferences, p.Name) {
			warn(p.Range, "Preference that no rule reads", "No rule reads preference.%s, so what citizens choose reaches no target. Read it in a rule, or remove the block.", p.Name)
		}
	}
	for _, d := range s.config.Rules {
		i := slices.IndexFunc(c.Rules, func(r RuleCoverage) bool { return r.Rule == d.Name })
		if i >= 0 && c.Rules[i].Tests == 0 {
			warn(d.Range, "Rule without a test", "No test expects a record of the rule %q. Add expect %q { records = [{ ... }] } to one.", d.Name, d.Name)
		}
	}
	return diags
}
