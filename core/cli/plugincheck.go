package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/daemon"
)

func (a *App) pluginCheck() *cobra.Command {
	var c configured
	var target string
	cmd := &cobra.Command{
		Use: "check TYPE", Short: "Ask the targets of a type whether their credentials work", Args: cobra.ExactArgs(1),
		Long: "Starts the plugin with the configuration of each target of the type and asks it whether the vendor takes the credentials.\n" +
			"Nothing is changed there. It ends with 1 where one does not work, or cannot tell.",
		Example: "  consentd plugin check salesforce --config config.hcl\n  consentd plugin check salesforce --target crm --config config.hcl",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.load(c)
			if err != nil {
				return err
			}
			typ := args[0]
			if err := hasTarget(cfg, typ, target); err != nil {
				return err
			}
			finder, err := a.finder(cfg)
			if err != nil {
				return err
			}
			answers, diags, err := daemon.Check(cmd.Context(), cfg, finder, typ, target, a.quietLogger())
			printed := a.printAnswers(typ, answers, c.json)
			return errors.Join(a.diagnose(cfg, diags, false), ended(err), printed)
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&target, "target", "", "only the target of this name")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

// hasTarget is whether there is something to check.
func hasTarget(cfg *config.Config, typ, name string) error {
	if slices.ContainsFunc(cfg.Targets, func(t config.Target) bool { return t.Type == typ && (name == "" || t.Name == name) }) {
		return nil
	}
	wanted := fmt.Sprintf("target of type %q", typ)
	if name != "" {
		wanted = fmt.Sprintf("target %q %q", typ, name)
	}
	there := "no target at all"
	if len(cfg.Targets) > 0 {
		var all []string
		for _, t := range cfg.Targets {
			all = append(all, fmt.Sprintf("%q %q", t.Type, t.Name))
		}
		there = strings.Join(all, ", ")
	}
	return usage("the configuration has no %s; it has %s", wanted, there)
}

// printAnswers is an error without text when one of them is not good.
func (a *App) printAnswers(typ string, answers []daemon.Answer, asJSON bool) error {
	type entry struct {
		Target  string `json:"target"`
		Outcome string `json:"outcome"`
		Code    string `json:"code,omitempty"`
		Message string `json:"message,omitempty"`
	}
	all := []entry{}
	good := true
	for _, answer := range answers {
		e := entry{answer.Target, answer.Outcome.Kind.String(), answer.Outcome.Code, answer.Outcome.Message}
		text := "works"
		switch {
		case errors.Is(answer.Err, errors.ErrUnsupported):
			e.Outcome, e.Message = "unsupported", fmt.Sprintf("plugin %s cannot tell: it has no Check", typ)
			text, good = e.Message, false
		case answer.Err != nil:
			e.Outcome, e.Message = "broken", answer.Err.Error()
			text, good = e.Message, false
		case !answer.Outcome.Kind.Done():
			text, good = fmt.Sprintf("%s: %s: %s", e.Outcome, e.Code, e.Message), false
		}
		all = append(all, e)
		if !asJSON {
			fmt.Fprintf(a.Stdout, "%s: %s\n", answer.Target, text)
		}
	}
	if asJSON {
		if err := printJSON(a.Stdout, all); err != nil {
			return err
		}
	}
	if !good {
		return &exitError{exitRuntime, errSilent}
	}
	return nil
}
