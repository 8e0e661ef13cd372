package cli

import (
	"errors"
	"os"
	"runtime/debug"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/daemon"
	"github.com/consentd/consentd/core/supervise"
)

func (a *App) run() *cobra.Command {
	var c configured
	var dev bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: "Run the daemon until SIGINT or SIGTERM, which drains it: webhooks are answered 503, deliveries in flight\n" +
			"are finished, and what is pending stays in the store.\n\n" +
			"--dev needs no configuration: a temporary store, the bundled vendors' simulators, a sample update a second,\n" +
			"and what arrives at the vendors is printed.",
		Example: "  consentd run --config config.hcl\n  consentd run --dev",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dev {
				if c.path != "" {
					return usage("--dev has a configuration of its own: leave out --config, or leave out --dev")
				}
				return a.runDev(cmd.Context())
			}
			cfg, err := a.load(c)
			if err != nil {
				return err
			}
			finder, err := a.finder(cfg)
			if err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				// The live heap is small and updates are short-lived: collecting half as often costs some
				// megabytes and saves a tenth of the CPU.
				debug.SetGCPercent(200)
			}
			if err := a.diagnose(cfg, cfg.Idle(), false); err != nil {
				return err
			}
			diags, err := daemon.Run(cmd.Context(), daemon.Options{
				Config: cfg, Finder: finder, Version: a.Version, Log: a.logger(cfg.Log), Hangup: a.Hangup,
				Load: func(path string) (*config.Config, supervise.Finder, hcl.Diagnostics, error) {
					path, dir, err := beside(c.named(), path)
					if err != nil {
						return nil, supervise.Finder{}, nil, err
					}
					cfg, diags := config.LoadAs(path, dir, os.LookupEnv)
					if diags.HasErrors() {
						return cfg, supervise.Finder{}, diags, nil
					}
					finder, err := a.finder(cfg)
					return cfg, finder, nil, err
				},
				Warn: func(d hcl.Diagnostics) { _ = a.diagnose(cfg, d, false) },
			})
			if diags.HasErrors() {
				return errors.Join(a.diagnose(cfg, diags, false), ended(err))
			}
			return ended(err)
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&dev, "dev", false, "run with simulated vendors and sample updates")
	return cmd
}

// ended gives the daemon's errors their exit codes.
func ended(err error) error {
	var env *daemon.EnvironmentError
	if errors.As(err, &env) {
		return environment(err)
	}
	return err
}
