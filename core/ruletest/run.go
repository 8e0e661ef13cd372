package ruletest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/webhook"
)

// Options are how tests are run.
type Options struct {
	// Match chooses tests by their names; nil is all. Only all of them tell of coverage.
	Match func(name string) bool
	// Update takes what golden files should hold from what there is, into Report.Golden.
	Update bool
}

// Run runs the tests that Bind has read without an error.
func (s *Suite) Run(o Options) Report {
	r := Report{Tests: []Result{}, Golden: map[string][]byte{}}
	c := s.newCoverage()
	for _, t := range s.tests {
		if o.Match != nil && !o.Match(t.name) {
			continue
		}
		start := time.Now()
		x := &run{suite: s, test: t, given: map[string]bool{}, owed: map[string]bool{}, results: map[string]*result{}, seen: c.test()}
		if o.Update {
			x.golden = r.Golden
		}
		x.all()
		r.Tests = append(r.Tests, Result{
			File: t.file, Line: t.at.Start.Line, Name: t.name, Passed: len(x.failures) == 0, Failures: x.failures, Took: time.Since(start),
		})
		if len(x.failures) == 0 {
			r.Passed++
		} else {
			r.Failed++
		}
	}
	if o.Match == nil {
		r.Coverage = c.summary()
	}
	return r
}

// run is one test under way.
type run struct {
	suite *Suite
	test  *test
	// current is what is known of the citizen, nil before the first update that was accepted; state is what its body says.
	current *consent.Citizen
	state   consent.State
	// last is the update before, by its number.
	last       int
	outcome    string
	reason     string // for quarantine
	withdrawal bool
	asked      bool // whether an expectation spoke of the outcome
	// results are what the rules make of the newest state, given which of them gave their target a record, and owed
	// which still have to tell theirs of a withdrawal.
	results     map[string]*result
	given, owed map[string]bool

	seen     *seen
	golden   map[string][]byte // nil: it is compared
	failures []Failure
}

// result is what one rule makes of the newest state. One of the fields is set, or none when it has nothing to say.
type result struct {
	records []json.RawMessage
	err     error // it makes a dead letter
	waits   error // a lookup knows too little
	unasked string
	// standings are how the permissions stand that the rule reads.
	standings []rules.Standing
	// looked is whether an expectation was of it.
	looked bool
}

func (x *run) all() {
	for _, m := range x.test.moments {
		x.pass(m.now)
		if m.expect == nil {
			x.settled()
			x.receive(m.update, m.now)
			continue
		}
		x.check(m.expect)
	}
	x.settled()
	for _, r := range x.suite.rules {
		if res := x.results[r.Name]; res != nil && res.err != nil && !res.looked {
			x.fail(Failure{Rule: r.Name, Summary: fmt.Sprintf("rule %q fails, and would make a dead letter: %v", r.Name, res.err)}, x.test.at)
		}
	}
}

// settled holds the update before to have been understood, unless the test says otherwise.
func (x *run) settled() {
	if x.outcome == quarantined && !x.asked {
		x.fail(Failure{Summary: fmt.Sprintf("update %d would go to quarantine: %s", x.last, x.reason)}, x.test.at)
	}
}

// pass lets time pass. When a window begins or ends meanwhile, the citizen is looked at then, as the daemon does.
func (x *run) pass(now time.Time) {
	for x.current != nil && !x.current.Next.IsZero() && !x.current.Next.After(now) {
		at := x.current.Next
		applied, err := consent.Tick(*x.current, at)
		if err != nil {
			x.fail(Failure{Summary: "the state cannot be read again: " + err.Error()}, x.test.at)
			return
		}
		x.deliver(applied, at)
	}
}

// receive is an update's way in.
func (x *run) receive(body []byte, now time.Time) {
	x.last++
	x.outcome, x.reason, x.withdrawal, x.asked = "", "", false, false
	state, err := webhook.Decode(x.test.source, body)
	if err != nil {
		x.outcome, x.reason = quarantined, err.Error()
		return
	}
	u := consent.Update{
		Source: x.test.source.Name, Type: x.test.source.UpdateType, Received: now, State: state, Body: body,
		ApplyRegressions: x.test.source.ApplyRegressions,
	}
	applied, err := consent.Apply(x.current, u)
	if err != nil {
		x.fail(Failure{Summary: "the update cannot be applied: " + err.Error()}, x.test.at)
		return
	}
	x.outcome = applied.Verdict.String()
	if applied.Verdict != consent.Accepted {
		return
	}
	if applied.Citizen.Held != nil && u.Type == consent.EffectivePermission {
		x.outcome = held
	}
	x.withdrawal = applied.Withdrawal
	x.deliver(applied, now)
}

// deliver renders the newest state through the rules of its source, as of an instant, as if every target took it at once.
func (x *run) deliver(a consent.Applied, now time.Time) {
	x.current, x.state = &a.Citizen, *a.State
	for _, r := range x.suite.rules {
		if r.Source != x.test.source.Name {
			continue
		}
		res := x.render(r, now)
		res.standings = r.Permissions(x.state, now)
		x.owed[r.Name] = x.owed[r.Name] || a.Withdrawal
		switch { // as dispatch settles it
		case res.err != nil || res.waits != nil || res.unasked != "":
		case len(res.records) > 0:
			x.given[r.Name], x.owed[r.Name] = true, false
		case x.given[r.Name] && x.owed[r.Name]:
			res.err = errors.New("the rule has nothing to say of a withdrawal, and the target still holds what it was given before: " +
				"let its when be true then, as with permission.NAME.known")
		default:
			x.owed[r.Name] = false
		}
		x.results[r.Name] = &res
	}
}

// look is what a rule makes of the newest state, to compare it with what is expected.
func (x *run) look(rule string) result {
	if x.results[rule] == nil { // no update was accepted yet
		return result{}
	}
	x.results[rule].looked = true
	x.seen.look(rule, *x.results[rule])
	return *x.results[rule]
}

func (x *run) render(r *rules.Rule, now time.Time) (res result) {
	defer func() {
		if recover() != nil {
			res = result{err: errors.New("the rule panicked")}
		}
	}()
	found := rules.Found{}
	for _, name := range r.Lookups(x.test.source.Name, x.state, now) {
		a, ok := x.test.answers[name]
		if !ok {
			return result{unasked: name}
		}
		if a.err != nil {
			return result{waits: a.err}
		}
		found[name] = a.value
	}
	res.records, res.err = r.Evaluate(x.test.source.Name, x.state, now, found)
	return res
}
