package daemon

import (
	"context"
	"fmt"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/postgres"
	"github.com/consentd/consentd/core/store/sqlite"
)

// postgresOptions are those of the configured store.
func postgresOptions(cfg *config.Config, log hclog.Logger) postgres.Options {
	s := cfg.Store
	return postgres.Options{DSN: s.DSN, MaxConnections: s.MaxConnections, Lease: s.Lease, Keys: cfg.Encryption.Keys, Log: log.Named("store")}
}

// OpenStore opens the configured store.
func OpenStore(ctx context.Context, cfg *config.Config, log hclog.Logger) (store.Store, error) {
	if cfg.Store.Type == "postgres" {
		return postgres.Open(ctx, postgresOptions(cfg, log))
	}
	return sqlite.Open(ctx, cfg.Store.Path, cfg.Encryption.Keys...)
}

// checkStore looks whether the configured store could be opened, and changes nothing. Unless offline it asks a server.
func checkStore(ctx context.Context, cfg *config.Config, offline bool, log hclog.Logger) hcl.Diagnostics {
	if cfg.Store.Type != "postgres" {
		return nil
	}
	err := postgres.Check(ctx, postgresOptions(cfg, log), offline)
	if err == nil {
		return nil
	}
	at := cfg.DSNRange
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Store cannot be used", Subject: &at, Detail: fmt.Sprintf("For %q in store \"postgres\": %v.", "dsn", err)}}
}

// VerifyStore reads a store that a server keeps, and looks for anything that is not as it should be.
func VerifyStore(ctx context.Context, cfg *config.Config, log hclog.Logger) ([]store.Check, error) {
	return postgres.Verify(ctx, postgresOptions(cfg, log))
}
