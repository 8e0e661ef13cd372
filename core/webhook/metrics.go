package webhook

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics count what comes in. They outlive the Handlers that write to them, so that a reload does not
// set them back.
type Metrics struct {
	requests      *prometheus.CounterVec
	commit        *prometheus.HistogramVec
	last          *prometheus.GaugeVec
	tokenRequests *prometheus.CounterVec
	unknownPath   prometheus.Counter

	mu    sync.Mutex
	known map[string]bool // the sources that have a last
}

// NewMetrics registers the metrics; with a nil registerer they are counted and not shown.
func NewMetrics(r prometheus.Registerer) *Metrics {
	with := promauto.With(r)
	return &Metrics{
		known: map[string]bool{},
		requests: with.NewCounterVec(prometheus.CounterOpts{
			Name: "consentd_webhook_requests_total",
			Help: "Posts to a source's path, by what became of them.",
		}, []string{"source", "result"}),
		commit: with.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "consentd_webhook_commit_seconds",
			Help:    "Seconds from a post to its commit, of those that were committed.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"source"}),
		last: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "consentd_webhook_last_committed_timestamp_seconds",
			Help: "When a post of the source was last committed, in seconds since 1970; before the first one, since when there could have been one.",
		}, []string{"source"}),
		tokenRequests: with.NewCounterVec(prometheus.CounterOpts{
			Name: "consentd_webhook_token_requests_total",
			Help: "Posts to a source's token endpoint, by what became of them.",
		}, []string{"source", "result"}),
		unknownPath: with.NewCounter(prometheus.CounterOpts{
			Name: "consentd_webhook_unknown_path_total",
			Help: "Requests to a path that is no source's.",
		}),
	}
}

// sourceMetrics are those of one source, looked up once, so that every result shows from the start.
type sourceMetrics struct {
	results [resultCount]prometheus.Counter
	commit  prometheus.Observer
	last    prometheus.Gauge
}

func (m *Metrics) source(name string, now time.Time) sourceMetrics {
	s := sourceMetrics{commit: m.commit.WithLabelValues(name), last: m.last.WithLabelValues(name)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.known[name] {
		m.known[name] = true
		s.committed(now)
	}
	for r := range notFound {
		s.results[r] = m.requests.WithLabelValues(name, r.String())
	}
	return s
}

func (s sourceMetrics) committed(now time.Time) { s.last.Set(float64(now.UnixMilli()) / 1e3) }

func (m *Metrics) tokens(source string) *prometheus.CounterVec {
	t := m.tokenRequests.MustCurryWith(prometheus.Labels{"source": source})
	for _, r := range []grantError{issued, invalidRequest, invalidClient, invalidGrant, unsupportedGrantType, notIssued} {
		t.WithLabelValues(string(r))
	}
	return t
}
