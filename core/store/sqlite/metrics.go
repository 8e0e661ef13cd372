package sqlite

import (
	"context"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/consentd/consentd/core/store/internal/commits"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// metrics are what only this store can tell of itself. Store is the collector of them.
type metrics struct {
	commits.Metrics
	log prometheus.Gauge
}

func newMetrics() metrics {
	return metrics{
		Metrics: commits.New(),
		log: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "consentd_store_log_pages",
			Help: "Pages of the store's log that are not in its file yet.",
		}),
	}
}

var (
	poisonedDesc = prometheus.NewDesc("consentd_store_poisoned", "1 when it is not known what a commit left on disk; consentd ends then.", nil, nil)
	keysDesc     = prometheus.NewDesc("consentd_store_keys",
		"Keys that values in the store are sealed with; more than one until everything is under the newest, and 0 when nothing is sealed.", nil, nil)
	availableDesc = prometheus.NewDesc("consentd_store_disk_available_bytes", "What is left on the file system of the store.", nil, nil)
)

func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	s.metrics.Describe(ch)
	s.metrics.log.Describe(ch)
	ch <- poisonedDesc
	ch <- keysDesc
	ch <- availableDesc
}

// Collect leaves out what cannot be read: an alarm for that is up, or the store's own failure.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	s.metrics.Collect(ch)
	ch <- s.metrics.log
	poisoned := 0.0
	select {
	case <-s.poison.failed:
		poisoned = 1
	default:
	}
	ch <- prometheus.MustNewConstMetric(poisonedDesc, prometheus.GaugeValue, poisoned)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if keys, err := keyRows(ctx, s.db); err == nil {
		delete(keys, seal.KeyID{}.String()) // of values in clear
		ch <- prometheus.MustNewConstMetric(keysDesc, prometheus.GaugeValue, float64(len(keys)))
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(s.path), &disk); err == nil {
		ch <- prometheus.MustNewConstMetric(availableDesc, prometheus.GaugeValue, float64(disk.Bavail)*float64(disk.Bsize))
	}
}
