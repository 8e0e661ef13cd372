package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (a *App) man() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all commands",
		Long: "Write a manual page for each command into a folder, which is made if it is missing. SOURCE_DATE_EPOCH sets the\n" +
			"date that they bear, so that a package is the same each time it is built.",
		Example: "  consentd man /usr/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return environment(fmt.Errorf("make folder of manual pages: %w", err))
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // it has a date too
			header := &doc.GenManHeader{Title: "CONSENTD", Section: "1", Source: "consentd " + a.Version, Manual: "consentd"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return environment(fmt.Errorf("write manual pages: %w", err))
			}
			return nil
		},
	}
}
