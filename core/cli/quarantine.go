package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/admin"
)

func (a *App) quarantine() *cobra.Command {
	return group("quarantine", "Look at bodies that could not be understood, replay or discard them",
		a.quarantineList(), a.quarantineShow(), a.quarantineReplay(), a.quarantineDiscard())
}

func (a *App) quarantineList() *cobra.Command {
	var l live
	var page paged
	var source string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the quarantine",
		Long: "List the bodies that came with good credentials and could not be understood, and why. `consentd quarantine show`\n" +
			"prints one, `replay` takes one through the front door again once the cause is mended.",
		Example: "  consentd quarantine list --source dataguard",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(page.limit); err != nil {
				return err
			}
			p, err := l.client().Quarantine(cmd.Context(), source, page.after, page.limit)
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, p)
			}
			if len(p.Quarantined) == 0 {
				fmt.Fprintln(a.Stdout, "The quarantine is empty.")
				return nil
			}
			t := newTable(a.Stdout, "ID", "SOURCE", "RECEIVED", "BYTES", "REASON")
			for _, q := range p.Quarantined {
				t.row(strconv.FormatInt(q.ID, 10), q.Source, ago(&q.Received), strconv.Itoa(q.Size), q.Reason)
			}
			if err := t.flush(); err != nil {
				return err
			}
			more(a.Stdout, cmd, args, p.Next)
			return nil
		},
	}
	l.flags(cmd)
	page.flags(cmd)
	cmd.Flags().StringVar(&source, "source", "", "only of this source")
	return cmd
}

func (a *App) quarantineShow() *cobra.Command {
	cmd := withID("show", "Print one body as it came; it holds personal data", func(ctx context.Context, l *live, id int64) error {
		q, err := l.client().Quarantined(ctx, id)
		if err != nil {
			return err
		}
		if l.json {
			return printJSON(a.Stdout, q)
		}
		_, err = a.Stdout.Write(append(q.Body, '\n'))
		return err
	})
	cmd.Long = "Print one body as it came, by the ID that `consentd quarantine list` shows. It holds personal data: it takes the role\n" +
		"operator, and the audit has a line of it. With --json its source, the reason and when it came are there too."
	cmd.Example = "  consentd quarantine show 7\n  consentd quarantine show 7 --json"
	return cmd
}

// replayedAll is what `quarantine replay --all --json` prints.
type replayedAll struct {
	// Replayed counts the bodies by what became of them as updates.
	Replayed map[string]int `json:"replayed"`
	// Left are those that are still not understood.
	Left []stillLeft `json:"left"`
}

type stillLeft struct {
	ID    int64  `json:"id"`
	Error string `json:"error"`
}

func (a *App) quarantineReplay() *cobra.Command {
	var l live
	var all bool
	var source string
	cmd := &cobra.Command{
		Use:   "replay [ID]",
		Short: "Take bodies through the front door again",
		Long: "Take a body through the front door again, as if it came now, and out of quarantine if it is understood. An older one\n" +
			"than what is known changes nothing. With --all every one is tried; those that are still not understood stay.",
		Example: "  consentd quarantine replay 7\n  consentd quarantine replay --all",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all != (len(args) == 0) || source != "" && !all {
				return usage("which ones? Give an ID, or --all, to which --source may be added")
			}
			if all {
				return a.replayAll(cmd.Context(), l, source)
			}
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			r, err := l.client().ReplayQuarantined(cmd.Context(), id)
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, r)
			}
			fmt.Fprintln(a.Stdout, r.Status)
			return nil
		},
	}
	l.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all of them")
	cmd.Flags().StringVar(&source, "source", "", "with --all: only of this source")
	return cmd
}

func (a *App) replayAll(ctx context.Context, l live, source string) error {
	client, p := l.client(), a.progress(l.json)
	defer p.end()
	out := replayedAll{Replayed: map[string]int{}, Left: []stillLeft{}}
	done, after := 0, int64(0)
	for {
		page, err := client.Quarantine(ctx, source, after, 1000)
		if err != nil {
			return err
		}
		for _, q := range page.Quarantined {
			r, err := client.ReplayQuarantined(ctx, q.ID)
			if errors.Is(err, admin.ErrRefused) {
				out.Left = append(out.Left, stillLeft{q.ID, err.Error()})
			} else if err != nil {
				return fmt.Errorf("%w; %d were replayed before", err, done-len(out.Left))
			} else {
				out.Replayed[r.Status]++
			}
			done++
			p.show("replayed", int64(done), 0)
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	p.end()
	if l.json {
		return printJSON(a.Stdout, out)
	}
	for _, status := range slices.Sorted(maps.Keys(out.Replayed)) {
		fmt.Fprintf(a.Stdout, "%d %s\n", out.Replayed[status], status)
	}
	for _, left := range out.Left {
		fmt.Fprintf(a.Stdout, "%d stays: %s\n", left.ID, left.Error)
	}
	if done == 0 {
		fmt.Fprintln(a.Stdout, "The quarantine is empty.")
	}
	return nil
}

func (a *App) quarantineDiscard() *cobra.Command {
	cmd := withID("discard", "Remove one body for good", func(ctx context.Context, l *live, id int64) error {
		if err := l.client().DiscardQuarantined(ctx, id); err != nil {
			return err
		}
		if l.json {
			return printJSON(a.Stdout, admin.Changed{Changed: 1})
		}
		fmt.Fprintln(a.Stdout, "discarded")
		return nil
	})
	cmd.Long = "Remove one body for good. What it says of a citizen then never arrives: look at it first with `consentd quarantine show`,\n" +
		"and try `consentd quarantine replay`. What is older than retention > quarantine goes by itself."
	cmd.Example = "  consentd quarantine discard 7"
	return cmd
}
