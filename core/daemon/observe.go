package daemon

import (
	"context"
	"crypto/tls"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/dispatch"
	"github.com/consentd/consentd/core/store"
)

// surveyEvery is how often the store is surveyed at most, and surveyShare what part of the time that may take.
const (
	surveyEvery = 5 * time.Second
	surveyShare = 20
)

// survey keeps the figures at hand that take too long to be read for every scrape.
func (d *daemon) survey(ctx context.Context) time.Duration {
	began := time.Now()
	s, err := d.store.Survey(ctx)
	switch {
	case err == nil:
		d.surveyed.Store(&s)
	case ctx.Err() == nil:
		d.Log.Warn("the store cannot be surveyed for the metrics", "error", err)
	}
	return max(surveyEvery, surveyShare*time.Since(began))
}

// worldCollector exports what runs and what it promises. It reads what is in memory, and asks nobody.
type worldCollector struct{ daemon *daemon }

var (
	buildDesc = prometheus.NewDesc("consentd_build_info", "1, with the version of consentd and of Go.", []string{"version", "goversion"}, nil)
	sloDesc   = prometheus.NewDesc("consentd_withdrawal_slo_seconds", "How long a withdrawal may go unconfirmed: withdrawal_slo in the configuration.", nil, nil)
	stateDesc = prometheus.NewDesc("consentd_target_state", "1 for the state that a target is in, 0 for the others.", []string{"target", "state"}, nil)
	opensDesc = prometheus.NewDesc("consentd_target_retry_timestamp_seconds",
		"When a target that does not run is tried again, in seconds since 1970; 0 when nothing waits for a time.", []string{"target"}, nil)
	inFlightDesc = prometheus.NewDesc("consentd_target_calls_in_flight", "Calls to a target's plugin that are under way.", []string{"target"}, nil)
	memoryDesc   = prometheus.NewDesc("consentd_plugin_memory_bytes", "What a target's plugin takes of memory, with all that it started.", []string{"target"}, nil)
	processDesc  = prometheus.NewDesc("consentd_plugin_processes", "Processes of a target's plugin, with all that it started.", []string{"target"}, nil)
	pendingDesc  = prometheus.NewDesc("consentd_oldest_delivery_seconds",
		"Age of the oldest delivery that is pending, withdrawal or not; 0 if there is none. Looked up now and then.", []string{"target"}, nil)
	deadDesc        = prometheus.NewDesc("consentd_dead_letters", "Dead letters by reason. Counted now and then.", []string{"target", "reason"}, nil)
	quarantinedDesc = prometheus.NewDesc("consentd_quarantined", "Bodies in quarantine. Counted now and then.", []string{"source"}, nil)
	certificateDesc = prometheus.NewDesc("consentd_listener_certificate_expiry_timestamp_seconds",
		"When the certificate of a tls block ends, in seconds since 1970: of listener or of admin.", []string{"block"}, nil)
)

func (c worldCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		buildDesc, sloDesc, stateDesc, opensDesc, inFlightDesc, memoryDesc, processDesc, pendingDesc, deadDesc, quarantinedDesc, certificateDesc,
	} {
		ch <- d
	}
}

func (c worldCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	gauge(buildDesc, 1, c.daemon.Version, runtime.Version())
	w := c.daemon.world.Load()
	if w == nil {
		return
	}
	gauge(sloDesc, w.config.WithdrawalSLO.Seconds())
	for block, secured := range map[string]*tls.Config{"listener": w.config.Listener.TLS, "admin": w.config.Admin.TLS} {
		if secured != nil && len(secured.Certificates) > 0 && secured.Certificates[0].Leaf != nil {
			gauge(certificateDesc, float64(secured.Certificates[0].Leaf.NotAfter.Unix()), block)
		}
	}
	s := c.daemon.surveyed.Load()
	if s != nil {
		for _, src := range w.config.Sources {
			gauge(quarantinedDesc, float64(s.Quarantined[src.Name]), src.Name)
		}
	}
	for _, t := range w.targets {
		g, p := t.group.Status(), t.process.Status()
		for _, state := range dispatch.States {
			gauge(stateDesc, oneIf(g.State == state), t.Name, string(state))
		}
		gauge(opensDesc, unix(g.Until), t.Name)
		gauge(inFlightDesc, float64(g.InFlight), t.Name)
		gauge(memoryDesc, float64(p.Memory), t.Name)
		gauge(processDesc, float64(p.Processes), t.Name)
		if s == nil {
			continue
		}
		gauge(pendingDesc, age(s.OldestPending[t.Name]), t.Name)
		for _, reason := range store.DeadReasons {
			gauge(deadDesc, float64(s.Dead[t.Name][reason]), t.Name, reason)
		}
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// unix is a time in seconds since 1970, and 0 for none.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}

// age is 0 for no time, and for one that a clock which was set back has still to come.
func age(since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return max(0, time.Since(since).Seconds())
}
