package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/daemon"
)

func (a *App) validate() *cobra.Command {
	var c configured
	var offline bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Go the way of run up to where updates would flow, and say what is wrong",
		Long: "Read the configuration, start its plugins, and check every rule and record against what they take, as run does; then,\n" +
			"unless --offline, ask the vendors, lookups and senders whether they take the credentials. Nothing is changed anywhere.\n" +
			"What is wrong is said with its place and what to write there, and it ends with 2.",
		Example: "  consentd validate --config config.hcl\n  consentd validate --config config.hcl --offline --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(c)
			if err != nil {
				return err
			}
			finder, err := a.finder(cfg)
			if err != nil {
				return err
			}
			diags, err := daemon.Validate(cmd.Context(), cfg, finder, offline, a.quietLogger())
			diags = append(cfg.Idle(), diags...)
			if err := errors.Join(a.diagnose(cfg, diags, c.json), ended(err)); err != nil {
				return err
			}
			if !c.json {
				fmt.Fprintf(a.Stdout, "The configuration is valid: %d sources, %d rules, %d targets.\n", len(cfg.Sources), len(cfg.Rules), len(cfg.Targets))
			}
			return nil
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&offline, "offline", false, "do not ask the vendors whether the credentials work")
	cmd.Flags().BoolVar(&c.json, "json", false, "print the diagnostics as JSON")
	return cmd
}
