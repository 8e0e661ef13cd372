package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
)

func (a *App) target() *cobra.Command {
	return group("target", "Pause a target, resume it, send it everything again, or release its fuse", a.targetPause(), a.targetResume(), a.targetResync(), a.targetRelease())
}

func (a *App) targetPause() *cobra.Command {
	var l live
	var howLong string
	cmd := &cobra.Command{
		Use:   "pause NAME",
		Short: "Send a target nothing more until it is resumed; withdrawals wait as well",
		Long: "Send a target nothing more: no updates, no erasures, and NO WITHDRAWALS. Its work is kept and goes on where it\n" +
			"was, withdrawals first, when the time given with --for is over or `consentd target resume` ends it. The pause\n" +
			"survives restarts and reloads. `consentd status` and the metric consentd_target_held show it, and the log\n" +
			"goes on warning of withdrawals that are not confirmed in time.",
		Example: "  consentd target pause crm --for 2h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if howLong != "" {
				if d, err := config.ParseDuration(howLong); err != nil || d <= 0 {
					return usage("--for %q is no duration: give a number and a unit, such as 30m, 2h or 1d", howLong)
				}
			}
			p, err := l.client().PauseTarget(cmd.Context(), args[0], howLong)
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, p)
			}
			ends := fmt.Sprintf("until `consentd target resume %s`", p.Target)
			if p.Until != nil {
				ends = fmt.Sprintf("until %s, or %s", p.Until.Format(timeLayout), ends[len("until "):])
			}
			fmt.Fprintf(a.Stdout, "%s is paused %s\n", p.Target, ends)
			fmt.Fprintf(a.Stdout, "WITHDRAWALS WAIT AS WELL: until then %s goes on holding what it has of whoever withdraws. %d wait now, of %d pending deliveries.\n", p.Target, p.Withdrawals, p.Pending)
			if p.InFlight > 0 {
				fmt.Fprintf(a.Stdout, "%d calls that were in flight have not ended yet\n", p.InFlight)
			}
			return nil
		},
	}
	l.flags(cmd)
	cmd.Flags().StringVar(&howLong, "for", "", "how long, such as 30m, 2h or 1d (default: until it is resumed)")
	return cmd
}

func (a *App) targetResume() *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use:     "resume NAME",
		Short:   "Go on with a target that was paused",
		Long:    "Go on with a target that `consentd target pause` holds back. What its vendor, its plugin or the store holds back\ngoes on by itself.",
		Example: "  consentd target resume crm",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := l.client().ResumeTarget(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, p)
			}
			if !p.Was {
				fmt.Fprintf(a.Stdout, "%s was not paused\n", p.Target)
				return nil
			}
			fmt.Fprintf(a.Stdout, "%s is resumed; %d deliveries are pending, %d of them withdrawals\n", p.Target, p.Pending, p.Withdrawals)
			return nil
		},
	}
	l.flags(cmd)
	return cmd
}

// resynced is what `target resync --json` prints.
type resynced struct {
	Target  string `json:"target"`
	Changed int64  `json:"changed"`
	// Pending is how many were left when --wait ended.
	Pending *int64 `json:"pending,omitempty"`
}

func (a *App) targetResync() *cobra.Command {
	var l live
	var after int64
	var wait bool
	cmd := &cobra.Command{
		Use:   "resync NAME",
		Short: "Send a target everything again, as after it was restored or changed by hand",
		Long: "Make every delivery of a target pending again, dead letters and discarded ones too, and trust nothing that the\n" +
			"target is known to hold: each citizen's newest state is sent, under a new id. Withdrawals that are not\n" +
			"confirmed stay first, fresh ones overtake the rest, and of the rest those who refuse anything go first.\n\n" +
			"It is done in small commits, so updates and the other targets go on. It returns when all are pending; with\n" +
			"--wait, when none of the target is pending any more but those that wait for a lookup. The rate limit holds.\n" +
			"Interrupted, it says how to go on.",
		Example: "  consentd target resync crm --wait",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, p := l.client(), a.progress(l.json)
			defer p.end()
			out := resynced{Target: args[0]}
			for {
				r, err := client.ResyncTarget(cmd.Context(), args[0], after)
				if err != nil {
					p.end()
					if out.Changed > 0 {
						return fmt.Errorf("%w\n%d are pending again; go on with `%s`", err, out.Changed, again(cmd, args, after))
					}
					return err
				}
				out.Changed += int64(r.Changed)
				if after = r.Next; after == 0 {
					break
				}
				p.show("pending again, read", after, r.End)
			}
			var left int64
			var stuck string
			if wait {
				var err error
				if left, stuck, err = a.delivered(cmd.Context(), client, args[0], p); err != nil {
					return err
				}
				out.Pending = &left
			}
			p.end()
			if l.json {
				return printJSON(a.Stdout, out)
			}
			fmt.Fprintf(a.Stdout, "%d deliveries of %s are pending again\n", out.Changed, args[0])
			switch {
			case !wait:
				fmt.Fprintln(a.Stdout, "`consentd status` shows how many are left")
			case left > 0:
				fmt.Fprintf(a.Stdout, "all but %d have ended%s\n", left, stuck)
			default:
				fmt.Fprintln(a.Stdout, "all have ended; `consentd dead list` shows those that stopped")
			}
			return nil
		},
	}
	l.flags(cmd)
	cmd.Flags().Int64Var(&after, "after", 0, "go on after this id, as an interrupted resync says")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until everything was sent")
	return cmd
}

// delivered waits until nothing of a target is pending but what waits for a lookup. It does not wait for one that an
// operator paused.
func (a *App) delivered(ctx context.Context, client *admin.Client, target string, p *progress) (left int64, why string, err error) {
	var most int64
	for {
		s, err := client.Status(ctx)
		if err != nil {
			return left, "", err
		}
		var t *admin.Target
		for i := range s.Targets {
			if s.Targets[i].Name == target {
				t = &s.Targets[i]
			}
		}
		if t == nil {
			return left, "", fmt.Errorf("target %q is not in the configuration any more", target)
		}
		left = t.Pending
		looking := t.Waiting[store.ReasonIdentity] + t.Waiting[store.ReasonLookup]
		switch {
		case left == 0:
			return 0, "", nil
		case left <= looking:
			return left, ", which wait for a lookup", nil
		case t.Pause != nil:
			return left, fmt.Sprintf(": %s is paused, see `consentd target resume %s`", target, target), nil
		}
		most = max(most, left)
		p.show("sent again", most-left, most)
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return left, "", errors.Join(fmt.Errorf("stopped waiting; %d are pending, and go on being sent", left), ctx.Err())
		}
	}
}
