package cli

import "github.com/spf13/cobra"

func (a *App) target() *cobra.Command {
	return group("target", "Change how a target is delivered to", a.targetRelease())
}
