package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
)

// reloads is how the last reload went.
type reloads struct {
	mu     sync.Mutex
	at     time.Time // zero: there was none
	failed bool
	// problem is why, in a line and without a secret.
	problem string
}

// reload reads the configuration again and lets its world take the place of the one that runs, whole or not at
// all: whatever is wrong with it, what runs goes on. The error says what is wrong, for a person, and holds
// no secret.
func (d *daemon) reload(ctx context.Context) (admin.Reloaded, error) { return d.reloadAs(ctx, "") }

// reloadAs is reload, held to a plan unless that is empty.
func (d *daemon) reloadAs(ctx context.Context, plan string) (admin.Reloaded, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	before := d.world.Load()
	switch {
	case before == nil:
		return admin.Reloaded{}, errStarting
	case d.draining.Load():
		return admin.Reloaded{}, errors.New("consentd is ending")
	}
	d.notifyReloading()
	defer d.notifyReady()
	began := time.Now()
	w, err := d.replace(ctx, before, plan)
	d.reloads.mu.Lock()
	d.reloads.at, d.reloads.failed, d.reloads.problem = time.Now(), err != nil, ""
	if err != nil {
		d.reloads.problem = oneLine(err)
	}
	d.reloads.mu.Unlock()
	if err != nil {
		d.Log.Error("configuration not reloaded; the one in force stays", "error", oneLine(err), "config", before.config.Hash)
		return admin.Reloaded{Config: before.config.Hash}, err
	}
	changed := w.config.Hash != before.config.Hash
	d.Log.Info("configuration reloaded", "config", w.config.Hash, "changed", changed, "targets", len(w.targets), "duration", time.Since(began).Round(time.Millisecond))
	return admin.Reloaded{Config: w.config.Hash, Changed: changed}, nil
}

// replace is reload without saying so.
func (d *daemon) replace(ctx context.Context, before *world, plan string) (*world, error) {
	w, err := d.next(ctx, before, "")
	if err != nil {
		return nil, err
	}
	if plan != "" {
		if err := d.holdTo(ctx, plan, before, w); err != nil {
			return nil, errors.Join(err, w.close(context.WithoutCancel(ctx), before))
		}
	}
	d.Log.SetLevel(hclog.LevelFromString(w.config.Log.Level))
	return w, d.enter(w)
}

// next builds the world of another configuration, beside what runs; an empty path is the daemon's own. Whatever is
// wrong with it is an error.
func (d *daemon) next(ctx context.Context, before *world, path string) (*world, error) {
	if d.Load == nil {
		return nil, errors.New("this consentd has no configuration file to reload")
	}
	cfg, finder, diags, err := d.Load(path)
	if err != nil || diags.HasErrors() {
		return nil, mistakes(cfg, diags, err)
	}
	if fixed := fixed(before.config, cfg); len(fixed) > 0 {
		return nil, fmt.Errorf("%s cannot change while consentd runs: restart it, or put the old value back", strings.Join(fixed, ", "))
	}
	p, diags, err := prepare(ctx, cfg, finder, before.plan.runtimeDir, d.Log)
	if err != nil || diags.HasErrors() {
		return nil, mistakes(cfg, diags, err)
	}
	w, diags, err := d.build(ctx, p, before)
	if err != nil || diags.HasErrors() {
		return nil, mistakes(cfg, diags, err)
	}
	return w, nil
}

// fixed names what two configurations have otherwise and only a restart can change.
func fixed(before, after *config.Config) (names []string) {
	for _, f := range []struct {
		name string
		same bool
	}{
		{"log > format", before.Log.Format == after.Log.Format},
		{"listener > address", before.Listener.Address == after.Listener.Address},
		{"listener > tls, whether there is such a block,", (before.Listener.TLS == nil) == (after.Listener.TLS == nil)},
		{"admin > address", before.Admin.Address == after.Admin.Address},
		{"admin > tls, whether there is such a block,", (before.Admin.TLS == nil) == (after.Admin.TLS == nil)},
		{"admin > audit_file", before.Admin.AuditFile == after.Admin.AuditFile},
		{"store", before.Store == after.Store},
		{"telemetry", reflect.DeepEqual(before.Telemetry, after.Telemetry)},
		{"encryption", reflect.DeepEqual(before.Encryption, after.Encryption)},
	} {
		if !f.same {
			names = append(names, f.name)
		}
	}
	return names
}

// mistakes are diagnostics as an error, as validate would print them.
func mistakes(cfg *config.Config, diags hcl.Diagnostics, err error) error {
	if !diags.HasErrors() {
		return err
	}
	var files map[string]*hcl.File
	if cfg != nil {
		files = cfg.Files
	}
	var text bytes.Buffer
	if err := config.WriteDiagnostics(&text, files, diags, config.Form{}); err != nil {
		return err
	}
	return errors.New(strings.TrimSpace(text.String()))
}

// oneLine is an error for the log: of diagnostics, what each is called and where it is.
func oneLine(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "Error: ") || strings.HasPrefix(line, "on ") {
			parts = append(parts, strings.TrimPrefix(line, "Error: "))
		}
	}
	if len(parts) == 0 {
		return err.Error()
	}
	return strings.Join(parts, " ")
}

// reloadCollector exports which configuration is in force.
type reloadCollector struct{ d *daemon }

var (
	configDesc = prometheus.NewDesc("consentd_config_info", "1, with the hash of the configuration in force.", []string{"hash"}, nil)
	loadedDesc = prometheus.NewDesc("consentd_config_last_reload_success_timestamp_seconds",
		"When the configuration in force was loaded, in seconds since 1970.", nil, nil)
	reloadDesc = prometheus.NewDesc("consentd_config_last_reload_successful", "0 if the last reload failed, so that an older configuration is in force.", nil, nil)
)

func (c reloadCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- configDesc
	ch <- loadedDesc
	ch <- reloadDesc
}

func (c reloadCollector) Collect(ch chan<- prometheus.Metric) {
	w := c.d.world.Load()
	if w == nil {
		return
	}
	successful := 1.0
	c.d.reloads.mu.Lock()
	if c.d.reloads.failed {
		successful = 0
	}
	c.d.reloads.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(configDesc, prometheus.GaugeValue, 1, w.config.Hash)
	ch <- prometheus.MustNewConstMetric(loadedDesc, prometheus.GaugeValue, float64(w.since.UnixMilli())/1e3)
	ch <- prometheus.MustNewConstMetric(reloadDesc, prometheus.GaugeValue, successful)
}
