package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/consentd/consentd/core/admin"
)

func (a *App) citizen() *cobra.Command {
	return group("citizen", "Look at one citizen, their receipts and held grants, or erase them",
		a.citizenShow(), a.citizenReceipts(), a.citizenResync(), a.citizenRelease(), a.citizenErase())
}

// ofCitizen makes a verb that speaks of one citizen, by citizenId.
func (a *App) ofCitizen(use, short string, run func(ctx context.Context, l *live, source, id string) error) *cobra.Command {
	var l live
	var source string
	cmd := &cobra.Command{
		Use: use + " ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if source == "" {
				s, err := l.client().Status(cmd.Context())
				if err != nil {
					return err
				}
				if len(s.Sources) != 1 {
					return usage("which source is the citizen of? Give --source; `consentd status` lists them")
				}
				source = s.Sources[0].Name
			}
			return run(cmd.Context(), &l, source, args[0])
		},
	}
	l.flags(cmd)
	cmd.Flags().StringVar(&source, "source", "", "the citizen's source (may be left out if there is one)")
	return cmd
}

func (a *App) citizenShow() *cobra.Command {
	cmd := a.ofCitizen("show", "Show what is known of a citizen and where their deliveries stand; it is personal data",
		func(ctx context.Context, l *live, source, id string) error {
			c, err := l.client().Citizen(ctx, source, id)
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, c)
			}
			fmt.Fprintf(a.Stdout, "%s of %s, external reference %s\nsent %s, received %s\n\n", c.CitizenID, c.Source, c.ExternalRef,
				c.SentAt.Format(timeLayout), c.Received.Format(timeLayout))
			if err := a.printPermissions("PERMISSION", c.Permissions); err != nil {
				return err
			}
			if len(c.Held) > 0 {
				fmt.Fprintf(a.Stdout, "\nHeld, because newer evidence was known when they came. `consentd citizen release %s` lets them through:\n", c.CitizenID)
				if err := a.printPermissions("HELD", c.Held); err != nil {
					return err
				}
			}
			fmt.Fprintln(a.Stdout)
			for _, p := range c.Preferences {
				fmt.Fprintf(a.Stdout, "%s: %s\n", p.Preference, strings.Join(p.Choices, ", "))
			}
			t := newTable(a.Stdout, "RULE", "TARGET", "STATUS", "WITHDRAWAL", "ATTEMPTS", "OUTCOME", "LAST", "NEXT", "ERROR")
			for _, d := range c.Deliveries {
				t.row(d.Rule, d.Target, d.Status, strconv.FormatBool(d.Withdrawal), strconv.Itoa(d.Attempts), d.Outcome, ago(d.SettledAt), until(d.NextAttempt), d.Error)
			}
			return t.flush()
		})
	cmd.Long = "Show a citizen's newest state and what of it is allowed now, grants that are held, and where the delivery of each rule\n" +
		"stands. It is personal data: it takes the role operator, and the audit has a line of it."
	cmd.Example = "  consentd citizen show c-4711\n  consentd citizen show c-4711 --source dataguard --json"
	return cmd
}

func (a *App) printPermissions(heading string, permissions []admin.Permission) error {
	t := newTable(a.Stdout, heading, "JUSTIFICATION", "STATE", "ALLOWED", "RECORDED", "VALID UNTIL")
	for _, p := range permissions {
		recorded, until := "", ""
		if p.RecordedAt != nil {
			recorded = p.RecordedAt.Format(timeLayout)
		}
		if p.ValidUntil != nil {
			until = p.ValidUntil.Format(timeLayout)
		}
		t.row(p.OptionType+" "+p.OptionID, p.Justification, p.State, strconv.FormatBool(p.Allowed), recorded, until)
	}
	return t.flush()
}

func (a *App) citizenReceipts() *cobra.Command {
	var page paged
	var target, rule string
	var cmd *cobra.Command
	cmd = a.ofCitizen("receipts", "List the proofs of a citizen's confirmed deliveries", func(ctx context.Context, l *live, source, id string) error {
		if err := checkLimit(page.limit); err != nil {
			return err
		}
		r, err := l.client().Receipts(ctx, source, id, target, rule, page.after, page.limit)
		if err != nil {
			return err
		}
		if l.json {
			return printJSON(a.Stdout, r)
		}
		t := newTable(a.Stdout, "ID", "RULE", "TARGET", "WITHDRAWAL", "OUTCOME", "SENT", "RECEIVED", "CONFIRMED", "REFERENCE", "PLUGIN", "CONFIG")
		for _, p := range r.Receipts {
			t.row(strconv.FormatInt(p.ID, 10), p.Rule, p.Target, strconv.FormatBool(p.Withdrawal), p.Outcome, p.SentAt.Format(timeLayout),
				p.Received.Format(timeLayout), p.Confirmed.Format(timeLayout), p.Reference, p.Plugin, fmt.Sprintf("%.12s", p.Config))
		}
		if err := t.flush(); err != nil {
			return err
		}
		more(a.Stdout, cmd, []string{id}, r.Next)
		return nil
	})
	cmd.Long = "List the proofs of a citizen's confirmed deliveries, oldest first. `consentd receipts verify` finds out whether\n" +
		"one was changed or removed."
	cmd.Example = "  consentd citizen receipts c-4711 --target crm"
	page.flags(cmd)
	cmd.Flags().StringVar(&target, "target", "", "only of this target")
	cmd.Flags().StringVar(&rule, "rule", "", "only of this rule")
	return cmd
}

