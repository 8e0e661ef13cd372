package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/daemon"
)

func (a *App) storeMigrate() *cobra.Command {
	var c configured
	var from string
	cmd := &cobra.Command{
		Use:   "migrate --from sqlite:FILE",
		Short: "Take an SQLite store over into PostgreSQL",
		Long: "Copy the SQLite store in FILE to the store that the configuration names, which has to be a PostgreSQL database that\n" +
			"holds none yet. What is sealed stays sealed, so the configuration has the keys of the old one. Stop the daemon first.\n" +
			"Broken off, the same command goes on where it was. Nothing uses the new store before all of it is verified: rows are\n" +
			"counted, and receipts, the ledger and every value checked. FILE stays as it is; put it away afterwards, so that\n" +
			"no daemon is started with it again.",
		Example: "  consentd store migrate --config config.hcl --from sqlite:consentd.db",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, ok := strings.CutPrefix(from, "sqlite:")
			if path = strings.TrimPrefix(path, "//"); !ok || path == "" {
				return usage("which store? Give --from sqlite:FILE, as in --from sqlite:consentd.db")
			}
			cfg, err := a.load(c)
			if err != nil {
				return err
			}
			if cfg.Store.Type != "postgres" {
				return usage("the configuration names the store to copy to: write store \"postgres\" { dsn = env(\"CONSENTD_DSN\") } there")
			}
			if _, err := os.Stat(path); err != nil {
				return environment(err)
			}
			err = daemon.MigrateStore(cmd.Context(), cfg, path, a.quietLogger(), func(table string, done, of int64) {
				fmt.Fprintf(a.Stderr, "%-10s  %d of %d\n", table, done, of)
			})
			if err != nil {
				return fmt.Errorf("migrate store: %w", err)
			}
			fmt.Fprintln(a.Stdout, "All of it is copied and verified. Start consentd with this configuration, and put the old file away.")
			return nil
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&from, "from", "", "the store to copy: sqlite:FILE")
	return cmd
}
