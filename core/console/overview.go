package console

import (
	"fmt"
	"math"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/store"
)

// vitals are the numbers that say how the whole stands.
type vitals struct {
	In, Out             float64 // a second
	Pending, Dead       int64
	Withdrawals         int64
	Oldest              float64 // seconds; below zero: none waits
	SLO                 float64
	Late                bool
	OldestAt            string // the target that owes it
	MemorySize, Storage float64
}

func (c *Console) vitals(s admin.Status) vitals {
	h := c.sampler.history()
	v := vitals{Oldest: -1, SLO: s.WithdrawalSLO}
	v.In = rate(h, func(s sample) (n float64) {
		for _, src := range s.sources {
			n += src.posts()
		}
		return n
	})
	v.Out = rate(h, func(s sample) (n float64) {
		for _, t := range s.targets {
			n += t.delivered
		}
		return n
	})
	for _, t := range s.Targets {
		v.Pending += t.Pending
		v.Dead += t.Dead
		v.Withdrawals += t.Withdrawals
		if age := ageOf(t.OldestWithdrawal); age > v.Oldest {
			v.Oldest, v.OldestAt = age, t.Name
		}
	}
	v.Late = v.Oldest > v.SLO
	v.MemorySize, v.Storage = c.sampler.sizes()
	return v
}

// ageOf is in seconds; below zero if there is none.
func ageOf(t *time.Time) float64 {
	if t == nil {
		return -1
	}
	return max(0, time.Since(*t).Seconds())
}

// overviewData is what the first page shows.
type overviewData struct {
	Flow    flow
	Targets []targetData
	Sources []sourceData
	Span    time.Duration // of the curves
}

// targetData is one target with its curves.
type targetData struct {
	admin.Target
	Rate, Failing          float64 // a second
	Half, Most             float64 // seconds; below zero: no call
	Oldest                 float64 // seconds; below zero: none waits
	Late                   bool
	Rates, Latency, Queued plot
	// Confirmed are how long withdrawals took since the start.
	ConfirmedHalf, ConfirmedMost float64
	Rules                        []admin.Rule
}

type sourceData struct {
	admin.Source
	Accepted, Superseded, Duplicate, Quarantined, Refused float64 // a second
	Last                                                  time.Time
	Commit                                                float64 // seconds, 99 of 100 since the start
	Posts                                                 plot
}

func (c *Console) overview(q *request) (*view, error) {
	v, err := c.page(q, "overview", "Overview", nil)
	if err != nil {
		return nil, err
	}
	h := c.sampler.history()
	w := windowOf(h, v.Now)
	d := overviewData{Span: w.span}
	for _, t := range v.Status.Targets {
		d.Targets = append(d.Targets, c.targetData(v.Status, t, h, w, false))
	}
	for _, s := range v.Status.Sources {
		d.Sources = append(d.Sources, c.sourceData(s, h, w))
	}
	d.Flow = flowOf(v.Status, d.Sources, d.Targets)
	v.Data, v.Path = d, "/"
	return v, nil
}

func (c *Console) target(q *request) (*view, error) {
	name := q.PathValue("name")
	v, err := c.page(q, "target", name, nil)
	if err != nil {
		return nil, err
	}
	for _, t := range v.Status.Targets {
		if t.Name == name {
			h := c.sampler.history()
			v.Data, v.Path = c.targetData(v.Status, t, h, windowOf(h, v.Now), true), "/targets/"+name
			return v, nil
		}
	}
	return nil, fmt.Errorf("target %q %w", name, errNoPage)
}

func (c *Console) targetData(s admin.Status, t admin.Target, h []sample, w window, large bool) targetData {
	delivered := func(s sample) float64 { return s.targets[t.Name].delivered }
	failed := func(s sample) float64 { return s.targets[t.Name].failed }
	d := targetData{Target: t, Rate: rate(h, delivered), Failing: rate(h, failed), Half: -1, Most: -1, Oldest: ageOf(t.OldestWithdrawal)}
	d.Late = d.Oldest > s.WithdrawalSLO
	if n := len(h); n > 0 {
		if last, known := h[n-1].targets[t.Name]; known {
			d.Half, d.Most = last.half, last.most
		}
	}
	confirmed := c.sampler.withdrawalsOf(t.Name)
	d.ConfirmedHalf, d.ConfirmedMost = confirmed.quantile(0.5), confirmed.quantile(0.99)
	for _, r := range s.Rules {
		if r.Target == t.Name {
			d.Rules = append(d.Rules, r)
		}
	}
	over := long(w.span)
	rates, failures := w.series(h, growth(delivered)), w.series(h, growth(failed))
	top, last := known(rates)
	d.Rates = plot{
		Name: fmt.Sprintf("Delivered by %s over %s: now %s, at most %s", t.Name, over, perSecond(last), perSecond(top)),
		Unit: "delivered and failed a second", Top: perSecond(above(1, rates, failures)), Large: large, Marks: w.Marks(),
	}
	edge := above(1, rates, failures)
	d.Rates.Curves = []curve{curveOf("flow", rates, edge, true)}
	if most, _ := known(failures); most > 0 {
		d.Rates.Curves = append(d.Rates.Curves, curveOf("bad", failures, edge, false))
	}
	of := func(s sample) targetSample {
		if t, known := s.targets[t.Name]; known {
			return t
		}
		return targetSample{half: -1, most: -1}
	}
	half, longest := w.series(h, highest(func(s sample) float64 { return of(s).half })), w.series(h, highest(func(s sample) float64 { return of(s).most }))
	edge = above(0.001, half, longest)
	top, last = known(longest)
	d.Latency = plot{
		Name: fmt.Sprintf("Duration of calls to %s over %s: 99 of 100 last took at most %s, in the worst seconds %s", t.Name, over, seconds(last), seconds(top)),
		Unit: "half and 99 of 100 calls", Top: seconds(edge), Large: large, Marks: w.Marks(),
		Curves: []curve{curveOf("soft", longest, edge, false), curveOf("flow", half, edge, false)},
	}
	pending := w.series(h, highest(func(s sample) float64 { return of(s).pending }))
	dead := w.series(h, highest(func(s sample) float64 { return of(s).dead }))
	edge = above(5, pending, dead)
	top, _ = known(pending)
	d.Queued = plot{
		Name: fmt.Sprintf("Backlog of %s over %s: now %s pending, at most %s", t.Name, over, count(t.Pending), count(int64(top))),
		Unit: "pending and dead", Top: count(int64(math.Round(edge))), Large: large, Marks: w.Marks(),
		Curves: []curve{curveOf("wait", pending, edge, true)},
	}
	if most, _ := known(dead); most > 0 {
		d.Queued.Curves = append(d.Queued.Curves, curveOf("bad", dead, edge, false))
	}
	return d
}

