package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// targetRelease lets through what a target's fuse holds.
func (a *App) targetRelease() *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use:   "release NAME",
		Short: "Make a target's blown fuse whole, and let through the grants it holds",
		Long: "Make a target's blown fuse whole, and let through the grants it holds, however many they are. What counts for\n" +
			"max_grants begins anew. Look first at what grants so much: if it is a rule, mend it and reload, and what is\n" +
			"held goes out as the mended rule says.",
		Example: "  consentd target release crm",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := l.client().ReleaseFuse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, n)
			}
			fmt.Fprintf(a.Stdout, "released; %d held grants are let through\n", n.Changed)
			return nil
		},
	}
	l.flags(cmd)
	return cmd
}
