package cli

import (
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/supervise"
)

// configured is what the verbs share that read a configuration.
type configured struct {
	path string
	json bool
}

func (c *configured) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.path, "config", "", "configuration: a file, or a directory whose *.hcl files are merged\n(default $CONSENTD_CONFIG)")
}

// named is the path of the configuration, or "" when none is named.
func (c *configured) named() string {
	if c.path != "" {
		return c.path
	}
	return os.Getenv("CONSENTD_CONFIG")
}

// load reads the configuration and prints what is wrong with it.
func (a *App) load(c configured) (*config.Config, error) {
	path := c.named()
	if path == "" {
		return nil, usage("which configuration? Give --config PATH, or try `consentd run --dev`, which needs none")
	}
	cfg, diags := config.Load(path, os.LookupEnv)
	if !diags.HasErrors() {
		// Warnings come again with what the plugins have to say, or are for those who validate.
		return cfg, nil
	}
	return cfg, a.diagnose(cfg, diags, c.json)
}

// diagnose prints diagnostics, to standard error or as JSON to standard output, and is the error for them.
func (a *App) diagnose(cfg *config.Config, diags hcl.Diagnostics, asJSON bool) error {
	var files map[string]*hcl.File
	if cfg != nil {
		files = cfg.Files
	}
	out, form := a.Stderr, config.Form{JSON: asJSON}
	if asJSON {
		out = a.Stdout
	} else if f, ok := a.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		form.Color = os.Getenv("NO_COLOR") == ""
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			form.Width = uint(width)
		}
	}
	if err := config.WriteDiagnostics(out, files, diags, form); err != nil {
		return err
	}
	if diags.HasErrors() {
		return &exitError{exitUsage, errSilent}
	}
	return nil
}

// finder knows the bundled plugins, which this executable serves, and the external ones of a configuration.
func (a *App) finder(cfg *config.Config) (supervise.Finder, error) {
	exe, err := os.Executable()
	if err != nil {
		return supervise.Finder{}, environment(fmt.Errorf("find this executable, which serves the bundled plugins: %w", err))
	}
	f := supervise.Finder{Executable: exe}
	for _, p := range a.Plugins {
		f.Bundled = append(f.Bundled, p.Type)
	}
	if cfg != nil {
		f.Dir, f.Plugins = cfg.PluginDir, cfg.Plugins
	}
	return f, nil
}

func (a *App) logger(l config.Log) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "consentd", Level: hclog.LevelFromString(l.Level), JSONFormat: l.Format == "json", Output: a.Stderr,
	})
}

// quietLogger is for verbs whose output is not a log.
func (a *App) quietLogger() hclog.Logger {
	return a.logger(config.Log{Level: "warn", Format: "text"})
}
