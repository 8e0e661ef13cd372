package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *App) reload() *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its configuration again, whole or not at all",
		Long: "Have the daemon read its configuration again, as SIGHUP does. Whatever is wrong with it, the configuration\n" +
			"in force stays. The listener takes updates all the time; deliveries pause while what is in flight ends.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := l.client().Reload(cmd.Context())
			if err != nil {
				return fmt.Errorf("not reloaded; the configuration in force stays:\n\n%w", err)
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
	return cmd
}
