package daemon

import (
	"context"
	"errors"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store/postgres"
	"github.com/consentd/consentd/core/store/sqlite"
)

// MigrateStore takes the SQLite store at a path over into the configured store, which a server keeps. It tells how many
// rows of each table are copied, of how many.
func MigrateStore(ctx context.Context, cfg *config.Config, path string, log hclog.Logger, progress func(table string, done, of int64)) error {
	from, err := sqlite.OpenExport(ctx, path)
	if err != nil {
		return err
	}
	err = postgres.Import(ctx, postgresOptions(cfg, log), from, progress)
	return errors.Join(err, from.Close())
}
