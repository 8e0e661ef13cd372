package daemon

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/console"
)

func (d *daemon) startAdmin() (net.Addr, error) {
	log := d.Log.Named("admin")
	var audit *admin.Audit
	if path := d.Config.Admin.AuditFile; path != "" {
		var err error
		if audit, err = admin.OpenAudit(path); err != nil {
			return nil, err
		}
	}
	l, err := admin.Listen(d.Config.Admin.Address)
	if err != nil {
		return nil, inUse(err, "admin > address")
	}
	pages := console.New(console.Options{Metrics: d.registry, Status: d.status, Log: log.Named("console")})
	server := admin.NewServer(admin.NewHandler(admin.Options{
		Admin: func() config.Admin { return d.inForce().Admin }, Audit: audit, Store: d.store, Metrics: d.registry, Log: log,
		Status: d.status, Replay: d.replay, Release: d.release, Erase: d.erase, Reload: d.reload, Explain: d.explain,
		ReleaseFuse: d.releaseFuse, ReloadAs: d.reloadAs, Plan: d.makePlan, Pause: d.pause, Resume: d.resume, Resync: d.resync, Console: pages.Handler,
		Sources: d.sourceActions(), Reconcile: d.reconcile, Reconciled: d.reconciled,
		Serving: func() bool { return d.world.Load() != nil && !d.draining.Load() },
	}), d.Config.Admin.TLS, log)
	if server.TLSConfig != nil {
		server.TLSConfig = server.TLSConfig.Clone()
		server.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return d.inForce().Admin.TLS, nil }
	}
	d.serve("admin", server, l, server.TLSConfig != nil)
	// On the stack above the server's own end, which waits for streams.
	d.later("console", func(context.Context) error { pages.Close(); return nil })
	return l.Addr(), nil
}

// inForce is the configuration of what runs, or of what starts.
func (d *daemon) inForce() *config.Config {
	if w := d.world.Load(); w != nil {
		return w.config
	}
	return d.Config
}
