package postgres

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/store/internal/commits"
)

// metrics are what only this store can tell of itself. Store is the collector of them.
type metrics struct {
	commits.Metrics
	lost prometheus.Counter
}

func newMetrics() metrics {
	return metrics{
		Metrics: commits.New(),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "consentd_store_claims_lost_total",
			Help: "Deliveries that were attempted here and are another replica's, because the lease of this one ended before they were settled.",
		}),
	}
}

var (
	replicasDesc    = prometheus.NewDesc("consentd_store_replicas", "Replicas that hold a lease, as this one knows.", nil, nil)
	connectionsDesc = prometheus.NewDesc("consentd_store_connections", "Connections of this replica to the store's server that are in use.", nil, nil)
)

func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	s.metrics.Describe(ch)
	s.metrics.lost.Describe(ch)
	ch <- replicasDesc
	ch <- connectionsDesc
}

func (s *Store) Collect(ch chan<- prometheus.Metric) {
	s.metrics.Collect(ch)
	ch <- s.metrics.lost
	ch <- prometheus.MustNewConstMetric(replicasDesc, prometheus.GaugeValue, float64(s.Share().Of))
	ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(s.pool.Stat().AcquiredConns()))
}
