package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/admin"
)

func (a *App) reload() *cobra.Command {
	var l live
	var plan string
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its configuration again, whole or not at all",
		Long: "Have the daemon read its configuration again, as SIGHUP does. Whatever is wrong with it, the configuration\n" +
			"in force stays. The listener takes updates all the time; deliveries pause while what is in flight ends.\n\n" +
			"With --plan it is refused as well if the configuration is not the one that was planned, or the one in force not\n" +
			"the one it was planned from. If updates came since, everybody is counted again, and it is refused if any target\n" +
			"would be granted more than the plan said.",
		Example: "  consentd reload\n  consentd reload --plan 5f0c1a9e7b2d",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reload := l.client().Reload
			if plan != "" {
				reload = func(ctx context.Context) (admin.Reloaded, error) { return l.client().ReloadAs(ctx, plan) }
			}
			r, err := reload(cmd.Context())
			switch {
			case errors.As(err, new(*admin.RefusedError)):
				return fmt.Errorf("not reloaded; the configuration in force stays:\n\n%w", err)
			case errors.Is(err, admin.ErrNotRunning), errors.Is(err, admin.ErrAddress), errors.Is(err, admin.ErrFiles):
				return err
			case err != nil:
				return fmt.Errorf("no answer: what had begun is carried through, and `consentd status` says which configuration is in force: %w", err)
			}
			if l.json {
				return printJSON(a.Stdout, r)
			}
			if !r.Changed {
				fmt.Fprintf(a.Stdout, "reloaded; the configuration is the same as before, %.12s\n", r.Config)
				return nil
			}
			fmt.Fprintf(a.Stdout, "reloaded; configuration %.12s is in force\n", r.Config)
			return nil
		},
	}
	l.flags(cmd)
	cmd.Flags().StringVar(&plan, "plan", "", "the ID of the plan, as `consentd plan` says it, that this is held to")
	return cmd
}
