package ruletest

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/rules/eval"
)

// Bind reads the tests against the configuration and its compiled rules, whose names they use.
func (s *Suite) Bind(cfg *config.Config, compiled []*rules.Rule) hcl.Diagnostics {
	s.config, s.rules = cfg, compiled
	p := newParser()
	golden := map[string]hcl.Range{}
	for _, f := range s.parsed {
		b := &block{p: p, body: f.body, header: f.body.SrcRange, what: top}
		b.attributes = []string{"env"}
		common := s.setting(b, setting{answers: map[string]answer{}})
		named := map[string]hcl.Range{}
		for _, t := range b.each("test", `test "what it shows" { ... }`, 1, 1) {
			name := t.labels[0]
			if before, again := named[name]; again {
				p.report(t.header, "Same test twice", "The test %q is already at %s. Give this one another name, or remove one of the two.", name, place(before))
			}
			named[name] = t.header
			read := s.test(t, f.name, common)
			for _, m := range read.moments {
				if m.expect == nil || m.expect.golden == "" {
					continue
				}
				if before, again := golden[m.expect.golden]; again {
					p.report(m.expect.at, "Same golden file twice", "The test at %s has this file already. Give each its own.", place(before))
				}
				golden[m.expect.golden] = m.expect.at
			}
			s.tests = append(s.tests, read)
		}
		b.done()
	}
	slices.SortStableFunc(p.diags, func(a, b *hcl.Diagnostic) int {
		if a.Subject == nil || b.Subject == nil || a.Subject.Filename != b.Subject.Filename {
			return 0 // file by file already
		}
		return a.Subject.Start.Byte - b.Subject.Start.Byte
	})
	return p.diags
}

// setting is what a test takes from its file where it says nothing itself.
type setting struct {
	source  string
	citizen citizen
	answers map[string]answer
}

// citizen is who the updates are of that are written as blocks.
type citizen struct{ id, externalRef, applicationID string }

func (s *Suite) setting(b *block, common setting) setting {
	if source := s.reference(b, "source", s.sources()); source != "" {
		common.source = source
	}
	if c := b.single("citizen"); c != nil {
		common.citizen.id, _ = c.text("id")
		common.citizen.externalRef, _ = c.text("external_ref")
		common.citizen.applicationID, _ = c.text("application_id")
		c.done()
	}
	answers := make(map[string]answer, len(common.answers))
	for name, a := range common.answers {
		answers[name] = a
	}
	here := map[string]hcl.Range{}
	for _, l := range b.each("lookup", `lookup "NAME" { FIELD = "..." }`, 1, 1) {
		name := l.labels[0]
		i := slices.IndexFunc(s.config.Lookups, func(c lookup.Config) bool { return c.Name == name })
		if i < 0 {
			var known []string
			for _, c := range s.config.Lookups {
				known = append(known, c.Name)
			}
			b.p.report(l.labelRanges[0], "Unknown lookup", "The configuration has no lookup %q. %s", name, eval.DidYouMean(name, known))
			continue
		}
		if before, again := here[name]; again {
			b.p.report(l.header, "Same lookup twice", "What %q answers is already at %s. Keep one of them.", name, place(before))
		}
		here[name] = l.header
		values := map[string]cty.Value{}
		for _, f := range s.config.Lookups[i].Fields {
			if v, _, ok := l.value(f.Name, f.Type); ok {
				values[f.Name] = v
			}
		}
		l.done()
		v, err := s.config.Lookups[i].Answer(values)
		answers[name] = answer{v, err}
	}
	common.answers = answers
	return common
}

func (s *Suite) sources() []string {
	var all []string
	for _, src := range s.config.Sources {
		all = append(all, src.Name)
	}
	return all
}

func (s *Suite) targets() []string {
	var all []string
	for _, t := range s.config.Targets {
		all = append(all, t.Name)
	}
	return all
}

// reference reads an attribute that names a block of the configuration, as in source.dataguard; "" when it is absent
// or wrong, and the last is reported.
func (s *Suite) reference(b *block, kind string, known []string) string {
	expr, ok := b.expression(kind)
	if !ok {
		return ""
	}
	example := "NAME"
	if len(known) > 0 {
		example = known[0]
	}
	t, diags := hcl.AbsTraversalForExpr(expr)
	if diags.HasErrors() || len(t) != 2 || t.RootName() != kind {
		b.p.report(expr.Range(), "Not a reference", "In %s, %q refers to a block of the configuration by its name. Write %s = %s.%s, without quotes.", b.what, kind, kind, kind, example)
		return ""
	}
	step, ok := t[1].(hcl.TraverseAttr)
	if ok && slices.Contains(known, step.Name) {
		return step.Name
	}
	name := ""
	if ok {
		name = step.Name
	}
	b.p.report(expr.Range(), "Unknown "+kind, "The configuration has no %s %q. %s", kind, name, eval.DidYouMean(name, known))
	return ""
}

// test reads one test. The moments come in the order in which they stand, with those after the last update at the end.
func (s *Suite) test(b *block, name string, common setting) *test {
	own := s.setting(b, common)
	t := &test{file: name, name: b.labels[0], at: b.header, answers: own.answers}
	if strings.TrimSpace(t.name) == "" {
		b.p.report(b.labelRanges[0], "Test without a name", "Write what it shows: test \"a withdrawal unsubscribes\" { ... }.")
	}
	sources := s.sources()
	if own.source == "" && len(sources) == 1 {
		own.source = sources[0]
	}
	if i := slices.Index(sources, own.source); i >= 0 {
		t.source = s.config.Sources[i]
	} else if _, wrong := b.body.Attributes["source"]; !wrong {
		b.p.report(b.header, "Which source?", "In %s, say where the updates come from, as there are several. Write source = source.NAME, here or at the top of the file. %s", b.what, eval.Known(sources))
	}
	now, nowAt := b.instant("now")
	golden, goldenAt := b.text("golden")
	updates := b.each("update", "update { ... }", 0, 0)
	final := b.each("expect", `expect "RULE" { ... }, or expect { target = target.NAME ... }`, 0, 1)
	b.done()
	if len(updates) == 0 {
		b.p.report(b.header, "Test without an update", "In %s, nothing comes in. Add update { ... }.", b.what)
	}
	r := &reading{suite: s, test: t, setting: own}
	expects := len(final)
	for _, u := range updates {
		expects += r.update(u)
	}
	if !now.IsZero() {
		r.moveTo(b.p, now, nowAt)
	}
	for _, e := range final {
		r.expect(e)
	}
	if golden != "" {
		at := filepath.Join(filepath.Dir(name), golden)
		t.moments = append(t.moments, moment{now: r.now, expect: &expectation{at: goldenAt, golden: at}})
	} else if expects == 0 {
		b.p.report(b.header, "Test without an expectation", "In %s, nothing is expected. Add expect \"RULE\" { records = [{ ... }] }, or golden = \"records.json\".", b.what)
	}
	return t
}

// reading is a test on its way through its blocks.
type reading struct {
	suite   *Suite
	test    *test
	setting setting
	// now is the test's clock, citizenID who all updates so far are of.
	now       time.Time
	citizenID string
}

// moveTo moves the clock, which goes forward only.
func (r *reading) moveTo(p *parser, to time.Time, at hcl.Range) {
	if to.Before(r.now) {
		p.report(at, "Clock runs backwards", "It is %s here already. Write a time that is not before it, or put this earlier.", r.now.Format(time.RFC3339Nano))
		return
	}
	r.now = to
}
