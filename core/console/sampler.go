package console

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	// every is how often the metrics are sampled, span how far back samples are kept.
	every = time.Second
	span  = 15 * time.Minute
	// recent is what rates and latencies of now are of.
	recent = 10 * time.Second
)

// sample is what the metrics said at one instant.
type sample struct {
	at      time.Time
	targets map[string]targetSample
	sources map[string]sourceSample
}

// targetSample: delivered, unchanged and failed are counted since the start of the process.
type targetSample struct {
	delivered, unchanged, failed float64
	pending, dead                float64
	// half and most are how many seconds 50 and 99 of 100 calls took at most, of recent ones; -1: there was none.
	half, most float64
}

// sourceSample counts posts since the start of the process.
type sourceSample struct {
	accepted, superseded, duplicate, quarantined, refused float64
}

// sampler keeps the metrics of the last while, so that rates and plots need no other system. What it takes does
// not grow with time.
type sampler struct {
	gather prometheus.Gatherer

	mu      sync.Mutex
	samples []sample // a ring once it is full; next is then the oldest
	next    int
	// calls are the buckets of the last samples, oldest first, of which half and most are made.
	calls []map[string]histogram
	// withdrawals are how long withdrawals took, commits how long webhooks; since the start.
	withdrawals, commits map[string]histogram
	memory, storeSize    float64 // bytes
	// last is when posts of a source were last seen to have come.
	last map[string]time.Time
}

func newSampler(g prometheus.Gatherer) *sampler {
	return &sampler{gather: g, last: map[string]time.Time{}}
}

// take takes one sample. Metrics that cannot be gathered are left out of it.
func (s *sampler) take(now time.Time) {
	families, _ := s.gather.Gather() // what could be gathered comes with an error for the rest
	next := sample{at: now, targets: map[string]targetSample{}, sources: map[string]sourceSample{}}
	calls := map[string]histogram{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withdrawals, s.commits = map[string]histogram{}, map[string]histogram{}
	for _, f := range families {
		for _, m := range f.Metric {
			labels := labelsOf(m)
			switch f.GetName() {
			case "consentd_deliveries_total":
				next.deliveries(labels, m.Counter.GetValue())
			case "consentd_deliveries":
				next.standing(labels, m.Gauge.GetValue())
			case "consentd_webhook_requests_total":
				next.posts(labels, m.Counter.GetValue())
			case "consentd_plugin_call_seconds":
				calls[labels["target"]] = histogramOf(m)
			case "consentd_withdrawal_seconds":
				s.withdrawals[labels["target"]] = histogramOf(m)
			case "consentd_webhook_commit_seconds":
				s.commits[labels["source"]] = histogramOf(m)
			case "process_resident_memory_bytes":
				s.memory = m.Gauge.GetValue()
			case "consentd_store_size_bytes":
				s.storeSize = m.Gauge.GetValue()
			}
		}
	}
	s.calls = append(s.calls, calls)
	if n := len(s.calls) - int(recent/every) - 1; n > 0 {
		s.calls = slices.Delete(s.calls, 0, n)
	}
	for name, t := range next.targets {
		of := calls[name].since(s.calls[0][name])
		t.half, t.most = of.quantile(0.5), of.quantile(0.99)
		next.targets[name] = t
	}
	s.see(next)
	if len(s.samples) < int(span/every) {
		s.samples = append(s.samples, next)
		return
	}
	s.samples[s.next] = next
	s.next = (s.next + 1) % len(s.samples)
}

// see notes which sources had posts since the sample before.
func (s *sampler) see(next sample) {
	var before sample
	if n := len(s.samples); n > 0 {
		before = s.samples[(s.next+n-1)%n]
	}
	for name, src := range next.sources {
		if src.posts() > before.sources[name].posts() {
			s.last[name] = next.at
		}
	}
	maps.DeleteFunc(s.last, func(name string, _ time.Time) bool { _, known := next.sources[name]; return !known })
}

func (s sourceSample) posts() float64 {
	return s.accepted + s.superseded + s.duplicate + s.quarantined + s.refused
}

func (s *sample) deliveries(labels map[string]string, v float64) {
	t := s.targets[labels["target"]]
	switch labels["outcome"] {
	case "delivered", "accepted":
		t.delivered += v
	case "unchanged":
		t.unchanged += v
	case "identity", "lookup", "discarded":
	default:
		t.failed += v
	}
	s.targets[labels["target"]] = t
}

func (s *sample) standing(labels map[string]string, v float64) {
	t := s.targets[labels["target"]]
	switch labels["status"] {
	case "pending":
		t.pending = v
	case "dead":
		t.dead = v
	}
	s.targets[labels["target"]] = t
}

func (s *sample) posts(labels map[string]string, v float64) {
	src := s.sources[labels["source"]]
	switch labels["result"] {
	case "accepted":
		src.accepted += v
	case "superseded":
		src.superseded += v
	case "duplicate":
		src.duplicate += v
	case "quarantined":
		src.quarantined += v
	default:
		src.refused += v
	}
	s.sources[labels["source"]] = src
}

func labelsOf(m *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, l := range m.Label {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}

// history is a copy of the samples, oldest first.
func (s *sampler) history() []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(slices.Clone(s.samples[s.next:]), s.samples[:s.next]...)
}

// lastPost is when a source had a post, as far as samples go; zero: never since the start.
func (s *sampler) lastPost(source string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[source]
}

// totals are how long withdrawals of a target took to be confirmed since the start.
func (s *sampler) withdrawalsOf(target string) histogram {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.withdrawals[target]
}

func (s *sampler) commitsOf(source string) histogram {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits[source]
}

// sizes are the process's memory and the store's size, in bytes.
func (s *sampler) sizes() (memory, store float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memory, s.storeSize
}

// rate is by how much a count grew in a second, over recent samples.
func rate(h []sample, count func(sample) float64) float64 {
	if len(h) < 2 {
		return 0
	}
	last := h[len(h)-1]
	first := h[max(0, len(h)-1-int(recent/every))]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return max(0, count(last)-count(first)) / seconds
}
