package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/plan"
)

func (a *App) plan() *cobra.Command {
	var l live
	var r admin.PlanRequest
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say what another configuration would change at each target, and for how many",
		Long: "Have the daemon read another configuration, render every citizen through its rules and through those in force,\n" +
			"and say how many records would change and which way. Nothing is delivered and nobody is looked up. Samples show\n" +
			"what changes without what is personal.\n\n" +
			"The daemon reads the file, with its own rights and environment: it has to lie in the directory of the daemon's\n" +
			"own configuration or below, and relative paths in it start there, as they will. Without --config it is the\n" +
			"daemon's own, as it is on disk now.\n\n" +
			"The ID that a plan ends with is for `consentd reload --plan ID`, which refuses to do what the plan did not say.",
		Example: "  consentd plan\n  consentd plan --config new.hcl --target crm --samples 10",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.Samples < 0 || r.Samples > 100 {
				return usage("--samples %d is none: give a number from 0 to 100", r.Samples)
			}
			if r.Config != "" {
				path, err := filepath.Abs(r.Config)
				if err != nil {
					return usage("%w", err)
				}
				r.Config = path
			}
			far := a.progress(l.json)
			p, err := l.client().Plan(cmd.Context(), r, func(done, of int64) { far.show("citizens", done, of) })
			far.end()
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, p)
			}
			return a.printPlan(p)
		},
	}
	l.flags(cmd)
	cmd.Flags().StringVar(&r.Config, "config", "", "the other configuration, a file or a directory that the daemon can read\n(default: the daemon's own, as it is on disk)")
	cmd.Flags().StringVar(&r.Target, "target", "", "only this target; such a plan has no ID")
	cmd.Flags().IntVar(&r.Samples, "samples", 3, "show so many of each target and direction, up to 100")
	return cmd
}

func (a *App) printPlan(p admin.Plan) error {
	fmt.Fprintf(a.Stdout, "From configuration %.12s in force to %.12s, for %d citizens:\n\n", p.InForce, p.Config, p.Citizens)
	t := newTable(a.Stdout, "TARGET", "UNCHANGED", "GRANTED", "WITHDRAWN", "OTHER", "SILENCED", "NEW", "NEW GRANTED", "GONE", "ERRORS", "NOT LOOKED UP")
	for _, target := range p.Targets {
		c := target.Counts
		t.row(target.Name, count(c.Unchanged), count(c.Granted), count(c.Withdrawn), count(c.Other), count(c.Silenced), count(c.New), count(c.NewGranted),
			count(c.Gone), count(c.Errors), count(c.NotLookedUp))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, target := range p.Targets {
		for _, s := range target.Samples {
			fmt.Fprintf(a.Stdout, "\n%s, rule %s, %s: citizen %s\n", target.Name, s.Rule, s.Direction, s.Citizen)
			for _, f := range s.Fields {
				fmt.Fprintf(a.Stdout, "  %s: %s -> %s\n", f.At, f.Before, f.After)
			}
		}
	}
	if len(p.Changes) > 0 {
		fmt.Fprintln(a.Stdout, "\nWhat is otherwise in the configuration:")
	}
	for _, c := range p.Changes {
		fmt.Fprintf(a.Stdout, "  %s %s", c.Block, c.What)
		if c.Note != "" {
			fmt.Fprintf(a.Stdout, ": %s", c.Note)
		}
		fmt.Fprintln(a.Stdout)
	}
	a.explainPlan(p)
	return nil
}

// explainPlan says of what cannot be seen from the numbers when it comes about.
func (a *App) explainPlan(p admin.Plan) {
	var all plan.Counts
	for _, t := range p.Targets {
		all.Add(t.Counts)
	}
	fmt.Fprintln(a.Stdout)
	if all.Granted+all.Withdrawn+all.Other > 0 {
		fmt.Fprintln(a.Stdout, "What rules that stay would change goes out with the next update of each citizen; what is new goes out at the reload.")
	}
	if all.Silenced+all.Gone > 0 {
		fmt.Fprintln(a.Stdout, "Of those who are silenced or gone, the target keeps what it was given.")
	}
	if all.Errors > 0 {
		fmt.Fprintln(a.Stdout, "Each error would be a dead letter: see `consentd explain` and `consentd validate`.")
	}
	if p.ID != "" {
		fmt.Fprintf(a.Stdout, "Plan %s: with this configuration in place, `consentd reload --plan %[1]s` within an hour.\n", p.ID)
	}
}

// beside is the configuration to read: the daemon's own, or another one that lies in its directory or below, with the
// directory at which its relative paths start. Whoever may ask the daemon for a plan has the daemon read and run what the
// configuration names, so it must not be anywhere; and no file is read that is not HCL by its name, as what is wrong with it
// would be shown.
func beside(own, path string) (string, string, error) {
	if path == "" {
		return own, "", nil
	}
	dir := own
	info, err := os.Stat(own)
	if err != nil {
		return "", "", fmt.Errorf("find the daemon's own configuration: %w", err)
	}
	if !info.IsDir() {
		dir = filepath.Dir(own)
	}
	base, err := realPath(dir)
	if err != nil {
		return "", "", fmt.Errorf("find the daemon's own configuration: %w", err)
	}
	found, err := realPath(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", "", fmt.Errorf("%s: the daemon finds no such file, or may not read it; put it into %s or a folder there", path, base)
	}
	if err != nil {
		return "", "", err
	}
	if within, err := filepath.Rel(base, found); err != nil || within == ".." || strings.HasPrefix(within, ".."+string(filepath.Separator)) {
		return "", "", fmt.Errorf("%s is outside of %s, and the daemon reads no configuration from elsewhere; put it there, in a folder of its own if the daemon's is a directory", path, base)
	}
	if info, err = os.Stat(found); err != nil {
		return "", "", err
	}
	if same, err := realPath(own); !info.IsDir() && filepath.Ext(found) != ".hcl" && (err != nil || same != found) {
		return "", "", fmt.Errorf("%s is not called *.hcl; name a file that is, or a directory of them", path)
	}
	return found, dir, nil
}

// realPath is a path without links.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}
