// Package rules compiles rules and evaluates them. A rule is a pure function from a citizen's state and
// an instant to records; nothing here does I/O or looks at a clock.
package rules

import (
	"encoding/json"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/sdk"
)

// Names are the option and preference blocks: the only names that rules know for opaque ids.
type Names struct {
	Options     []Option
	Preferences []Preference
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
	// contents to be defined by the implementation
}

// Compile checks a definition against the names and the plugin's record schema, by evaluating it over
// unknown values of the exact types, and makes a Rule of it. No diagnostic holds a value.
func Compile(d Definition, names Names, record sdk.Schema) (*Rule, hcl.Diagnostics) {
	panic("contract")
}

// Evaluate renders the records for one citizen as of now: none when the rule has nothing to say, several
// with for_each. Each is one JSON object in the plugin's schema, with its keys sorted, so that equal
// records are equal bytes. The error names the place in the rule and holds no value.
func (r *Rule) Evaluate(source string, state consent.State, now time.Time) ([]json.RawMessage, error) {
	panic("contract")
}
