package console

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// meter has the metrics that the sampler reads.
type meter struct {
	registry   *prometheus.Registry
	deliveries *prometheus.CounterVec
	standing   *prometheus.GaugeVec
	posts      *prometheus.CounterVec
	calls      *prometheus.HistogramVec
}

func newMeter() *meter {
	m := &meter{
		registry:   prometheus.NewRegistry(),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "consentd_deliveries_total"}, []string{"target", "outcome"}),
		standing:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "consentd_deliveries"}, []string{"target", "status"}),
		posts:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "consentd_webhook_requests_total"}, []string{"source", "result"}),
		calls:      prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "consentd_plugin_call_seconds", Buckets: []float64{.1, .2, .4}}, []string{"target"}),
	}
	m.registry.MustRegister(m.deliveries, m.standing, m.posts, m.calls)
	return m
}

// TestSampler: rates and latencies are of the last seconds, and what is kept does not grow.
func TestSampler(t *testing.T) {
	m := newMeter()
	s := newSampler(m.registry)
	now := start
	tick := func(n int, each func()) {
		for range n {
			each()
			s.take(now)
			now = now.Add(every)
		}
	}
	tick(30, func() {
		m.deliveries.WithLabelValues("crm", "delivered").Add(4)
		m.deliveries.WithLabelValues("crm", "accepted").Inc()
		m.deliveries.WithLabelValues("crm", "rejected").Inc()
		m.deliveries.WithLabelValues("crm", "identity").Inc()
		m.posts.WithLabelValues("in", "accepted").Add(2)
		m.posts.WithLabelValues("in", "unauthorized").Inc()
		m.standing.WithLabelValues("crm", "pending").Set(7)
		m.calls.WithLabelValues("crm").Observe(0.15)
	})
	h := s.history()
	if got := rate(h, func(s sample) float64 { return s.targets["crm"].delivered }); got != 5 {
		t.Errorf("delivered %v a second", got)
	}
	if got := rate(h, func(s sample) float64 { return s.targets["crm"].failed }); got != 1 {
		t.Errorf("failed %v a second", got)
	}
	if got := rate(h, func(s sample) float64 { return s.sources["in"].posts() }); got != 3 {
		t.Errorf("posts %v a second", got)
	}
	last := h[len(h)-1].targets["crm"]
	if last.pending != 7 || math.Abs(last.half-0.15) > 1e-9 || math.Abs(last.most-0.199) > 1e-9 {
		t.Errorf("%+v", last)
	}
	if got := s.lastPost("in"); !got.Equal(now.Add(-every)) {
		t.Errorf("last post %v", got)
	}
	tick(60, func() {})
	h = s.history()
	if got := rate(h, func(s sample) float64 { return s.targets["crm"].delivered }); got != 0 {
		t.Errorf("delivered %v a second, and nothing was", got)
	}
	if got := h[len(h)-1].targets["crm"]; got.half != -1 || got.most != -1 {
		t.Errorf("latency of no calls: %+v", got)
	}
	if got := s.lastPost("in"); !got.Equal(start.Add(29 * every)) {
		t.Errorf("last post %v", got)
	}
	tick(int(span/every)+100, func() {})
	h = s.history()
	if len(h) != int(span/every) || len(s.calls) != int(recent/every)+1 {
		t.Errorf("%d samples, %d of calls", len(h), len(s.calls))
	}
	for i := range h[1:] {
		if h[i+1].at.Sub(h[i].at) != every {
			t.Fatalf("sample %d is out of order", i+1)
		}
	}
	m.posts.DeleteLabelValues("in", "accepted")
	m.posts.DeleteLabelValues("in", "unauthorized")
	tick(1, func() {})
	if !s.lastPost("in").IsZero() || len(s.last) != 0 {
		t.Error("a source that is gone is remembered")
	}
}

