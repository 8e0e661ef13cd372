// Package rules compiles rules and evaluates them. A rule is a pure function from a citizen's state and
// an instant to records; nothing here does I/O or looks at a clock.
//
// It is the one place that knows what a rule can see (the scope); how HCL is checked and evaluated at
// all is in package eval below it.
package rules

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/rules/eval"
)

// Names are the option and preference blocks: the only names that rules know for opaque ids. And the lookup
// blocks: the only way in which a rule hears of anything that is not in the state.
type Names struct {
	Options     []Option
	Preferences []Preference
	Lookups     []Lookup
}

// Option names an option or group id of the sender.
type Option struct {
	Name string
	ID   string
	Type string // option, group
	// Justification, when set, narrows the name to entries with it.
	Justification string
	Range         hcl.Range
}

// Preference names a preference reference of the sender.
type Preference struct {
	Name      string
	Reference string
	Range     hcl.Range
}

// Lookup names what can be looked up of a citizen elsewhere. Every field may be null.
type Lookup struct {
	Name   string
	Fields map[string]cty.Type
}

// Found is what lookups answered of one citizen, by their names: an object with all fields of the lookup.
type Found map[string]cty.Value

// Definition is a rule block as it was read: references resolved, expressions not compiled.
type Definition struct {
	Name, Source, Target string
	When                 hcl.Expression // nil: always
	ForEach              hcl.Expression // nil: one record
	Record               hcl.Body
	RecordRange          hcl.Range // of the record block's header
	Range                hcl.Range // of the rule block's header
}

// Rule is a compiled rule. It is safe for concurrent use.
type Rule struct {
	Name, Source, Target string

	when    hcl.Expression
	forEach hcl.Expression
	record  *eval.Body
	// gate is what when reads, needs what all of the rule reads.
	gate  needs
	needs needs
}
