package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/admin"
)

func (a *App) dead() *cobra.Command {
	return group("dead", "Look at dead letters, replay or discard them",
		a.deadList(), a.deadShow(),
		a.deadChange("replay", "Try dead letters again, with the newest state and today's rules", "replayed", (*admin.Client).ReplayDead),
		a.deadChange("discard", "Give dead letters up until a newer update comes", "discarded", (*admin.Client).DiscardDead),
	)
}

// filters are the flags that choose dead letters.
func filters(cmd *cobra.Command, sel *admin.DeadSelection) {
	cmd.Flags().StringVar(&sel.Target, "target", "", "only of this target")
	cmd.Flags().StringVar(&sel.Reason, "reason", "", "only with this reason: rule, rejected, crash or exhausted")
	cmd.Flags().StringVar(&sel.Citizen, "citizen", "", "only of the citizen with this citizenId")
}

func checkReason(sel admin.DeadSelection) error {
	switch sel.Reason {
	case "", "rule", "rejected", "crash", "exhausted":
		return nil
	}
	return usage("--reason %q is none: give rule, rejected, crash or exhausted", sel.Reason)
}

func (a *App) deadList() *cobra.Command {
	var l live
	var sel admin.DeadSelection
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkReason(sel); err != nil {
				return err
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			p, err := l.client().Dead(cmd.Context(), sel, 0, limit)
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, p)
			}
			if len(p.Dead) == 0 {
				fmt.Fprintln(a.Stdout, "No dead letters.")
				return nil
			}
			t := newTable(a.Stdout, "ID", "TARGET", "RULE", "CITIZEN", "REASON", "ATTEMPTS", "STOPPED", "NEXT RETRY", "ERROR")
			for _, d := range p.Dead {
				t.row(strconv.FormatInt(d.ID, 10), d.Target, d.Rule, d.CitizenID, d.Reason, strconv.Itoa(d.Attempts), ago(&d.StoppedAt), until(d.NextRetry), d.Error)
			}
			if err := t.flush(); err != nil {
				return err
			}
			if p.Next != 0 {
				fmt.Fprintf(a.Stdout, "\nThere are more: raise --limit, or choose with --target, --reason or --citizen.\n")
			}
			return nil
		},
	}
	l.flags(cmd)
	filters(cmd, &sel)
	limitFlag(cmd, &limit)
	return cmd
}

func (a *App) deadShow() *cobra.Command {
	return withID("show", "Show one dead letter", func(ctx context.Context, l *live, id int64) error {
		p, err := l.client().Dead(ctx, admin.DeadSelection{ID: id}, 0, 1)
		if err != nil {
			return err
		}
		if len(p.Dead) == 0 {
			return fmt.Errorf("no dead letter %d: `consentd dead list` lists them", id)
		}
		d := p.Dead[0]
		if l.json {
			return printJSON(a.Stdout, d)
		}
		fmt.Fprintf(a.Stdout, "Dead letter %d\n", d.ID)
		t := newTable(a.Stdout, "  target", d.Target)
		t.row("  rule", d.Rule)
		t.row("  source", d.Source)
		t.row("  citizen", d.CitizenID)
		t.row("  withdrawal", strconv.FormatBool(d.Withdrawal))
		t.row("  reason", d.Reason)
		t.row("  error", d.Error)
		t.row("  attempts", strconv.Itoa(d.Attempts))
		t.row("  since", d.Since.Format(timeLayout))
		t.row("  last attempt", d.StoppedAt.Format(timeLayout))
		t.row("  next retry", until(d.NextRetry))
		return t.flush()
	})
}

func (a *App) deadChange(verb, short, done string, change func(*admin.Client, context.Context, admin.DeadSelection) (admin.Changed, error)) *cobra.Command {
	var l live
	var sel admin.DeadSelection
	cmd := &cobra.Command{
		Use:   verb + " [ID]",
		Short: short,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkReason(sel); err != nil {
				return err
			}
			if len(args) == 1 {
				id, err := parseID(args[0])
				if err != nil {
					return err
				}
				sel.ID = id
			}
			if sel == (admin.DeadSelection{}) {
				return usage("which ones? Give an ID, --target, --reason or --citizen, or --all")
			}
			n, err := change(l.client(), cmd.Context(), sel)
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, n)
			}
			fmt.Fprintf(a.Stdout, "%d %s\n", n.Changed, done)
			if n.Changed == 0 && sel.ID != 0 {
				return fmt.Errorf("no dead letter %d: `consentd dead list` lists them", sel.ID)
			}
			return nil
		},
	}
	l.flags(cmd)
	filters(cmd, &sel)
	cmd.Flags().BoolVar(&sel.All, "all", false, "all of them")
	return cmd
}

const timeLayout = "2006-01-02 15:04:05Z07:00"