func TestQuantile(t *testing.T) {
	h := histogram{bounds: []float64{1, 2, 4}, counts: []uint64{10, 10, 20}, total: 22}
	for q, want := range map[float64]float64{0.25: 0.55, 0.5: 2.2, 0.99: 4} {
		if got := h.quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if got := (histogram{}).quantile(0.5); got != -1 {
		t.Errorf("of none: %v", got)
	}
	if got := h.since(histogram{counts: []uint64{10, 10, 19}, total: 21}); got.total != 1 || got.counts[2] != 1 {
		t.Errorf("since: %+v", got)
	}
	if got := h.since(histogram{counts: []uint64{10, 10, 30}, total: 99}); got.total != 22 {
		t.Errorf("since a restart: %+v", got)
	}
}

// TestPlot: gaps stay gaps, and the window is one that is not mostly empty.
func TestPlot(t *testing.T) {
	var h []sample
	for i := range 60 {
		if i < 20 || i >= 40 {
			h = append(h, sample{at: start.Add(time.Duration(i) * time.Second), targets: map[string]targetSample{"crm": {delivered: float64(2 * i), pending: float64(i)}}})
		}
	}
	now := start.Add(60 * time.Second)
	w := windowOf(h, now)
	if w.span != 2*time.Minute || windowOf(h, now.Add(time.Hour)).span != span || windowOf(nil, now).span != 2*time.Minute {
		t.Errorf("window %v", w.span)
	}
	rates := w.series(h, growth(func(s sample) float64 { return s.targets["crm"].delivered }))
	top, last := known(rates)
	if len(rates) != 40 || math.Abs(top-2) > 1e-9 || math.Abs(last-2) > 1e-9 || !math.IsNaN(rates[0]) || !math.IsNaN(rates[30]) {
		t.Errorf("%d points, top %v, last %v: %v", len(rates), top, last, rates)
	}
	pending := w.series(h, highest(func(s sample) float64 { return s.targets["crm"].pending }))
	if top, _ := known(pending); top != 59 || above(1, pending) != 100 {
		t.Errorf("top %v", top)
	}
	c := curveOf("flow", pending, 100, true)
	if strings.Count(c.Line, "M") != 2 || strings.Count(c.Area, "Z") != 2 || strings.Contains(c.Line, "NaN") {
		t.Errorf("%+v", c)
	}
	for least, want := range map[float64]float64{0.3: 0.5, 1: 1, 1.1: 2, 30: 50, 700: 1000} {
		if got := above(least); math.Abs(got-want) > 1e-9 {
			t.Errorf("above %v: %v", least, got)
		}
	}
}

func TestFormat(t *testing.T) {
	now := start
	for got, want := range map[string]string{
		long(59 * time.Second): "59 s", long(90 * time.Second): "1 min 30 s", long(2 * time.Hour): "2 h", long(50 * time.Hour): "2 d 2 h", long(-1): "0 s",
		ago(now.Add(-time.Minute), now): "1 min ago", ago(now.Add(time.Minute), now): "just now", ago((*time.Time)(nil), now): "never",
		until(now.Add(time.Hour), now): "in 1 h", until((*time.Time)(nil), now): "on demand",
		seconds(-1): "–", seconds(0.0021): "2.1 ms", seconds(0.25): "250 ms", seconds(3.21): "3.2 s", seconds(75): "1 min 15 s",
		perSecond(0): "0/s", perSecond(0.25): "0.2/s", perSecond(1234.4): "1\u202f234/s", count(int64(-1234567)): "-1\u202f234\u202f567", count(12): "12",
		bytesOf(512): "512 B", bytesOf(1536): "1.5 KiB", bytesOf(30 << 20): "30 MiB",
		plural(1, "body", "bodies"): "1 body", plural(2, "body", "bodies"): "2 bodies",
		pretty([]byte(`{"a":12345678901234567890}`)): "{\n  \"a\": 12345678901234567890\n}", pretty([]byte("no")): "no", pretty([]byte("1 2")): "1 2",
		toneOf("running"): "ok", toneOf("whatever"): "idle",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
