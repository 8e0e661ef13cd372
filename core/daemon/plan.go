package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/supervise"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/host"
)

// plan is a configuration with all that the plugins had to say to it: programs found, schemas known, rules
// compiled. validate makes one as run does.
type plan struct {
	programs   map[string]supervise.Program // by target type
	rules      []*rules.Rule
	config     *config.Config
	runtimeDir string
	log        hclog.Logger
}

// prepare finds and describes the plugins and compiles the rules.
func prepare(ctx context.Context, cfg *config.Config, finder supervise.Finder, runtimeDir string, log hclog.Logger) (*plan, hcl.Diagnostics, error) {
	p := &plan{programs: map[string]supervise.Program{}, config: cfg, runtimeDir: runtimeDir, log: log}
	schemas := map[string]config.Schemas{}
	var diags hcl.Diagnostics
	for _, t := range cfg.Targets {
		if _, known := p.programs[t.Type]; known {
			continue
		}
		program, err := finder.Find(t.Type)
		var notFound *supervise.FindError
		if errors.As(err, &notFound) {
			r := t.Range
			diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: notFound.Summary, Detail: notFound.Detail, Subject: &r})
			continue
		}
		if err != nil {
			return nil, diags, environment(err)
		}
		about, err := supervise.Describe(ctx, program, runtimeDir, log.Named("plugin"))
		if err != nil {
			return nil, diags, environment(err)
		}
		p.programs[t.Type] = program
		schemas[t.Type] = config.Schemas{Config: about.Config, Record: about.Record}
	}
	if diags.HasErrors() {
		return nil, diags, nil
	}
	compiled, more := cfg.Bind(schemas)
	p.rules = compiled
	return p, append(diags, more...), nil
}

// launch starts a target's process. What the plugin finds wrong in its configuration comes back as
// diagnostics, and then there is no process.
func (p *plan) launch(ctx context.Context, t config.Target) (*supervise.Target, hcl.Diagnostics, error) {
	process, err := supervise.Start(ctx, supervise.Spec{
		Name: t.Name, Program: p.programs[t.Type], Config: t.Fields, RuntimeDir: p.runtimeDir, Log: p.log.Named("supervise"),
	})
	var mistakes supervise.Mistakes
	if errors.As(err, &mistakes) {
		var diags hcl.Diagnostics
		for _, m := range mistakes {
			diags = append(diags, p.config.TargetDiagnostic(t.Name, m))
		}
		return nil, diags, nil
	}
	if err == nil && t.Erase && !process.Capabilities().Erase {
		r := t.EraseRange
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Target cannot erase", Subject: &r,
			Detail: fmt.Sprintf("Plugin %s has no way to erase people. Remove erase, and erase them in that system by other means.", t.Type),
		}}, errors.Join(err, process.Close(ctx))
	}
	return process, nil, err
}

func (p *plan) rulesOf(target string) map[string]*rules.Rule {
	of := map[string]*rules.Rule{}
	for _, r := range p.rules {
		if r.Target == target {
			of[r.Name] = r
		}
	}
	return of
}

func (p *plan) routesOf(source string) []store.Route {
	var routes []store.Route
	for _, r := range p.rules {
		if r.Source == source {
			routes = append(routes, store.Route{Rule: r.Name, Target: r.Target})
		}
	}
	return routes
}

// checkTimeout bounds how long a vendor may take to say whether credentials work.
const checkTimeout = 30 * time.Second

// Validate goes the way of Run up to where updates would flow, and then ends everything. Unless offline, it
// asks the vendors whether the credentials work.
func Validate(ctx context.Context, cfg *config.Config, finder supervise.Finder, offline bool, log hclog.Logger) (hcl.Diagnostics, error) {
	dir, err := runtimeDir()
	if err != nil {
		return nil, environment(err)
	}
	p, diags, err := prepare(ctx, cfg, finder, dir, log)
	if err != nil || diags.HasErrors() {
		return diags, err
	}
	if mistakes := checkStore(ctx, cfg, offline, log); mistakes.HasErrors() {
		return append(diags, mistakes...), nil
	}
	lookups, mistakes := lookup.Open(cfg.Lookups, lookup.NewMetrics(prometheus.NewRegistry()), log)
	if diags = append(diags, mistakes...); mistakes.HasErrors() {
		return diags, nil
	}
	defer lookups.Close()
	if !offline {
		diags = append(diags, lookups.Check(ctx)...)
		diags = append(diags, checkOptions(ctx, cfg, log)...)
	}
	for _, t := range cfg.Targets { // after prepare, which renders their config blocks
		answer, mistakes, err := p.try(ctx, t, offline)
		diags = append(diags, mistakes...)
		if err != nil {
			return diags, err
		}
		if len(mistakes) == 0 {
			diags = append(diags, answer.diagnostics(t)...)
		}
	}
	return diags, nil
}

