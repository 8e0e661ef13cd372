package lookup

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are of all lookups. Labels come from the configuration and from a closed list.
type Metrics struct {
	results *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// NewMetrics registers the metrics of lookups.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consentd_lookups_total",
			Help: "Questions by result: found, missing, failed, or resting when the system is left alone. An answer that is at hand takes no question.",
		}, []string{"lookup", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "consentd_lookup_seconds",
			Help:    "Duration of one question to another system.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"lookup"}),
	}
	r.MustRegister(m.results, m.seconds)
	return m
}

// begin shows every result from the start: a rate misses the step from nothing to one.
func (m *Metrics) begin(lookup string) {
	for _, result := range []string{"found", "missing", "failed", "resting"} {
		m.results.WithLabelValues(lookup, result)
	}
	m.seconds.WithLabelValues(lookup)
}

func (m *Metrics) count(lookup, result string) { m.results.WithLabelValues(lookup, result).Inc() }

func (m *Metrics) asked(lookup string, d time.Duration) {
	m.seconds.WithLabelValues(lookup).Observe(d.Seconds())
}
