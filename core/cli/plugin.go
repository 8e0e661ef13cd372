package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/daemon"
	"github.com/consentd/consentd/core/supervise"
	"github.com/consentd/consentd/sdk"
)

func (a *App) plugin() *cobra.Command {
	return group("plugin", "List, describe, check and write plugins",
		a.pluginList(), a.pluginDescribe(), a.pluginSum(), a.pluginCheck(), a.pluginNew(), a.pluginServe(), a.pluginExec())
}

// pluginServe is how the host launches a bundled plugin.
func (a *App) pluginServe() *cobra.Command {
	return &cobra.Command{
		Use: "serve TYPE", Short: "Serve a bundled plugin; consentd does this by itself", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, p := range a.Plugins {
				if p.Type == args[0] {
					if os.Getenv("CONSENTD_PLUGIN") == "" {
						return usage("consentd serves its plugins by itself; `consentd plugin describe %s` tells about this one", p.Type)
					}
					sdk.Serve(p)
					return nil
				}
			}
			return usage("no bundled plugin of type %q", args[0])
		},
	}
}

// pluginExec is what the host starts a plugin as: it gives up what a plugin may not have and then becomes it.
func (a *App) pluginExec() *cobra.Command {
	return &cobra.Command{
		Use: "exec BOUNDS -- PROGRAM", Short: "Become a plugin; consentd does this by itself", Hidden: true, Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return environment(supervise.Exec(args)) },
	}
}

// pluginFinder finds the bundled plugins and, with a configuration, the external ones it names.
func (a *App) pluginFinder(c configured) (supervise.Finder, error) {
	if c.named() == "" {
		return a.finder(nil)
	}
	cfg, err := a.load(c)
	if err != nil {
		return supervise.Finder{}, err
	}
	return a.finder(cfg)
}

func (a *App) pluginList() *cobra.Command {
	var c configured
	cmd := &cobra.Command{
		Use: "list", Short: "List the target types there are", Args: cobra.NoArgs,
		Long: "List the target types that are bundled, and with a configuration those of its plugin_dir as well. TYPE is the first word\n" +
			"of a target block.",
		Example: "  consentd plugin list\n  consentd plugin list --config config.hcl",
		RunE: func(*cobra.Command, []string) error {
			f, err := a.pluginFinder(c)
			if err != nil {
				return err
			}
			type entry struct {
				Type    string `json:"type"`
				Bundled bool   `json:"bundled"`
			}
			var all []entry
			for _, t := range f.Types() {
				all = append(all, entry{t, slices.Contains(f.Bundled, t)})
			}
			if c.json {
				return printJSON(a.Stdout, all)
			}
			t := newTable(a.Stdout, "TYPE", "FROM")
			for _, e := range all {
				from := "bundled"
				if !e.Bundled {
					from = f.Dir
				}
				t.row(e.Type, from)
			}
			return t.flush()
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

func (a *App) pluginDescribe() *cobra.Command {
	var c configured
	cmd := &cobra.Command{
		Use: "describe TYPE", Short: "Show what a target's config and a rule's record may hold", Args: cobra.ExactArgs(1),
		Long: "Show what the config block of a target of the type and the record of a rule that feeds one may hold: each name, its type,\n" +
			"whether it is required, and what it means. The plugin itself is asked; an external one is found with the configuration.",
		Example: "  consentd plugin describe mailchimp\n  consentd plugin describe acme --config config.hcl",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.pluginFinder(c)
			if err != nil {
				return err
			}
			about, err := daemon.Describe(cmd.Context(), f, args[0], a.quietLogger())
			var notFound *supervise.FindError
			if errors.As(err, &notFound) {
				return usage("%w", err)
			}
			if err != nil {
				return ended(err)
			}
			if c.json {
				return printJSON(a.Stdout, descriptionOf(about))
			}
			return sdk.Plugin{
				Type: about.Type, Version: about.Version, Doc: about.Doc, Config: about.Config, Record: about.Record, Limits: about.Limits,
			}.Describe(a.Stdout)
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

func (a *App) pluginSum() *cobra.Command {
	return &cobra.Command{
		Use: "sum FILE", Short: "Print the block that lets consentd run an external plugin", Args: cobra.ExactArgs(1),
		Long:    "Prints the plugin block for a configuration: an external plugin runs only if the sum of its executable is known.",
		Example: "  consentd plugin sum plugins.d/consentd-plugin-acme",
		RunE: func(_ *cobra.Command, args []string) error {
			typ, err := supervise.ExternalType(args[0])
			if err != nil {
				return usage("%w", err)
			}
			sum, err := supervise.Sum(args[0])
			if err != nil {
				return usage("%w", err)
			}
			_, err = fmt.Fprintf(a.Stdout, "plugin %q {\n  sha256 = [%q]\n}\n", typ, sum)
			return err
		},
	}
}
