package daemon

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/store"
)

// releaseFuse lets through what a target's fuse holds.
func (d *daemon) releaseFuse(ctx context.Context, name string) (int, error) {
	w := d.world.Load()
	if w == nil {
		return 0, errStarting
	}
	i := slices.IndexFunc(w.targets, func(t *target) bool { return t.Name == name })
	if i < 0 {
		return 0, fmt.Errorf("target %q %w; `consentd status` lists them", name, store.ErrNotFound)
	}
	return w.targets[i].group.ReleaseFuse(ctx)
}

// fuseCollector exports which fuses have blown.
type fuseCollector struct{ d *daemon }

var blownDesc = prometheus.NewDesc("consentd_fuse_blown",
	"1 while a target's fuse is blown: grants are held until an operator releases it, and consentd_deliveries_waiting counts them.",
	[]string{"target"}, nil)

func (c fuseCollector) Describe(ch chan<- *prometheus.Desc) { ch <- blownDesc }

func (c fuseCollector) Collect(ch chan<- prometheus.Metric) {
	w := c.d.world.Load()
	if w == nil {
		return
	}
	for _, t := range w.targets {
		blown := 0.0
		if !t.group.Blown().IsZero() {
			blown = 1
		}
		ch <- prometheus.MustNewConstMetric(blownDesc, prometheus.GaugeValue, blown, t.Name)
	}
}
