package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/daemon"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
)

func (a *App) store() *cobra.Command {
	return group("store", "Verify the store, back it up, or take it over into another", a.storeVerify(), a.storeBackup(), a.storeMigrate())
}

func (a *App) storeVerify() *cobra.Command {
	return a.storeVerb("verify [FILE]", "Find out whether the store is whole",
		"  consentd store verify --config config.hcl\n  consentd store verify --config config.hcl backup.db",
		"Read the whole store and check it: the file, references, the schema, the encryption keys, the chain of receipts, that\n"+
			"every update is accounted for, and that every value opens and can be read. Nothing is changed, and the daemon may run.\n"+
			"With FILE, that file is checked in place of the configured one: a backup.",
		cobra.MaximumNArgs(1), func(ctx context.Context, cfg *config.Config, args []string) ([]store.Check, error) {
			if cfg.Store.Type == "postgres" && len(args) == 0 {
				return a.verifyServer(ctx, cfg)
			}
			path := cfg.Store.Path
			if len(args) > 0 {
				path = args[0]
			}
			checks, err := sqlite.Verify(ctx, path, cfg.Encryption.Keys...)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil, environment(err)
			}
			for _, c := range checks {
				if c.Problem != "" && err == nil {
					err = fmt.Errorf("the store %s is not as it should be", path)
				}
			}
			return checks, err
		})
}

func (a *App) storeBackup() *cobra.Command {
	return a.storeVerb("backup FILE", "Copy the store to a new file", "  consentd store backup --config config.hcl backup.db",
		"Copy the store to a file that does not exist yet, and verify the copy. The daemon may run: what was committed when the\n"+
			"copy began is in it. What is sealed stays sealed. To restore, stop the daemon, remove the store's -wal and -shm files,\n"+
			"and put the copy in the store's place.",
		cobra.ExactArgs(1), func(ctx context.Context, cfg *config.Config, args []string) ([]store.Check, error) {
			if cfg.Store.Type == "postgres" {
				return nil, usage("PostgreSQL has tools of its own for that: pg_dump --format=custom copies the database while the replicas run, and pg_basebackup the whole server")
			}
			checks, err := sqlite.Backup(ctx, cfg.Store.Path, args[0], cfg.Encryption.Keys...)
			if err == nil {
				return checks, nil
			}
			if checks == nil {
				err = environment(err)
			}
			return checks, err
		})
}

// storeVerb is a verb that works on the configured store's file and ends with checks.
func (a *App) storeVerb(use, short, example, long string, args cobra.PositionalArgs,
	run func(context.Context, *config.Config, []string) ([]store.Check, error)) *cobra.Command {
	var c configured
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.load(c)
			if err != nil {
				return err
			}
			checks, err := run(cmd.Context(), cfg, args)
			if c.json && checks != nil {
				return errors.Join(printJSON(a.Stdout, checks), err)
			}
			for _, check := range checks {
				if check.Problem != "" {
					fmt.Fprintf(a.Stdout, "%-10s  WRONG  %s\n", check.Name, check.Problem)
				} else {
					fmt.Fprintf(a.Stdout, "%-10s  ok     %s\n", check.Name, check.Found)
				}
			}
			return err
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

// verifyServer is verify of a store that a server keeps.
func (a *App) verifyServer(ctx context.Context, cfg *config.Config) ([]store.Check, error) {
	checks, err := daemon.VerifyStore(ctx, cfg, a.quietLogger())
	if err != nil {
		return nil, environment(err)
	}
	for _, c := range checks {
		if c.Problem != "" {
			return checks, errors.New("the store is not as it should be")
		}
	}
	return checks, nil
}
