package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/daemon"
	"github.com/consentd/consentd/core/ruletest"
)

// tests is what the verb test is called with.
type tests struct {
	configured
	run, junit string
	update     bool
}

func (a *App) test() *cobra.Command {
	var c tests
	cmd := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Run the tests of rules in *.test.hcl: updates in, expected records out; sends nothing",
		Long: "Run the tests of rules in *.test.hcl: updates in, expected records out. Nothing is sent, no lookup is asked and no\n" +
			"store is opened. PATH is a test file, or a directory with some (default: the configuration's directory).\n\n" +
			"It ends with 0 when all tests passed, 1 when one failed, and 2 when the configuration or a test cannot be read.",
		Example: "  consentd test --config config.hcl\n  consentd test --config config.hcl --run withdrawal mapping.test.hcl",
		RunE: func(cmd *cobra.Command, args []string) error {
			suite, match, err := a.suite(cmd, c, args)
			if err != nil {
				return err
			}
			report := suite.Run(ruletest.Options{Match: match, Update: c.update})
			if len(report.Tests) == 0 && c.run != "" {
				return usage("no test has a name that matches --run %q", c.run)
			}
			if len(report.Tests) == 0 {
				return usage("there is no test in these files: write test \"what it shows\" { ... }")
			}
			updated, err := writeGolden(report.Golden)
			if err != nil {
				return environment(err)
			}
			if c.junit != "" {
				if err := writeJUnit(c.junit, report); err != nil {
					return environment(err)
				}
			}
			if err := a.printReport(c, suite, report, updated); err != nil || report.Failed == 0 {
				return err
			}
			return &exitError{exitRuntime, errSilent}
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&c.run, "run", "", "only the tests whose name this regular expression matches")
	cmd.Flags().BoolVar(&c.update, "update", false, "write the golden files anew; read them before you commit them")
	cmd.Flags().StringVar(&c.junit, "junit", "", "write a JUnit report to this file too")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

// suite reads the configuration and its tests, and says what is wrong with either.
func (a *App) suite(cmd *cobra.Command, c tests, paths []string) (*ruletest.Suite, func(string) bool, error) {
	var match func(string) bool
	if c.run != "" {
		re, err := regexp.Compile(c.run)
		if err != nil {
			return nil, nil, usage("--run: %w", err)
		}
		match = re.MatchString
	}
	path := c.named()
	if path == "" {
		return nil, nil, usage("which configuration? Give --config PATH")
	}
	if len(paths) == 0 {
		paths = []string{directory(path)}
	}
	names, err := ruletest.Find(paths)
	if err != nil {
		return nil, nil, usage("%w", err)
	}
	if len(names) == 0 {
		return nil, nil, usage("no *%s in %s: write one, or name where they are", ruletest.Suffix, strings.Join(paths, ", "))
	}
	suite, diags := ruletest.Load(names)
	files := &config.Config{Files: suite.Files}
	if diags.HasErrors() {
		return nil, nil, a.diagnose(files, diags, c.json)
	}
	var absent []string
	getenv, diags := suite.Env(func(name string) (string, bool) {
		value, ok := os.LookupEnv(name)
		if !ok && !slices.Contains(absent, name) {
			absent = append(absent, name)
		}
		return value, ok
	})
	if diags.HasErrors() {
		return nil, nil, a.diagnose(files, diags, c.json)
	}
	cfg, diags := config.Load(path, getenv)
	maps.Copy(suite.Files, cfg.Files)
	files.Files = suite.Files
	if diags.HasErrors() {
		err := a.diagnose(files, diags, c.json)
		if len(absent) > 0 && !c.json {
			fmt.Fprintf(a.Stderr, "Variables that are not set here can be given for all tests at the top of a test file:\n\n  env = { %s = \"...\" }\n\n", absent[0])
		}
		return nil, nil, err
	}
	finder, err := a.finder(cfg)
	if err != nil {
		return nil, nil, err
	}
	compiled, diags, err := daemon.Rules(cmd.Context(), cfg, finder, a.quietLogger())
	if diags.HasErrors() {
		err = a.diagnose(files, diags, c.json)
	}
	if err != nil {
		return nil, nil, ended(err)
	}
	if diags = suite.Bind(cfg, compiled); diags.HasErrors() {
		return nil, nil, a.diagnose(files, diags, c.json)
	}
	return suite, match, nil
}

// directory is where a configuration is.
func directory(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return path
	}
	return filepath.Dir(path)
}

// writeGolden writes the golden files that differ from what they are to hold, and names them.
func writeGolden(golden map[string][]byte) ([]string, error) {
	var updated []string
	for _, name := range slices.Sorted(maps.Keys(golden)) {
		before, err := os.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = os.WriteFile(name, golden[name], 0o644)
		case err == nil && bytes.Equal(before, golden[name]):
			continue
		case err == nil:
			err = replaceFile(name, golden[name])
		}
		if err != nil {
			return updated, fmt.Errorf("write golden file: %w", err)
		}
		updated = append(updated, name)
	}
	return updated, nil
}

func writeJUnit(name string, report ruletest.Report) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(report.WriteJUnit(f), f.Close())
}

func (a *App) printReport(c tests, suite *ruletest.Suite, r ruletest.Report, updated []string) error {
	if c.json {
		return printJSON(a.Stdout, r)
	}
	file := ""
	for _, t := range r.Tests {
		if t.File != file {
			file = t.File
			fmt.Fprintln(a.Stdout, file)
		}
		if t.Passed {
			fmt.Fprintf(a.Stdout, "  pass  %s\n", t.Name)
			continue
		}
		fmt.Fprintf(a.Stdout, "  FAIL  %s\n", t.Name)
		for _, f := range t.Failures {
			for _, line := range f.Text() {
				fmt.Fprintf(a.Stdout, "        %s\n", line)
			}
		}
	}
	for _, name := range updated {
		fmt.Fprintf(a.Stdout, "updated %s\n", name)
	}
	if r.Coverage != nil {
		fmt.Fprintln(a.Stdout)
		if err := a.printCoverage(r.Coverage); err != nil {
			return err
		}
		if err := a.diagnose(&config.Config{Files: suite.Files}, suite.Warnings(r.Coverage), false); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.Stdout, "\n%d passed, %d failed.\n", r.Passed, r.Failed)
	return nil
}

// printCoverage is one row a rule: how many tests saw a record of it, and whether with the permissions that it
// reads granted, and refused.
func (a *App) printCoverage(c *ruletest.Coverage) error {
	t := newTable(a.Stdout, "RULE", "TARGET", "TESTS", "GRANTED", "REFUSED")
	for _, r := range c.Rules {
		t.row(r.Rule, r.Target, fmt.Sprint(r.Tests),
			covered(r, func(p ruletest.PermissionCoverage) bool { return p.Granted }),
			covered(r, func(p ruletest.PermissionCoverage) bool { return p.Refused }))
	}
	return t.flush()
}

func covered(r ruletest.RuleCoverage, saw func(ruletest.PermissionCoverage) bool) string {
	var missing []string
	for _, p := range r.Permissions {
		if !saw(p) {
			missing = append(missing, p.Name)
		}
	}
	switch len(missing) {
	case 0:
		if len(r.Permissions) == 0 {
			return ""
		}
		return "yes"
	case len(r.Permissions):
		return "no"
	}
	return "all but " + strings.Join(missing, ", ")
}
