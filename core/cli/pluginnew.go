package cli

import (
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/scaffold"
)

func (a *App) pluginNew() *cobra.Command {
	var dir, module, tree string
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Write a plugin to start from", Args: cobra.ExactArgs(1),
		Long: "Writes a Go module with a plugin for the target type NAME. It builds, passes the conformance kit and runs in consentd as it is;\n" +
			"the call to the vendor is left to fill in.",
		Example: "  consentd plugin new acme\n  consentd plugin new acme --module example.com/consentd-plugin-acme",
		RunE: func(_ *cobra.Command, args []string) error {
			p := scaffold.Plugin{Type: args[0], Module: module}
			if err := scaffold.CheckType(p.Type); err != nil {
				return usage("%w", err)
			}
			if isBundled(a.Plugins, p.Type) {
				return usage("a plugin %s is bundled: take another name, such as my_%[1]s", p.Type)
			}
			if dir == "" {
				dir = "consentd-plugin-" + p.Type
			}
			if module == "" {
				p.Module = "consentd-plugin-" + p.Type
			}
			if err := scaffold.CheckModule(p.Module); err != nil {
				return usage("--module: %w", err)
			}
			var err error
			if p.Version, p.Tree, err = a.origin(tree); err != nil {
				return err
			}
			if err := p.Write(dir); err != nil {
				return usage("%w", err)
			}
			fmt.Fprintf(a.Stdout, `%[1]s has a plugin for the target type %[2]s. Next:

  cd %[1]s
  go mod tidy
  go test ./...

Then put your vendor's call into deliver, in target.go. README.md has the way from there into consentd.
`, dir, p.Type)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder to write it into (default consentd-plugin-NAME)")
	cmd.Flags().StringVar(&module, "module", "", "path of its Go module (default consentd-plugin-NAME)")
	cmd.Flags().StringVar(&tree, "consentd", "", "folder with consentd's source to build it against, in place of this release")
	return cmd
}

func isBundled(plugins []sdk.Plugin, typ string) bool {
	for _, p := range plugins {
		if p.Type == typ {
			return true
		}
	}
	return false
}

var release = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+)$`)

// origin is what a plugin is built against: this very release, or else the source that this executable was built
// from, since a development build is nowhere to be fetched.
func (a *App) origin(tree string) (version, source string, err error) {
	if tree == "" {
		if m := release.FindStringSubmatch(a.Version); m != nil {
			return "v" + m[1], "", nil
		}
		// Only a module that came from elsewhere, as by go install, has a sum.
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Sum != "" {
			return info.Main.Version, "", nil
		}
		tree = sourceTree()
		if tree == "" || scaffold.CheckTree(tree) != nil {
			return "", "", usage("this is a development build (%s), which no Go module can require: give --consentd with the folder of consentd's source", a.Version)
		}
	}
	tree, err = filepath.Abs(tree)
	if err != nil {
		return "", "", environment(err)
	}
	if err := scaffold.CheckTree(tree); err != nil {
		return "", "", usage("--consentd: %w", err)
	}
	return "", tree, nil
}

// sourceTree is where this file was when it was compiled, less its place there; empty when the build left that out.
func sourceTree() string {
	_, file, _, _ := runtime.Caller(0)
	tree, found := strings.CutSuffix(filepath.ToSlash(file), "/core/cli/pluginnew.go")
	if !found || !filepath.IsAbs(tree) {
		return ""
	}
	return tree
}
