package cli

import (
	"context"
	"fmt"
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
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the quarantine",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			p, err := l.client().Quarantine(cmd.Context(), 0, limit)
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
			if p.Next != 0 {
				fmt.Fprintf(a.Stdout, "\nThere are more: raise --limit.\n")
			}
			return nil
		},
	}
	l.flags(cmd)
	limitFlag(cmd, &limit)
	return cmd
}

func (a *App) quarantineShow() *cobra.Command {
	return withID("show", "Print one body as it came; it holds personal data", func(ctx context.Context, l *live, id int64) error {
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
}

func (a *App) quarantineReplay() *cobra.Command {
	return withID("replay", "Take one body through the front door again", func(ctx context.Context, l *live, id int64) error {
		r, err := l.client().ReplayQuarantined(ctx, id)
		if err != nil {
			return err
		}
		if l.json {
			return printJSON(a.Stdout, r)
		}
		fmt.Fprintln(a.Stdout, r.Status)
		return nil
	})
}

func (a *App) quarantineDiscard() *cobra.Command {
	return withID("discard", "Remove one body for good", func(ctx context.Context, l *live, id int64) error {
		if err := l.client().DiscardQuarantined(ctx, id); err != nil {
			return err
		}
		if l.json {
			return printJSON(a.Stdout, admin.Changed{Changed: 1})
		}
		fmt.Fprintln(a.Stdout, "discarded")
		return nil
	})
}
