package dispatch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// Metrics are of all targets. Labels come from the configuration and from closed lists.
type Metrics struct {
	deliveries  *prometheus.CounterVec
	calls       *prometheus.HistogramVec
	withdrawals *prometheus.HistogramVec
	others      *prometheus.HistogramVec
	closed      *prometheus.GaugeVec
	holds       *prometheus.GaugeVec
}

// NewMetrics registers the metrics of targets.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consentd_deliveries_total",
			Help: "Settled attempts by outcome; dead and discarded count deliveries that ended without one, identity, lookup and fuse those that wait for it.",
		}, []string{"target", "outcome"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "consentd_plugin_call_seconds",
			Help:    "Duration of one Deliver call to a plugin.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"target"}),
		withdrawals: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "consentd_withdrawal_seconds",
			Help:    "From receipt of a withdrawal to its confirmation by the target.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 24),
		}, []string{"target"}),
		others: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "consentd_delivery_seconds",
			Help:    "From receipt of an update that is no withdrawal to its confirmation by the target.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 12),
		}, []string{"target"}),
		closed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "consentd_target_paused",
			Help: "1 while a target's vendor, its plugin or the store holds its deliveries back.",
		}, []string{"target"}),
		holds: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "consentd_target_held",
			Help: "1 while an operator has paused a target: nothing is sent to it, withdrawals wait as well.",
		}, []string{"target"}),
	}
	r.MustRegister(m.deliveries, m.calls, m.withdrawals, m.others, m.closed, m.holds)
	return m
}

// outcomes are the values of the label.
var outcomes = []string{
	sdk.KindDelivered.String(), sdk.KindUnchanged.String(), sdk.KindAccepted.String(), sdk.KindRetry.String(), sdk.KindThrottled.String(),
	sdk.KindUnauthorized.String(), sdk.KindRejected.String(), store.Dead.String(), store.Discarded.String(), store.ReasonIdentity, store.ReasonLookup, store.ReasonFuse,
}

// begin shows everything of a target from the start: a rate misses the step from nothing to one.
func (m *Metrics) begin(target string) {
	for _, o := range outcomes {
		m.deliveries.WithLabelValues(target, o)
	}
	m.calls.WithLabelValues(target)
	m.withdrawals.WithLabelValues(target)
	m.others.WithLabelValues(target)
	m.paused(target, false)
}

func (m *Metrics) delivery(target, outcome string) {
	m.deliveries.WithLabelValues(target, outcome).Inc()
}

func (m *Metrics) call(target string, d time.Duration) {
	m.calls.WithLabelValues(target).Observe(d.Seconds())
}

func (m *Metrics) withdrawal(target string, d time.Duration) {
	m.withdrawals.WithLabelValues(target).Observe(d.Seconds())
}

func (m *Metrics) confirmed(target string, d time.Duration) {
	m.others.WithLabelValues(target).Observe(d.Seconds())
}

func (m *Metrics) paused(target string, is bool) { m.closed.WithLabelValues(target).Set(one(is)) }

func (m *Metrics) held(target string, is bool) { m.holds.WithLabelValues(target).Set(one(is)) }

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
