// Package ruletest runs tests of rules: updates in, expected records out. A test file (*.test.hcl) says what the
// sender sends and what each rule makes of it; README.md is the reference of its language.
//
// The updates go through the same code as in the daemon: webhook.Decode, consent.Apply and Tick, and the rules as
// compiled against their plugins' schemas. What stands between is left out: there is no store, no target, no
// lookup and no clock, and nothing is read but files. It is apart from the command line, so that it can be tested
// by itself, and above package config, which never reads a test.
package ruletest

import (
	"regexp"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/rules"
)

// Suite is the tests of one configuration.
type Suite struct {
	// Files are the sources of the ranges in diagnostics.
	Files map[string]*hcl.File

	parsed []*file
	config *config.Config
	rules  []*rules.Rule
	tests  []*test
}

// test is one test block.
type test struct {
	file, name string
	at         hcl.Range
	source     config.Source
	// answers are what lookups answer, by their names.
	answers map[string]answer
	// moments are what happens, in this order.
	moments []moment
}

// answer is what a lookup knows of the test's citizen.
type answer struct {
	value cty.Value
	err   error
}

// moment is an update that comes in, or an expectation; one of the two is set.
type moment struct {
	now    time.Time
	update []byte
	expect *expectation
}

// Outcomes are what may become of an update, in the words of a test. Held is one of which some grants wait.
const (
	accepted    = "accepted"
	held        = "held"
	superseded  = "superseded"
	duplicate   = "duplicate"
	quarantined = "quarantined"
)

// expectation is one expect block, or a test's golden file.
type expectation struct {
	at hcl.Range
	// rule and target say whose records are meant; either may be empty.
	rule, target string
	// records is JSON, nil when nothing is said of them.
	records []byte
	err     *regexp.Regexp
	waits   bool
	// Of the update before.
	outcome    string
	withdrawal *bool
	// golden is the path of a file with what all rules of the source give.
	golden string
}

// Report is how all tests went.
type Report struct {
	Passed   int       `json:"passed"`
	Failed   int       `json:"failed"`
	Tests    []Result  `json:"tests"`
	Coverage *Coverage `json:"coverage,omitempty"`
	// Golden are the files that are to be written, by their paths; only when they are to be updated.
	Golden map[string][]byte `json:"-"`
}

// Result is how one test went.
type Result struct {
	File     string    `json:"file"`
	Line     int       `json:"line"`
	Name     string    `json:"name"`
	Passed   bool      `json:"passed"`
	Failures []Failure `json:"failures,omitempty"`
	// Took is real time, not the test's own.
	Took time.Duration `json:"-"`
}
