package daemon

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/dispatch"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/supervise"
)

func (d *daemon) status(ctx context.Context) (admin.Status, error) {
	s := admin.Status{Version: d.Version, Started: d.started, Sources: []admin.Source{}, Targets: []admin.Target{}}
	w := d.world.Load()
	if w == nil {
		w = &world{config: d.Config, since: d.started}
	}
	s.Config, s.Loaded = w.config.Hash, admin.When(w.since)
	d.reloads.mu.Lock()
	if d.reloads.failed {
		s.ReloadFailed, s.ReloadError = admin.When(d.reloads.at), d.reloads.problem
	}
	d.reloads.mu.Unlock()
	for _, src := range w.config.Sources {
		api, err := d.sourceAPI(ctx, src.Name)
		if err != nil {
			return s, err
		}
		s.Sources = append(s.Sources, admin.Source{
			Name: src.Name, Path: src.Path, UpdateType: string(src.UpdateType), ApplicationID: src.ApplicationID, Auth: string(src.Auth.Mode), API: api,
		})
	}
	w.outline(&s)
	counts, err := d.store.Counts(ctx)
	if err != nil {
		return s, err
	}
	erasures, err := d.store.Erasures(ctx)
	if err != nil {
		return s, err
	}
	waiting, err := d.store.Waiting(ctx)
	if err != nil {
		return s, err
	}
	for _, l := range w.lookups.Status() {
		s.Lookups = append(s.Lookups, admin.Lookup{Name: l.Name, Kind: l.Kind, Failing: l.Failing, Since: admin.When(l.Since)})
	}
	for _, t := range w.targets {
		c, g, p, e := counts[t.Name], t.group.Status(), t.process.Status(), erasures[t.Name]
		s.Targets = append(s.Targets, admin.Target{
			Name: t.Name, Type: t.Type, State: string(g.State), PausedUntil: admin.When(g.Until), InFlight: g.InFlight,
			Accepted: c.Accepted, Delivered: c.Delivered, Superseded: c.Superseded, Pending: c.Pending, Dead: c.Dead,
			Discarded: c.Discarded, Erased: c.Erased, Withdrawals: c.Withdrawals, OldestWithdrawal: admin.When(c.OldestWithdrawal),
			Pause: pauseOf(g), Waiting: waiting[t.Name], MaxGrants: t.MaxGrants, FuseBlown: admin.When(t.group.Blown()), Erasures: e.N, OldestErasure: admin.When(e.Oldest), ErasureError: e.Error,
			LastError: g.LastError, LastErrorAt: admin.When(g.LastErrorAt),
			Plugin: admin.Plugin{
				Version: t.process.Description().Version, State: p.State.String(), PID: p.Pid, Restarts: p.Restarts, LastExit: p.LastExit,
			},
		})
	}
	filling := d.filled(w)
	for _, t := range filling {
		c := counts[t.Name]
		s.Targets = append(s.Targets, admin.Target{
			Name: t.Name, Type: t.Type, State: "filling", Accepted: c.Accepted, Delivered: c.Delivered, Superseded: c.Superseded,
			Pending: c.Pending, Dead: c.Dead, Discarded: c.Discarded, Erased: c.Erased, Withdrawals: c.Withdrawals, OldestWithdrawal: admin.When(c.OldestWithdrawal),
		})
	}
	for _, target := range slices.Sorted(maps.Keys(counts)) {
		c := counts[target]
		if slices.ContainsFunc(filling, func(t config.Target) bool { return t.Name == target }) {
			continue
		}
		if known := slices.ContainsFunc(w.config.Targets, func(t config.Target) bool { return t.Name == target }); !known && c.Pending+c.Dead > 0 {
			s.Targets = append(s.Targets, admin.Target{
				Name: target, State: "not in the configuration", Accepted: c.Accepted, Delivered: c.Delivered, Superseded: c.Superseded,
				Pending: c.Pending, Dead: c.Dead, Discarded: c.Discarded, Erased: c.Erased, Withdrawals: c.Withdrawals, OldestWithdrawal: admin.When(c.OldestWithdrawal),
			})
		}
	}
	quarantined, err := d.store.ListQuarantine(ctx, store.QuarantineFilter{Limit: 1000})
	if err != nil {
		return s, err
	}
	s.Quarantined = len(quarantined)
	s.Held, err = d.store.Held(ctx)
	return s, err
}

// outline tells what the configuration connects with what.
func (w *world) outline(s *admin.Status) {
	s.Rules, s.Options, s.WithdrawalSLO = []admin.Rule{}, []admin.Option{}, w.config.WithdrawalSLO.Seconds()
	for _, r := range w.config.Rules {
		s.Rules = append(s.Rules, admin.Rule{Name: r.Name, Source: r.Source, Target: r.Target})
	}
	for _, o := range w.config.Names.Options {
		s.Options = append(s.Options, admin.Option{Name: o.Name, ID: o.ID, Type: o.Type, Justification: o.Justification})
	}
}

// filled are the targets that are new and get what is known of everybody, before anything is delivered to them.
func (d *daemon) filled(w *world) (all []config.Target) {
	next := d.filling.Load()
	if next == nil {
		return nil
	}
	for _, t := range next.config.Targets {
		if !slices.ContainsFunc(w.targets, func(now *target) bool { return now.Name == t.Name }) {
			all = append(all, t)
		}
	}
	return all
}

func pauseOf(g dispatch.Status) *admin.Pause {
	if g.Pause == nil {
		return nil
	}
	return &admin.Pause{Since: g.Pause.Since, Until: admin.When(g.Pause.Until)}
}