// Answer is what a target says of whether it works.
type Answer struct {
	Target string
	// Outcome is how its check ended.
	Outcome sdk.Outcome
	// Err is why there is no outcome: the plugin broke, or errors.ErrUnsupported, since it has no check.
	Err error
}

// Check asks the targets of one type, or only the one that is named, whether they work. It looks at no rule and
// at no other plugin.
func Check(ctx context.Context, cfg *config.Config, finder supervise.Finder, typ, name string, log hclog.Logger) ([]Answer, hcl.Diagnostics, error) {
	dir, err := runtimeDir()
	if err != nil {
		return nil, nil, environment(err)
	}
	some := *cfg
	some.Rules, some.Targets = nil, nil
	for _, t := range cfg.Targets {
		if t.Type == typ && (name == "" || t.Name == name) {
			some.Targets = append(some.Targets, t)
		}
	}
	p, diags, err := prepare(ctx, &some, finder, dir, log)
	if err != nil || diags.HasErrors() {
		return nil, diags, err
	}
	var answers []Answer
	for _, t := range some.Targets {
		answer, mistakes, err := p.try(ctx, t, false)
		diags = append(diags, mistakes...)
		if err != nil {
			return answers, diags, err
		}
		if len(mistakes) == 0 {
			answers = append(answers, answer)
		}
	}
	return answers, diags, nil
}

// try launches a target, asks it whether it works unless offline, and ends it. Without a check, offline too, the
// answer's Err is errors.ErrUnsupported.
func (p *plan) try(ctx context.Context, t config.Target, offline bool) (Answer, hcl.Diagnostics, error) {
	answer := Answer{Target: t.Name, Err: errors.ErrUnsupported}
	process, mistakes, err := p.launch(ctx, t)
	if err != nil || process == nil {
		return answer, mistakes, environment(err)
	}
	if !offline {
		within, cancel := context.WithTimeout(ctx, checkTimeout)
		answer.Outcome, answer.Err = process.Check(within)
		cancel()
	}
	return answer, mistakes, environment(process.Close(ctx))
}

func (a Answer) diagnostics(t config.Target) hcl.Diagnostics {
	r := t.Range
	d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: fmt.Sprintf("Target %q does not work", t.Name), Subject: &r}
	switch o := a.Outcome; {
	case errors.Is(a.Err, errors.ErrUnsupported):
		return nil
	case a.Err != nil:
		d.Detail = a.Err.Error() + "."
	case o.Kind.Done():
		return nil
	default:
		d.Detail = fmt.Sprintf("The check ended as %s: %s %s.", o.Kind, o.Code, o.Message)
		if o.Kind != sdk.KindUnauthorized && o.Kind != sdk.KindRejected {
			// The vendor may only be away for a while.
			d.Severity = hcl.DiagWarning
		}
	}
	return hcl.Diagnostics{d}
}

// Rules are the compiled rules of a configuration. It launches the plugins to learn their schemas and ends
// them again.
func Rules(ctx context.Context, cfg *config.Config, finder supervise.Finder, log hclog.Logger) ([]*rules.Rule, hcl.Diagnostics, error) {
	dir, err := runtimeDir()
	if err != nil {
		return nil, nil, environment(err)
	}
	p, diags, err := prepare(ctx, cfg, finder, dir, log)
	if err != nil || diags.HasErrors() {
		return nil, diags, err
	}
	return p.rules, diags, nil
}

// Describe launches the plugin of a type, asks what it is, and ends it.
func Describe(ctx context.Context, finder supervise.Finder, typ string, log hclog.Logger) (host.Description, error) {
	program, err := finder.Find(typ)
	if err != nil {
		return host.Description{}, err
	}
	dir, err := runtimeDir()
	if err != nil {
		return host.Description{}, environment(err)
	}
	about, err := supervise.Describe(ctx, program, dir, log)
	return about, environment(err)
}
