package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
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
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many, up to 1000")
	return cmd
}

func (a *App) quarantineShow() *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Print one body as it came; it holds personal data",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			q, err := l.client().Quarantined(cmd.Context(), id)
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, q)
			}
			_, err = a.Stdout.Write(append(q.Body, '\n'))
			return err
		},
	}
	l.flags(cmd)
	return cmd
}

func (a *App) quarantineReplay() *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Take one body through the front door again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
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
	return cmd
}

func (a *App) quarantineDiscard() *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use:   "discard ID",
		Short: "Remove one body for good",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			if err := l.client().DiscardQuarantined(cmd.Context(), id); err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, map[string]int{"changed": 1})
			}
			fmt.Fprintln(a.Stdout, "discarded")
			return nil
		},
	}
	l.flags(cmd)
	return cmd
}
