package repair

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of all sources.
type Metrics struct {
	isSilent, repairedAt *prometheus.GaugeVec
	citizens, held       *prometheus.CounterVec
}

// NewMetrics makes and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	source := []string{"source"}
	m := &Metrics{
		isSilent: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "consentd_source_silent", Help: "1 while no webhook of a source has come to any replica for longer than its heartbeat.",
		}, source),
		repairedAt: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "consentd_source_known_until_timestamp_seconds",
			Help: "Until when everything that the sender knows is known here, in seconds since 1970: when the last backfill or repair began.",
		}, source),
		citizens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consentd_source_api_citizens_total", Help: "Citizens that were read from the sender's API.",
		}, source),
		held: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consentd_source_settled_total", Help: "Citizens of whom something came on old evidence, settled as the sender's API says.",
		}, source),
	}
	r.MustRegister(m.isSilent, m.repairedAt, m.citizens, m.held)
	return m
}

// begin lets every figure of a source show from the start.
func (m *Metrics) begin(source string) {
	m.isSilent.WithLabelValues(source)
	m.repairedAt.WithLabelValues(source)
	m.citizens.WithLabelValues(source)
	m.held.WithLabelValues(source)
}

func (m *Metrics) silent(source string, is bool) {
	value := 0.0
	if is {
		value = 1
	}
	m.isSilent.WithLabelValues(source).Set(value)
}

func (m *Metrics) repaired(source string, t time.Time) {
	m.repairedAt.WithLabelValues(source).Set(float64(t.UnixMilli()) / 1e3)
}

func (m *Metrics) read(source string, n int) { m.citizens.WithLabelValues(source).Add(float64(n)) }

func (m *Metrics) settled(source string) { m.held.WithLabelValues(source).Inc() }
