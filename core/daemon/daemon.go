// Package daemon wires the parts together: it starts them in the order in which updates flow backwards,
// so that nothing is taken in that could not go on, and stops them in the opposite order.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/dispatch"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/repair"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/supervise"
	"github.com/consentd/consentd/core/trace"
	"github.com/consentd/consentd/core/webhook"
)

// drainTimeout is how long a stopping daemon waits for what is in flight. systemd's own default is 90 s.
const drainTimeout = 30 * time.Second

// Options are what a daemon is made of.
type Options struct {
	Config *config.Config
	Finder supervise.Finder
	// Load reads the configuration again for a reload, or with a path another one in place of it. Nil: it cannot be reloaded.
	Load func(path string) (*config.Config, supervise.Finder, hcl.Diagnostics, error)
	// Hangup, if not nil, receives when the configuration is to be reloaded.
	Hangup  <-chan os.Signal
	Version string
	Log     hclog.Logger
	// Warn, if not nil, is called once with what is not wrong and yet worth knowing, before updates flow.
	Warn func(hcl.Diagnostics)
	// Started, if not nil, is called once when everything runs, with the addresses in use.
	Started func(listener, admin net.Addr)
}

// EnvironmentError is for what is around the daemon and not in its configuration: an address in use, a
// store that cannot be opened.
type EnvironmentError struct{ Err error }

func (e *EnvironmentError) Error() string { return e.Err.Error() }
func (e *EnvironmentError) Unwrap() error { return e.Err }

func environment(err error) error {
	if err == nil {
		return nil
	}
	return &EnvironmentError{err}
}

// daemon is what runs, with the stack of what to do to end it.
type daemon struct {
	Options
	life     context.Context // ends when the daemon is to
	end      context.CancelFunc
	started  time.Time
	registry *prometheus.Registry
	store    store.Store
	front    *front
	draining atomic.Bool
	// world is what runs, nil until all of it does. The admin address answers before.
	world atomic.Pointer[world]
	// filling is the world whose new rules are given deliveries for those who are known; nil: none.
	filling atomic.Pointer[world]
	// changing is held while one world takes the place of another, and entered is the one that came last,
	// also when it has not got in whole.
	changing   sync.Mutex
	entered    *world
	reloads    reloads
	plans      plans
	pauses     pauses
	failed     chan error // the servers' errors
	cleanups   []cleanup
	deliveries *dispatch.Metrics
	webhooks   *webhook.Metrics
	lookups    *lookup.Metrics
	trace      *trace.Tracer
	repairs    *repair.Metrics
	heard      heard
	// reconciling is what compares senders, store and targets.
	reconciling reconciler
	// imbalance is what audits find.
	imbalance *prometheus.GaugeVec
	// surveyed is what the last survey found; nil before the first.
	surveyed atomic.Pointer[store.Survey]
}

type cleanup struct {
	name string
	run  func(context.Context) error
}

// Run runs the daemon until ctx ends or it cannot go on. Diagnostics say why it did not start; mere warnings
// went to Warn.
func Run(ctx context.Context, o Options) (hcl.Diagnostics, error) {
	d := &daemon{Options: o, started: time.Now(), registry: prometheus.NewRegistry(), failed: make(chan error, 2)}
	d.life, d.end = context.WithCancel(ctx)
	defer d.stop()
	diags, err := d.start(ctx)
	if ctx.Err() != nil {
		return nil, nil // told to stop before it had started
	}
	if err != nil || diags.HasErrors() {
		return diags, err
	}
	for {
		select {
		case <-ctx.Done():
			d.Log.Info("stopping")
			return nil, nil
		case <-d.store.Failed():
			return nil, errors.New("the store failed to commit, and what is on disk is not known: ending, so that it is opened anew")
		case err := <-d.failed:
			return nil, err
		case <-d.Hangup:
			_, _ = d.reload(ctx) // it logs how that went
		}
	}
}

// later puts what ends a part on the stack.
func (d *daemon) later(name string, run func(context.Context) error) {
	d.cleanups = append(d.cleanups, cleanup{name, run})
}

// stop ends the parts, the last started first.
func (d *daemon) stop() {
	d.draining.Store(true)
	d.end()
	d.notifyStopping()
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	for i := len(d.cleanups) - 1; i >= 0; i-- {
		c := d.cleanups[i]
		if err := c.run(ctx); err != nil {
			d.Log.Warn("stopped with an error", "part", c.name, "error", err)
		}
	}
}

