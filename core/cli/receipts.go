package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *App) receipts() *cobra.Command {
	return group("receipts", "Verify and export the proofs of confirmed deliveries", a.receiptsVerify(), a.receiptsExport())
}

func (a *App) receiptsVerify() *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Find out whether a receipt was changed or removed",
		Long: "Read every receipt and check that each follows from the one before. Keep the number and the head that this prints\n" +
			"somewhere else: with them, nobody who can write to the store can take receipts from its end unnoticed.",
		Example: "  consentd receipts verify\n  consentd receipts verify --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := l.client().VerifyReceipts(cmd.Context())
			if err != nil {
				return err
			}
			if l.json {
				err = printJSON(a.Stdout, c)
			} else if c.Broken == 0 {
				fmt.Fprintf(a.Stdout, "%d receipts, %s\nhead %s\n", c.Receipts, asWritten(c.Pruned), c.Head)
			}
			if c.Broken != 0 {
				return errors.Join(err, fmt.Errorf("receipt %d: %s; the %d before it are as they were written", c.Broken, c.Problem, c.Receipts-c.Pruned))
			}
			return err
		},
	}
	l.flags(cmd)
	return cmd
}

func asWritten(pruned int64) string {
	if pruned == 0 {
		return "all as they were written"
	}
	return fmt.Sprintf("of which the first %d were removed when their time was over; all others as they were written", pruned)
}

func (a *App) receiptsExport() *cobra.Command {
	var l live
	var after int64
	cmd := &cobra.Command{
		Use: "export", Short: "Print all receipts, one JSON object a line, oldest first", Args: cobra.NoArgs,
		Long: "Print all receipts, one JSON object a line, oldest first. Whose each is stands in it as a keyed hash alone. Each is\n" +
			"chained to the one before by its hash, and an export goes on where an earlier one ended with --after and its last id.",
		Example: "  consentd receipts export > receipts.jsonl\n  consentd receipts export --after 20000 >> receipts.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines := json.NewEncoder(a.Stdout)
			for {
				page, err := l.client().AllReceipts(cmd.Context(), after)
				if err != nil {
					return err
				}
				for _, r := range page.Receipts {
					if err := lines.Encode(r); err != nil {
						return err
					}
				}
				if after = page.Next; after == 0 {
					return nil
				}
			}
		},
	}
	l.addressFlag(cmd)
	cmd.Flags().Int64Var(&after, "after", 0, "only those with a larger id")
	return cmd
}
