// Package lookup asks other systems for what a webhook does not say of a citizen: an e-mail address, a contact's
// id. A rule reads the answer as lookup.NAME.FIELD.
//
// A lookup is asked on the way to a target and never on the way in. It answers in one of three ways, and none of
// them makes a dead letter:
//
//   - found: every field that is not optional has a value;
//   - [Missing]: the system answered, and knows nobody, or no such field of them, or more than one person;
//   - [Failure]: it did not answer, or not in the way that was configured.
//
// Answers are kept for a while, those of whom nothing is known only for a moment, and not for a newer update.
// Several callers that ask for one person at once are one question. A system that fails again and again is left
// alone for a time, in which every question fails at once: so what waits for it holds up nobody else.
//
// It is apart from rules because those are pure, and from dispatch because the command line and an erasure ask as
// well. No error, log or metric holds what was asked or answered.
package lookup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/theory/jsonpath"
	"github.com/zclconf/go-cty/cty"
)

// Config is one lookup block. One of HTTP, SQL, CSV and Func is set.
type Config struct {
	Kind, Name string
	Fields     []Field
	Timeout    time.Duration // of one question
	// MaxInFlight is how many questions are asked at once, at least 2: the last free one is for withdrawals.
	MaxInFlight int
	RateLimit   float64 // questions a second; 0: none
	// TTL is how long an answer is kept, and Size how many are. A CSV file is in memory anyway.
	TTL  time.Duration
	Size int

	// Sender is the source whose sender's API is asked with the source's credentials; empty: none.
	Sender string

	HTTP *HTTP
	SQL  *SQL
	CSV  *CSV
	Func Func
	// Range is of the block's header.
	Range hcl.Range
}

// Format keeps credentials out of whatever prints a Config.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{lookup %s %s (sensitive)}", c.Kind, c.Name)
}

// Field is one thing to know of a person.
type Field struct {
	Name string
	// From is the column that has it; for HTTP Path finds it in the answer.
	From string
	Path *jsonpath.Path
	Type cty.Type // string, number, bool or list(string)
	// Optional is whether a person without it is found all the same.
	Optional bool
}

// Person is who is asked for.
type Person struct {
	Source                         string
	ID, ExternalRef, ApplicationID string
	// Version is larger in a newer update of the same person. That nobody was found is forgotten then.
	Version int64
	// Urgent is for withdrawals: the last free place is theirs.
	Urgent bool
}

// Missing says that a system knows too little of a person, for now.
type Missing struct{ Lookup, Why string }

func (m *Missing) Error() string { return fmt.Sprintf("lookup %q %s", m.Lookup, m.Why) }

// Failure says that a system did not answer.
type Failure struct {
	Lookup, Why string
	// After is how long it is of no use to ask again; zero when that is not known.
	After time.Duration
}

func (f *Failure) Error() string { return fmt.Sprintf("lookup %q failed: %s", f.Lookup, f.Why) }

// Func stands in for a system in tests of what is built on lookups. It keeps to what backends promise.
type Func func(ctx context.Context, p Person) (map[string]cty.Value, error)

func (f Func) find(ctx context.Context, p Person) (map[string]cty.Value, error) { return f(ctx, p) }
func (f Func) check(context.Context) error                                      { return nil }
func (f Func) close()                                                           {}

// What backends answer with, beside their own errors.
var (
	ErrNobody    = errors.New("knows nobody by these ids")
	errAmbiguous = errors.New("knows more than one person by these ids")
)

// outage is an error of a backend that is nobody's in particular, so that nobody else need be asked for.
type outage struct {
	text  string
	after time.Duration
}

func (o *outage) Error() string { return o.text }

// backend asks one system. A field that is not in the values, or null, is not known. Its errors hold nothing of the
// person; ErrNobody and errAmbiguous are answers, any other error is none.
type backend interface {
	find(ctx context.Context, p Person) (map[string]cty.Value, error)
	// check says whether the system can be asked, as far as that shows without a person.
	check(ctx context.Context) error
	close()
}

// Set is all lookups of a configuration. It is safe for concurrent use. A nil Set has none.
type Set struct {
	byName map[string]*lookup
	order  []*lookup
	stop   chan struct{}
	swept  chan struct{}
}