// pluginCollector exports how the plugins' processes fare: a crash loop is a counter that climbs.
type pluginCollector struct{ daemon *daemon }

var (
	restartsDesc = prometheus.NewDesc("consentd_plugin_restarts_total", "Launches of a target's plugin after the first, those that failed included.",
		[]string{"target"}, nil)
	upDesc = prometheus.NewDesc("consentd_plugin_up", "1 while a target's plugin runs.", []string{"target"}, nil)
)

func (c pluginCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- restartsDesc
	ch <- upDesc
}

func (c pluginCollector) Collect(ch chan<- prometheus.Metric) {
	w := c.daemon.world.Load()
	if w == nil {
		return
	}
	for _, t := range w.targets {
		p := t.process.Status()
		ch <- prometheus.MustNewConstMetric(restartsDesc, prometheus.CounterValue, float64(p.Restarts), t.Name)
		ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, oneIf(p.State == supervise.Running), t.Name)
	}
}

// storeCollector exports what the store counts.
type storeCollector struct {
	store store.Store
	log   hclog.Logger
}

var (
	updatesDesc = prometheus.NewDesc("consentd_updates_total",
		"Updates by what became of them, one for each delivery they asked for; accepted is the sum of the others and of consentd_deliveries.",
		[]string{"target", "result"}, nil)
	deliveriesDesc  = prometheus.NewDesc("consentd_deliveries", "Deliveries that are not settled, by status.", []string{"target", "status"}, nil)
	withdrawalsDesc = prometheus.NewDesc("consentd_withdrawals_unconfirmed", "Withdrawals that the target has not confirmed.",
		[]string{"target"}, nil)
	sizeDesc     = prometheus.NewDesc("consentd_store_size_bytes", "What the store's file and its log take on disk.", nil, nil)
	freeDesc     = prometheus.NewDesc("consentd_store_free_bytes", "The part of the store that holds nothing and is used again.", nil, nil)
	erasuresDesc = prometheus.NewDesc("consentd_erasures_unconfirmed", "Requests to erase a citizen that the target has not confirmed.",
		[]string{"target"}, nil)
	waitingDesc = prometheus.NewDesc("consentd_deliveries_waiting",
		"Pending deliveries that wait, by reason: identity, if what their rule looks up is not known yet, lookup, if the lookup does not answer, fuse, if they are grants that the target's fuse holds.",
		[]string{"target", "reason"}, nil)
	heldDesc          = prometheus.NewDesc("consentd_held_citizens", "Citizens with grants that are held, because their evidence is older than what is known.", nil, nil)
	oldestErasureDesc = prometheus.NewDesc("consentd_oldest_erasure_seconds",
		"Age of the oldest request to erase a citizen that the target has not confirmed; 0 if there is none.", []string{"target"}, nil)
	oldestDesc = prometheus.NewDesc("consentd_oldest_withdrawal_seconds",
		"Age of the oldest withdrawal that the target has not confirmed; 0 if there is none.", []string{"target"}, nil)
)

func (c storeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- updatesDesc
	ch <- deliveriesDesc
	ch <- withdrawalsDesc
	ch <- oldestDesc
	ch <- heldDesc
	ch <- waitingDesc
	ch <- erasuresDesc
	ch <- oldestErasureDesc
	ch <- sizeDesc
	ch <- freeDesc
}

func (c storeCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, err := c.store.Counts(ctx)
	if err != nil {
		c.log.Warn("counts cannot be read for the metrics", "error", err)
		return
	}
	held, err := c.store.Held(ctx)
	if err != nil {
		c.log.Warn("held grants cannot be counted for the metrics", "error", err)
		return
	}
	size, err := c.store.Size(ctx)
	if err != nil {
		c.log.Warn("the store's size cannot be read for the metrics", "error", err)
		return
	}
	ch <- prometheus.MustNewConstMetric(sizeDesc, prometheus.GaugeValue, float64(size.Bytes))
	ch <- prometheus.MustNewConstMetric(freeDesc, prometheus.GaugeValue, float64(size.Free))
	ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(held))
	erasures, err := c.store.Erasures(ctx)
	if err != nil {
		c.log.Warn("erasures cannot be counted for the metrics", "error", err)
		return
	}
	waiting, err := c.store.Waiting(ctx)
	if err != nil {
		c.log.Warn("waiting deliveries cannot be counted for the metrics", "error", err)
		return
	}
	for target, n := range all {
		counter := func(result string, v int64) {
			ch <- prometheus.MustNewConstMetric(updatesDesc, prometheus.CounterValue, float64(v), target, result)
		}
		counter("accepted", n.Accepted)
		counter("delivered", n.Delivered)
		counter("superseded", n.Superseded)
		counter("erased", n.Erased)
		gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, append([]string{target}, labels...)...)
		}
		gauge(deliveriesDesc, float64(n.Pending), "pending")
		gauge(deliveriesDesc, float64(n.Dead), "dead")
		gauge(deliveriesDesc, float64(n.Discarded), "discarded")
		gauge(withdrawalsDesc, float64(n.Withdrawals))
		gauge(oldestDesc, age(n.OldestWithdrawal))
		for _, reason := range []string{store.ReasonIdentity, store.ReasonLookup, store.ReasonFuse} {
			gauge(waitingDesc, float64(waiting[target][reason]), reason)
		}
		gauge(erasuresDesc, float64(erasures[target].N))
		gauge(oldestErasureDesc, age(erasures[target].Oldest))
	}
}
