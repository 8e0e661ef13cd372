package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/config"
)

func (a *App) fmt() *cobra.Command {
	var check, diff bool
	cmd := &cobra.Command{
		Use:   "fmt PATH...",
		Short: "Rewrite configuration files in the usual layout",
		Long: "Rewrite configuration files in the usual layout and print the names of those that changed. A directory stands\n" +
			"for its *.hcl files. The path - formats standard input to standard output.",
		Example: "  consentd fmt config.hcl\n  consentd fmt --check --diff .",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			changed := false
			for _, arg := range args {
				files, err := hclFiles(arg)
				if err != nil {
					return usage("%w", err)
				}
				for _, f := range files {
					c, err := a.format(f, check, diff)
					if err != nil {
						return err
					}
					changed = changed || c
				}
			}
			if check && changed {
				return &exitError{exitRuntime, errSilent}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; exit with 1 if a file is not formatted")
	cmd.Flags().BoolVar(&diff, "diff", false, "print what changes, and change nothing")
	return cmd
}

func hclFiles(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	files, err := filepath.Glob(filepath.Join(path, "*.hcl"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no *.hcl file in %s", path)
	}
	return files, err
}

// format formats one file and tells whether that changes it.
func (a *App) format(name string, check, diff bool) (bool, error) {
	src, err := a.readInput(name)
	if err != nil {
		return false, err
	}
	out, diags := config.Format(src, name)
	if diags.HasErrors() {
		return false, a.diagnose(&config.Config{Files: map[string]*hcl.File{name: config.Blank(src, name)}}, diags, false)
	}
	changed := !bytes.Equal(src, out)
	switch {
	case diff && changed:
		return true, a.diff(name, out)
	case check && changed:
		fmt.Fprintln(a.Stdout, name)
	case check || diff:
	case name == "-":
		_, err = a.Stdout.Write(out)
	case changed:
		fmt.Fprintln(a.Stdout, name)
		err = replaceFile(name, out)
	}
	return changed, err
}

// replaceFile leaves the old file or the new one, whatever happens. Of a symbolic link it replaces the
// file that it leads to.
func replaceFile(name string, data []byte) (err error) {
	if name, err = filepath.EvalSymlinks(name); err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	unborn, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.new")
	if err != nil {
		return err
	}
	_, err = unborn.Write(data)
	err = errors.Join(err, unborn.Chmod(info.Mode().Perm()), unborn.Close())
	if err == nil {
		err = os.Rename(unborn.Name(), name)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(unborn.Name()))
	}
	return err
}

// diff prints the difference as diff(1) does.
func (a *App) diff(name string, formatted []byte) error {
	cmd := exec.Command("diff", "-u", "--label", name, "--label", name+" (formatted)", name, "-")
	if name == "-" {
		return usage("--diff needs a file")
	}
	cmd.Stdin = strings.NewReader(string(formatted))
	cmd.Stdout, cmd.Stderr = a.Stdout, a.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return environment(errors.New("--diff needs diff(1), which is not installed"))
	}
	return err
}