func (c *Console) sourceData(s admin.Source, h []sample, w window) sourceData {
	of := func(value func(sourceSample) float64) func(sample) float64 {
		return func(at sample) float64 { return value(at.sources[s.Name]) }
	}
	d := sourceData{
		Source:      s,
		Accepted:    rate(h, of(func(s sourceSample) float64 { return s.accepted })),
		Superseded:  rate(h, of(func(s sourceSample) float64 { return s.superseded })),
		Duplicate:   rate(h, of(func(s sourceSample) float64 { return s.duplicate })),
		Quarantined: rate(h, of(func(s sourceSample) float64 { return s.quarantined })),
		Refused:     rate(h, of(func(s sourceSample) float64 { return s.refused })),
		Last:        c.sampler.lastPost(s.Name),
		Commit:      c.sampler.commitsOf(s.Name).quantile(0.99),
	}
	posts := w.series(h, growth(of(sourceSample.posts)))
	edge := above(1, posts)
	top, last := known(posts)
	d.Posts = plot{
		Name: fmt.Sprintf("Updates from %s over %s: now %s, at most %s", s.Name, long(w.span), perSecond(last), perSecond(top)),
		Top:  perSecond(edge), Curves: []curve{curveOf("flow", posts, edge, true)},
	}
	return d
}

// concern is something that a person should look at. Its text has no number that moves all the time, so that
// it is read out once.
type concern struct {
	Tone, Text string
	Link, Verb string
}

// concerns are what is wrong, the worst first.
func concerns(s admin.Status, now time.Time) []concern {
	var bad, wait []concern
	var dead int64
	for _, t := range s.Targets {
		page := "/targets/" + t.Name
		switch t.State {
		case "running":
		case "throttled":
			wait = append(wait, concern{"wait", fmt.Sprintf("%s is throttled by its vendor.", t.Name), page, "Look"})
		case "paused":
			wait = append(wait, concern{"wait", fmt.Sprintf("%s is paused.", t.Name), page, "Look"})
		case "unauthorized":
			bad = append(bad, concern{"bad", fmt.Sprintf("%s does not accept its credentials. Its work is kept.", t.Name), page, "Look"})
		case "down":
			bad = append(bad, concern{"bad", fmt.Sprintf("%s is down: its plugin does not run.", t.Name), page, "Look"})
		case "store":
			bad = append(bad, concern{"bad", fmt.Sprintf("What becomes of deliveries to %s cannot be committed.", t.Name), page, "Look"})
		default:
			bad = append(bad, concern{"bad", fmt.Sprintf("%s is %s.", t.Name, t.State), page, "Look"})
		}
		if t.OldestWithdrawal != nil && now.Sub(*t.OldestWithdrawal).Seconds() > s.WithdrawalSLO {
			bad = append(bad, concern{"bad", fmt.Sprintf("%s owes a withdrawal for longer than %s.", t.Name, seconds(s.WithdrawalSLO)), page, "Look"})
		}
		if n := t.Waiting[store.ReasonIdentity]; n > 0 {
			wait = append(wait, concern{"wait", fmt.Sprintf("%s has deliveries that wait until a lookup knows their citizens.", t.Name), page, "Look"})
		}
		if t.Erasures > 0 {
			wait = append(wait, concern{"wait", fmt.Sprintf("%s has not confirmed %s.", t.Name, plural(t.Erasures, "erasure", "erasures")), page, "Look"})
		}
		dead += t.Dead
	}
	for _, l := range s.Lookups {
		if l.Failing != "" {
			bad = append(bad, concern{"bad", fmt.Sprintf("The lookup %s does not answer: %s.", l.Name, l.Failing), "", ""})
		}
	}
	if s.ReloadFailed != nil {
		bad = append(bad, concern{"bad", "The last reload was refused, so an older configuration is in force; consentd validate says why.", "", ""})
	}
	if dead > 0 {
		bad = append(bad, concern{"bad", plural(dead, "delivery has", "deliveries have") + " stopped.", "/dead", "Dead letters"})
	}
	if s.Quarantined > 0 {
		wait = append(wait, concern{"wait", plural(s.Quarantined, "body was", "bodies were") + " not understood.", "/quarantine", "Quarantine"})
	}
	if s.Held > 0 {
		wait = append(wait, concern{"wait", plural(s.Held, "citizen has", "citizens have") + " grants that are held.", "/citizens", "Find a citizen"})
	}
	return append(bad, wait...)
}
