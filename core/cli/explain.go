package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/daemon"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/webhook"
)

func (a *App) explain() *cobra.Command {
	var c configured
	var source, at string
	var ask bool
	cmd := &cobra.Command{
		Use:   "explain FILE|-",
		Short: "Show which rules match one update and what each target would get; sends nothing",
		Long: "Take an update from a file, or with - from standard input, through the rules of a configuration, and print what each\n" +
			"target would get of somebody of whom nothing else is known. No daemon and no store is asked, nothing is sent, and\n" +
			"lookups are asked only with --lookup. It ends with 1 when a rule fails.",
		Example: "  consentd explain --config config.hcl update.json\n  consentd explain --config config.hcl --at 2026-03-02T09:14:05Z update.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			now, err := parseTime(at)
			if err != nil {
				return err
			}
			cfg, err := a.load(c)
			if err != nil {
				return err
			}
			src, err := chooseSource(cfg, source)
			if err != nil {
				return err
			}
			body, err := a.readInput(args[0])
			if err != nil {
				return err
			}
			state, err := webhook.Decode(src, body)
			if err != nil {
				return usage("the update would go to quarantine: %w", err)
			}
			finder, err := a.finder(cfg)
			if err != nil {
				return err
			}
			compiled, diags, err := daemon.Rules(cmd.Context(), cfg, finder, a.quietLogger())
			if diags.HasErrors() {
				err = a.diagnose(cfg, diags, c.json)
			}
			if err != nil {
				return ended(err)
			}
			var lookups *lookup.Set
			if ask {
				if lookups, diags = lookup.Open(cfg.Lookups, lookup.NewMetrics(prometheus.NewRegistry()), a.quietLogger()); diags.HasErrors() {
					return a.diagnose(cfg, diags, c.json)
				}
				defer lookups.Close()
			}
			all, err := daemon.Explain(cmd.Context(), compiled, lookups, src.Name, state, now)
			if err != nil {
				return err
			}
			failed := 0
			for _, e := range all {
				if e.Error != "" {
					failed++
				}
			}
			if !c.json {
				a.legend(cfg, src, state)
			}
			if err := a.printExplained(all, c.json); err != nil || failed == 0 {
				return err
			}
			return fmt.Errorf("%d of %d rules failed", failed, len(all))
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&source, "source", "", "the source it would come from (may be left out if there is one)")
	cmd.Flags().StringVar(&at, "at", "", "the instant for which validity windows are judged, RFC 3339 (default now)")
	cmd.Flags().BoolVar(&ask, "lookup", false, "ask the lookups that rules read; without it those rules are not rendered")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

func (a *App) printExplained(all []admin.Explained, asJSON bool) error {
	if asJSON {
		return printJSON(a.Stdout, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(a.Stdout, "No rule reads this source.")
	}
	for _, e := range all {
		fmt.Fprintf(a.Stdout, "rule %q -> target %q: ", e.Rule, e.Target)
		switch {
		case e.Error != "":
			fmt.Fprintf(a.Stdout, "fails, and would make a dead letter\n  %s\n", e.Error)
		case e.Waits != "":
			fmt.Fprintf(a.Stdout, "would wait\n  %s\n", e.Waits)
		case len(e.Lookups) > 0:
			fmt.Fprintf(a.Stdout, "not rendered, as it reads the lookup %s, which was not asked; add --lookup to ask\n", strings.Join(e.Lookups, ", "))
		case len(e.Records) == 0:
			fmt.Fprintln(a.Stdout, "nothing to send")
		default:
			fmt.Fprintf(a.Stdout, "%d record(s)\n", len(e.Records))
		}
		for _, r := range e.Records {
			fmt.Fprint(a.Stdout, "  ")
			out := json.NewEncoder(a.Stdout)
			out.SetIndent("  ", "  ")
			if err := out.Encode(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usage("--at %q is no RFC 3339 time; write it like 2026-03-02T09:14:05Z", s)
	}
	return t, nil
}

func chooseSource(cfg *config.Config, name string) (config.Source, error) {
	var names []string
	for _, s := range cfg.Sources {
		if s.Name == name || name == "" && len(cfg.Sources) == 1 {
			return s, nil
		}
		names = append(names, s.Name)
	}
	if name == "" {
		return config.Source{}, usage("which source? Give --source with one of %q", names)
	}
	return config.Source{}, usage("no source %q; there is %q", name, names)
}