// sweepEvery bounds how long an answer stays in memory after its time.
const sweepEvery = time.Minute

// Open makes the lookups. It reads files and reaches no system; what cannot be read is a diagnostic.
func Open(configs []Config, m *Metrics, log hclog.Logger) (*Set, hcl.Diagnostics) {
	s := &Set{byName: map[string]*lookup{}, stop: make(chan struct{}), swept: make(chan struct{})}
	var diags hcl.Diagnostics
	for _, c := range configs {
		b, err := open(c, log.With("lookup", c.Name))
		if err != nil {
			at := c.Range
			diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Lookup cannot be opened", Subject: &at,
				Detail: fmt.Sprintf("The lookup %q: %v.", c.Name, err)})
			continue
		}
		m.begin(c.Name)
		s.add(newLookup(c, b, m, log.With("lookup", c.Name)))
	}
	if diags.HasErrors() {
		for _, l := range s.order {
			l.close()
		}
		return nil, diags
	}
	go s.sweep()
	return s, nil
}

func open(c Config, log hclog.Logger) (backend, error) {
	switch {
	case c.Func != nil:
		return c.Func, nil
	case c.HTTP != nil:
		return openHTTP(c, log)
	case c.SQL != nil:
		return openSQL(c)
	}
	return openCSV(c, log)
}

func (s *Set) add(l *lookup) {
	s.byName[l.Name] = l
	s.order = append(s.order, l)
}

// sweep removes answers whose time is over; the cache itself only stops giving them out.
func (s *Set) sweep() {
	defer close(s.swept)
	for {
		select {
		case <-time.After(sweepEvery):
			for _, l := range s.order {
				l.cache.DeleteExpired()
			}
		case <-s.stop:
			return
		}
	}
}

// Close cuts short what is being asked and waits for it.
func (s *Set) Close() {
	if s == nil {
		return
	}
	close(s.stop)
	<-s.swept
	for _, l := range s.order {
		l.close()
	}
}

// Known are the answers to all of the names, if they are at hand.
func (s *Set) Known(names []string, p Person) (map[string]cty.Value, bool) {
	found := make(map[string]cty.Value, len(names))
	for _, name := range names {
		v, ok := s.byName[name].known(p)
		if !ok {
			return nil, false
		}
		found[name] = v
	}
	return found, true
}

// Fetch asks all of the names at once. The error is a *Failure, or else a *Missing, or that of ctx.
func (s *Set) Fetch(ctx context.Context, names []string, p Person) (map[string]cty.Value, error) {
	values, errs := make([]cty.Value, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { values[i], errs[i] = s.byName[name].fetch(ctx, p) })
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var failure *Failure
	if err := errors.Join(errs...); errors.As(err, &failure) {
		return nil, failure
	}
	found := make(map[string]cty.Value, len(names))
	for i, name := range names {
		if errs[i] != nil {
			return nil, errs[i]
		}
		found[name] = values[i]
	}
	return found, nil
}

// Forget drops what is kept of a person, and keeps nothing that is on its way.
func (s *Set) Forget(source, citizenID string) {
	if s == nil {
		return
	}
	for _, l := range s.order {
		l.forget(source, citizenID)
	}
}

// Check asks every system whether it can be asked. Diagnostics are warnings: it may only be away for a while.
func (s *Set) Check(ctx context.Context) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, l := range s.order {
		ctx, cancel := context.WithTimeout(ctx, l.Timeout)
		err := l.backend.check(ctx)
		cancel()
		if err != nil {
			at := l.Range
			diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "Lookup does not answer", Subject: &at,
				Detail: fmt.Sprintf("The lookup %q: %v. Until it answers, the deliveries of rules that read it wait.", l.Name, err)})
		}
	}
	return diags
}

// Status is how one lookup fares.
type Status struct {
	Name, Kind string
	// Failing is why it fails now; empty when it does not.
	Failing string
	Since   time.Time
}

// Status of every lookup, in the order of the configuration.
func (s *Set) Status() []Status {
	if s == nil {
		return nil
	}
	all := make([]Status, len(s.order))
	for i, l := range s.order {
		all[i] = l.status()
	}
	return all
}
