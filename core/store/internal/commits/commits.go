// Package commits has the metrics that every store tells of its commits, so that they are called the same.
package commits

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are a collector.
type Metrics struct {
	seconds  prometheus.Histogram
	requests prometheus.Histogram
	failed   prometheus.Counter
}

// New makes metrics that nothing was counted in yet.
func New() Metrics {
	return Metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "consentd_store_commit_seconds",
			Help:    "Duration of one commit of the store, which serves a group of requests.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 17),
		}),
		requests: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "consentd_store_commit_requests",
			Help:    "Requests that one commit of the store served.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "consentd_store_commits_failed_total",
			Help: "Commits of the store that failed, so that nothing of their group is on disk.",
		}),
	}
}

// Done counts a commit for so many requests.
func (m Metrics) Done(began time.Time, requests int, err error) {
	if err != nil {
		m.failed.Inc()
		return
	}
	m.seconds.Observe(time.Since(began).Seconds())
	m.requests.Observe(float64(requests))
}

func (m Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.seconds.Describe(ch)
	m.requests.Describe(ch)
	m.failed.Describe(ch)
}

func (m Metrics) Collect(ch chan<- prometheus.Metric) {
	ch <- m.seconds
	ch <- m.requests
	ch <- m.failed
}
