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
		a.deadChange("replay", "Try dead letters again, with the newest state and today's rules",
			"Make dead letters due now. Each is rendered anew, from the citizen's newest state under today's rules, so a replay\n"+
				"cannot bring anything old back. Many are replayed in parts of 1,000; each is one commit.",
			"replayed", (*admin.Client).ReplayDead),
		a.deadChange("discard", "Give dead letters up until a newer update comes",
			"Give dead letters up: the targets go on holding what they hold, and nothing is tried again until a newer update\n"+
				"of the citizen comes or `consentd target resync`. A withdrawal among them is never delivered then.",
			"discarded", (*admin.Client).DiscardDead),
	)
}

// filters are the flags that choose dead letters.
func filters(cmd *cobra.Command, sel *admin.DeadSelection) {
	cmd.Flags().StringVar(&sel.Target, "target", "", "only of this target")
	cmd.Flags().StringVar(&sel.Rule, "rule", "", "only of this rule")
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
	var page paged
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters",
		Long: "List deliveries that stopped, in the order of their ids, and why. Each is tried again every dead_letter > retry_every;\n" +
			"`consentd dead replay` tries them now. With a token that may only read, CITIZEN is empty.",
		Example: "  consentd dead list --target crm --reason rejected",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkReason(sel); err != nil {
				return err
			}
			if err := checkLimit(page.limit); err != nil {
				return err
			}
			p, err := l.client().Dead(cmd.Context(), sel, page.after, page.limit)
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
			more(a.Stdout, cmd, args, p.Next)
			return nil
		},
	}
	l.flags(cmd)
	filters(cmd, &sel)
	page.flags(cmd)
	return cmd
}

func (a *App) deadShow() *cobra.Command {
	cmd := withID("show", "Show one dead letter", func(ctx context.Context, l *live, id int64) error {
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
	cmd.Long = "Show one dead letter, by the ID that `consentd dead list` shows: what stopped, why, how often it was tried, and when it\n" +
		"is tried again by itself. With a token that may only read, the citizen is left out."
	cmd.Example = "  consentd dead show 42"
	return cmd
}

// deadPart is how many dead letters are changed in one commit.
const deadPart = 1000

func (a *App) deadChange(verb, short, long, done string, change func(*admin.Client, context.Context, admin.DeadSelection, int64, int) (admin.Changed, error)) *cobra.Command {
	var l live
	var sel admin.DeadSelection
	var after int64
	cmd := &cobra.Command{
		Use:     verb + " [ID]",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  consentd dead %s 42\n  consentd dead %s --target crm --reason rejected\n  consentd dead %s --all", verb, verb, verb),
		Args:    cobra.MaximumNArgs(1),
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
				return usage("which ones? Give an ID, --target, --rule, --reason or --citizen, or --all")
			}
			client, p := l.client(), a.progress(l.json)
			defer p.end()
			total := a.deadOf(cmd.Context(), client, sel)
			changed := 0
			for {
				n, err := change(client, cmd.Context(), sel, after, deadPart)
				if err != nil {
					p.end()
					if changed > 0 {
						return fmt.Errorf("%w\n%d %s; go on with `%s`", err, changed, done, again(cmd, args, after))
					}
					return err
				}
				changed += n.Changed
				if after = n.Next; after == 0 {
					break
				}
				p.show(done, int64(changed), total)
			}
			p.end()
			if l.json {
				return printJSON(a.Stdout, admin.Changed{Changed: changed})
			}
			fmt.Fprintf(a.Stdout, "%d %s\n", changed, done)
			if changed == 0 && sel.ID != 0 {
				return fmt.Errorf("no dead letter %d: `consentd dead list` lists them", sel.ID)
			}
			return nil
		},
	}
	l.flags(cmd)
	filters(cmd, &sel)
	cmd.Flags().BoolVar(&sel.All, "all", false, "all of them")
	cmd.Flags().Int64Var(&after, "after", 0, "only those after this id, as an interrupted one says")
	return cmd
}

// deadOf is how many dead letters are chosen at most; 0 if nobody knows.
func (a *App) deadOf(ctx context.Context, client *admin.Client, sel admin.DeadSelection) (n int64) {
	if sel.ID != 0 || sel.Citizen != "" || sel.Reason != "" || sel.Rule != "" {
		return 0
	}
	s, err := client.Status(ctx)
	if err != nil {
		return 0
	}
	for _, t := range s.Targets {
		if sel.Target == "" || t.Name == sel.Target {
			n += t.Dead
		}
	}
	return n
}

const timeLayout = "2006-01-02 15:04:05Z07:00"