func (d *daemon) start(ctx context.Context) (hcl.Diagnostics, error) {
	runtimeDir, err := runtimeDir()
	if err != nil {
		return nil, environment(err)
	}
	plan, diags, err := prepare(ctx, d.Config, d.Finder, runtimeDir, d.Log)
	if err != nil || diags.HasErrors() {
		return diags, err
	}
	d.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	err = d.patiently("Opening the store", func() (err error) {
		d.store, err = OpenStore(ctx, d.Config, d.Log)
		return err
	})
	if err != nil {
		return diags, environment(err)
	}
	d.later("store", func(context.Context) error { return d.store.Close() })
	if err := d.readPauses(ctx); err != nil {
		return diags, environment(err)
	}
	d.imbalance = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "consentd_ledger_imbalance",
		Help: "By how much accepted differs from the sum of what became of it, at the last audit. Always 0.",
	}, []string{"target"})
	d.front = &front{}
	d.deliveries, d.webhooks = dispatch.NewMetrics(d.registry), webhook.NewMetrics(d.registry)
	d.lookups, d.repairs = lookup.NewMetrics(d.registry), repair.NewMetrics(d.registry)
	if d.trace, err = trace.Start(ctx, d.Config.Telemetry, d.Version, trace.NewMetrics(d.registry), d.Log.Named("trace")); err != nil {
		return diags, environment(err)
	}
	d.later("traces", d.trace.Stop)
	d.registry.MustRegister(storeCollector{d.store, d.Log}, pluginCollector{d}, d.imbalance, reloadCollector{d}, worldCollector{d}, fuseCollector{d})
	if own, tells := d.store.(prometheus.Collector); tells {
		d.registry.MustRegister(own)
	}

	// Both addresses are taken first, so that nothing is delivered by a daemon that cannot listen; the admin
	// address answers at once, so that probes see that the process lives.
	adminAddr, err := d.startAdmin()
	if err != nil {
		return diags, environment(err)
	}
	listener, err := net.Listen("tcp", d.Config.Listener.Address)
	if err != nil {
		return diags, environment(inUse(err, "listener > address"))
	}
	d.later("listener's socket", func(context.Context) error {
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	w, worldDiags, err := d.build(ctx, plan, nil)
	diags = append(diags, worldDiags...)
	if err != nil || diags.HasErrors() {
		return diags, err
	}
	if d.Warn != nil && len(diags) > 0 {
		d.Warn(diags)
	}
	d.later("targets", d.leave)
	if err := d.enter(w); err != nil {
		return diags, err
	}
	d.startUpkeep()
	d.startReconciling()
	d.startListener(listener)
	d.Log.Info("consentd runs", "version", d.Version, "listener", listener.Addr().String(), "admin", adminAddr.String(),
		"targets", len(w.targets), "config", w.config.Hash)
	d.startWatchdog()
	d.notifyReady()
	if d.Started != nil {
		d.Started(listener.Addr(), adminAddr)
	}
	return nil, nil
}

// runtimeDir is where plugins have their sockets: systemd's RuntimeDirectory, or a folder of this process.
func runtimeDir() (string, error) {
	parent := os.Getenv("RUNTIME_DIRECTORY")
	if parent == "" {
		parent = filepath.Join(os.TempDir(), fmt.Sprintf("consentd-%d", os.Getuid()))
	}
	return parent, supervise.Sweep(parent)
}

func (d *daemon) startListener(l net.Listener) {
	server := webhook.NewServer(d.Config.Listener, d.front, d.Log.Named("webhook"))
	if server.TLSConfig != nil {
		server.TLSConfig = server.TLSConfig.Clone()
		server.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return d.world.Load().config.Listener.TLS, nil
		}
	}
	d.serve("listener", server, l, server.TLSConfig != nil)
	// On the stack above the server's own end: first refuse what is new, then finish what is under way.
	d.later("webhooks", func(context.Context) error { d.front.Drain(); return nil })
}

// serve runs a server until the daemon stops. Should it end by itself, so does the daemon.
func (d *daemon) serve(name string, server *http.Server, l net.Listener, withTLS bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		if withTLS {
			err = server.ServeTLS(l, "", "")
		} else {
			err = server.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			d.failed <- fmt.Errorf("serve %s: %w", name, err)
		}
	}()
	d.later(name, func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		if err != nil {
			err = server.Close()
		}
		<-done
		return err
	})
}

var errStarting = fmt.Errorf("%w: consentd is starting", store.ErrUnavailable)

func inUse(err error, where string) error {
	return fmt.Errorf("%w; stop what listens there, or set another %s", err, where)
}