func (a *App) citizenResync() *cobra.Command {
	var target string
	cmd := a.ofCitizen("resync", "Send a citizen's newest state to the targets again, whatever they are known to hold",
		func(ctx context.Context, l *live, source, id string) error {
			r, err := l.client().ResyncCitizen(ctx, source, id, target)
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, r)
			}
			fmt.Fprintf(a.Stdout, "%d deliveries are pending again; `consentd citizen show %s` shows when they have ended\n", r.Changed, quoted(id))
			return nil
		})
	cmd.Long = "Make a citizen's deliveries pending again, dead letters and discarded ones too, and trust nothing that the targets are\n" +
		"known to hold of them: the newest state is sent, under a new id."
	cmd.Example = "  consentd citizen resync c-4711 --target crm"
	cmd.Flags().StringVar(&target, "target", "", "only to this target")
	return cmd
}

func (a *App) citizenRelease() *cobra.Command {
	cmd := a.ofCitizen("release", "Let a citizen's held grants through", func(ctx context.Context, l *live, source, id string) error {
		if err := l.client().ReleaseHeld(ctx, source, id); err != nil {
			return err
		}
		if l.json {
			return printJSON(a.Stdout, admin.Changed{Changed: 1})
		}
		fmt.Fprintln(a.Stdout, "released")
		return nil
	})
	cmd.Long = "Let through what a citizen was granted by a message that was sent later on older evidence than was known. It may be a\n" +
		"retry, stamped anew, of what they have taken back since: make sure that they do allow it. `consentd citizen show`\n" +
		"shows what is held."
	cmd.Example = "  consentd citizen release c-4711"
	return cmd
}

func (a *App) citizenErase() *cobra.Command {
	var yes bool
	cmd := a.ofCitizen("erase", "Remove every trace of a citizen but a keyed hash, which stops late updates",
		func(ctx context.Context, l *live, source, id string) error {
			if !yes {
				if err := a.confirm(fmt.Sprintf("This removes everything of citizen %s of source %s, for good. Type the id again to go on: ", id, source), id); err != nil {
					return err
				}
			}
			e, err := l.client().Erase(ctx, source, id)
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, e)
			}
			if e.Known {
				fmt.Fprintln(a.Stdout, "erased")
			} else {
				fmt.Fprintln(a.Stdout, "erased; nothing was known of them, and older updates will not be taken in")
			}
			if e.Quarantined > 0 {
				fmt.Fprintf(a.Stdout, "removed %d quarantined bodies that named them\n", e.Quarantined)
			}
			for _, t := range e.Asked {
				fmt.Fprintf(a.Stdout, "asked %s to erase them; `consentd citizen receipts %s` shows when it has\n", t, id)
			}
			for _, t := range e.NotAsked {
				fmt.Fprintf(a.Stdout, "did not ask %s: set erase = true in its target block, or erase them there yourself\n", t)
			}
			return nil
		})
	cmd.Long = "Remove everything of a citizen for good: state, deliveries, quarantined bodies that name them, and what receipts tell\n" +
		"of them. The keyed hash that stays stops updates whose evidence is not newer. Targets with erase = true are asked to\n" +
		"forget them too, until they have. Erase at the sender first, or it goes on sending."
	cmd.Example = "  consentd citizen erase c-4711\n  consentd citizen erase c-4711 --source dataguard --yes"
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask back")
	return cmd
}

// confirm asks on a terminal for a word. Elsewhere there is nobody to ask.
func (a *App) confirm(question, word string) error {
	if f, ok := a.Stdin.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return usage("this cannot be undone: add --yes to do it without being asked")
	}
	fmt.Fprint(a.Stderr, question)
	answer, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if err != nil && answer == "" {
		return fmt.Errorf("read answer: %w", err)
	}
	if strings.TrimSpace(answer) != word {
		return errors.New("not confirmed; nothing was done")
	}
	return nil
}
