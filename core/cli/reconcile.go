package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
)

func (a *App) reconcile() *cobra.Command {
	var w watched
	var in admin.Reconcile
	cmd := &cobra.Command{
		Use:   "reconcile [TARGET]",
		Short: "Compare what is stored with the senders and with what targets hold, and mend what differs",
		Long: "Compare what is stored with what the senders say and with what targets hold, as far as their plugins can tell, and mend\n" +
			"what differs. By default that is only where less is allowed than is held; --repair all mends the rest too, and --repair\n" +
			"none only reports. With TARGET it is about that target alone. The report names nobody: citizens are in it as the keyed\n" +
			"hashes that receipts have. The daemon does it, and goes on when this command is ended.",
		Example: "  consentd reconcile --repair none\n  consentd reconcile crm",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if in.Repair != "" && !slices.Contains(config.Repairs, in.Repair) {
				return usage("--repair %q is none: give none, withdrawals or all", in.Repair)
			}
			if len(args) == 1 {
				in.Target = args[0]
			}
			return a.runReconcile(cmd.Context(), &w, in)
		},
	}
	w.flags(cmd)
	cmd.Flags().StringVar(&in.Repair, "repair", "", "what to mend: none, withdrawals or all (default as configured, or withdrawals)")
	return cmd
}

func (a *App) runReconcile(ctx context.Context, w *watched, in admin.Reconcile) error {
	r, err := w.client().Reconcile(ctx, in)
	if err != nil {
		return err
	}
	for r.Running && !w.detach {
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return errors.New("the daemon goes on with it")
		}
		if r, err = w.client().Reconciled(ctx); err != nil {
			return err
		}
	}
	switch {
	case w.json:
		if err := printJSON(a.Stdout, r); err != nil {
			return err
		}
	case r.Running:
		fmt.Fprintln(a.Stdout, "begun")
		return nil
	default:
		if err := a.printReconciliation(r); err != nil {
			return err
		}
	}
	return incomparable(r)
}

// incomparable is an error if something could not be compared.
func incomparable(r admin.Reconciliation) error {
	var failed []string
	if r.Error != "" {
		failed = append(failed, r.Error)
	}
	for _, s := range r.Sources {
		if s.Error != "" {
			failed = append(failed, fmt.Sprintf("source %s: %s", s.Name, s.Error))
		}
	}
	for _, t := range r.Targets {
		if t.Error != "" {
			failed = append(failed, fmt.Sprintf("target %s: %s", t.Name, t.Error))
		}
	}
	if len(failed) > 0 {
		return errors.New(strings.Join(failed, "\n"))
	}
	return nil
}

func (a *App) printReconciliation(r admin.Reconciliation) error {
	number := strconv.Itoa
	if len(r.Sources) > 0 {
		t := newTable(a.Stdout, "SOURCE", "CITIZENS", "MISSING HERE", "DIFFER", "WITHDRAWALS", "GONE", "REPAIRED", "ERASED")
		for _, s := range r.Sources {
			t.row(s.Name, number(s.Citizens), number(s.Missing), number(s.Differ), number(s.Withdrawals), number(s.Gone), number(s.Repaired), number(s.Erased))
		}
		if err := t.flush(); err != nil {
			return err
		}
		fmt.Fprintln(a.Stdout)
	}
	t := newTable(a.Stdout, "TARGET", "RECORDS", "MISSING THERE", "DIFFER", "WITHDRAWALS", "UNREADABLE", "WAITING", "SENT AGAIN")
	for _, d := range r.Targets {
		if !d.Readable {
			t.row(d.Name, "its plugin cannot tell what it holds", "", "", "", "", "", "")
			continue
		}
		t.row(d.Name, number(d.Records), number(d.Missing), number(d.Differ), number(d.Withdrawals), number(d.Unreadable), number(d.Waiting), number(d.Repaired))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, s := range r.Sources {
		a.printDrift(s.Name, s.Samples)
	}
	for _, d := range r.Targets {
		a.printDrift(d.Name, d.Samples)
	}
	return nil
}

func (a *App) printDrift(of string, samples []admin.Drift) {
	if len(samples) == 0 {
		return
	}
	fmt.Fprintf(a.Stdout, "\n%s, some of them:\n", of)
	for _, d := range samples {
		what := "differs"
		switch {
		case d.Gone:
			what = "is gone at the sender"
		case d.Missing:
			what = "is missing"
		case len(d.Fields) > 0:
			what = "differs in " + strings.Join(d.Fields, ", ")
		}
		if d.Withdrawal {
			what += ": less is allowed than is held"
		}
		if d.Repaired {
			what += "; repaired"
		}
		fmt.Fprintf(a.Stdout, "  %s %s\n", d.Citizen, what)
	}
}
