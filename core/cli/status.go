package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/store"
)

func (a *App) status() *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show targets, backlog, the oldest withdrawal and the last error",
		Long: "Show what the daemon does: its sources, where each target stands, how much is pending, dead or held, the oldest\n" +
			"withdrawal that its target has not confirmed, and after that whatever a person has to see to. It ends with 0 when\n" +
			"the daemon answers, whatever it says.",
		Example: "  consentd status\n  consentd status --json --address unix:///run/consentd/admin.sock",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := l.client().Status(cmd.Context())
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, s)
			}
			fmt.Fprintf(a.Stdout, "consentd %s, up for %s, configuration %.12s\n", s.Version, span(time.Since(s.Started)), s.Config)
			if s.ReloadFailed != nil {
				fmt.Fprintf(a.Stdout, "The last reload failed %s: what the configuration file says now is not in force. `consentd validate` says more.\n    %s\n", ago(s.ReloadFailed), s.ReloadError)
			}
			fmt.Fprintln(a.Stdout)
			sources := newTable(a.Stdout, "SOURCE", "PATH", "UPDATE TYPE", "AUTH")
			for _, src := range s.Sources {
				sources.row(src.Name, src.Path, src.UpdateType, src.Auth)
			}
			if err := sources.flush(); err != nil {
				return err
			}
			fmt.Fprintln(a.Stdout)
			targets := newTable(a.Stdout, "TARGET", "TYPE", "STATE", "PENDING", "DELIVERED", "SUPERSEDED", "DEAD", "WITHDRAWALS", "OLDEST WITHDRAWAL", "PLUGIN")
			for _, t := range s.Targets {
				state := t.State
				if t.Pause == nil && t.PausedUntil != nil {
					state += ", tried again " + until(t.PausedUntil)
				}
				plugin := t.Plugin.State
				if t.Plugin.Restarts > 0 {
					plugin += fmt.Sprintf(", %d restarts", t.Plugin.Restarts)
				}
				targets.row(t.Name, t.Type, state, count(t.Pending), count(t.Delivered), count(t.Superseded), count(t.Dead),
					count(t.Withdrawals), ago(t.OldestWithdrawal), plugin)
			}
			if err := targets.flush(); err != nil {
				return err
			}
			for _, src := range s.Sources {
				a.printSourceAPI(src)
			}
			for _, t := range s.Targets {
				if t.Pause != nil {
					ends := fmt.Sprintf("until `consentd target resume %s`", t.Name)
					if t.Pause.Until != nil {
						ends = "and goes on " + until(t.Pause.Until)
					}
					fmt.Fprintf(a.Stdout, "\n%s: paused by an operator %s, %s; %d WITHDRAWALS WAIT AS WELL\n", t.Name, ago(&t.Pause.Since), ends, t.Withdrawals)
				}
			}
			for _, t := range s.Targets {
				if t.State == "filling" {
					fmt.Fprintf(a.Stdout, "\n%s: gets what is known of everybody; %d deliveries so far, and none goes before all are there\n", t.Name, t.Pending)
				}
				if t.LastError != "" {
					fmt.Fprintf(a.Stdout, "\n%s: last error %s: %s\n", t.Name, ago(t.LastErrorAt), t.LastError)
				}
				if t.Plugin.LastExit != "" {
					fmt.Fprintf(a.Stdout, "\n%s: its plugin ended last with %s\n", t.Name, t.Plugin.LastExit)
				}
			}
			for _, t := range s.Targets {
				if n := t.Waiting[store.ReasonIdentity]; n > 0 {
					fmt.Fprintf(a.Stdout, "\n%s: %d deliveries wait until a lookup knows their citizens; see `consentd citizen show ID`\n", t.Name, n)
				}
				if n := t.Waiting[store.ReasonLookup]; n > 0 {
					fmt.Fprintf(a.Stdout, "\n%s: %d deliveries wait for a lookup that does not answer\n", t.Name, n)
				}
			}
			for _, t := range s.Targets {
				if t.FuseBlown != nil {
					fmt.Fprintf(a.Stdout, "\n%s: its fuse has blown %s, as more than %d grants were to go within an hour: %d are held, withdrawals go on; "+
						"see what grants so much, then `consentd target release %s`\n", t.Name, ago(t.FuseBlown), t.MaxGrants, t.Waiting[store.ReasonFuse], t.Name)
				}
			}
			for _, l := range s.Lookups {
				if l.Failing != "" {
					fmt.Fprintf(a.Stdout, "\nlookup %s: fails since %s: %s\n", l.Name, ago(l.Since), l.Failing)
				}
			}
			for _, t := range s.Targets {
				if t.Erasures > 0 {
					fmt.Fprintf(a.Stdout, "\n%s: has not confirmed %d erasures, the oldest asked for %s\n", t.Name, t.Erasures, ago(t.OldestErasure))
					if t.ErasureError != "" {
						fmt.Fprintf(a.Stdout, "    %s\n", t.ErasureError)
					}
				}
			}
			if s.Quarantined > 0 {
				fmt.Fprintf(a.Stdout, "\n%d in quarantine: see `consentd quarantine list`\n", s.Quarantined)
			}
			if s.Held > 0 {
				fmt.Fprintf(a.Stdout, "\n%d citizens with held grants: their evidence is older than what was known; see `consentd citizen show ID`\n", s.Held)
			}
			return nil
		},
	}
	l.flags(cmd)
	return cmd
}

func count(n int64) string { return strconv.FormatInt(n, 10) }
