package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/cpm"
)

func (a *App) source() *cobra.Command {
	return group("source", "Read what the sender knows, and look after its subscription",
		a.sourceBackfill(), a.sourceRepair(), a.sourceStop(), a.sourceRegister(), a.sourceShow(), a.sourceRotate(),
		a.sourceStatus("pause", cpm.Paused, "Pause the subscription at the sender",
			"Pause the subscription at the sender, which loses what changes meanwhile: it is not queued there.",
			"The sender discards what changes from now on. After `consentd source resume NAME`, repair with `consentd source repair NAME`."),
		a.sourceStatus("resume", cpm.Active, "Let a paused subscription go on",
			"Have the sender post again. What changed while the subscription was paused is not sent later: `consentd source repair`\n"+
				"reads it from the sender's API.",
			"What changed while it was paused was not sent, and will not be. Read it now: consentd source repair NAME"))
}

// watched is what the verbs share that begin something which takes long.
type watched struct {
	live
	detach bool
}

func (w *watched) flags(cmd *cobra.Command) {
	w.live.flags(cmd)
	cmd.Flags().BoolVar(&w.detach, "detach", false, "begin it and do not wait for its end")
}

func (a *App) sourceBackfill() *cobra.Command {
	var w watched
	var since, ref string
	cmd := &cobra.Command{
		Use:   "backfill NAME",
		Short: "Read every citizen from the sender's API, as if webhooks had brought them",
		Long: "Read every citizen from the sender's API, as if webhooks had brought them. The daemon does it: it goes on when this\n" +
			"command is ended, and after a restart of the daemon from where it was. Nothing newer is ever put back, what is\n" +
			"known already makes no call at any target, and withdrawals are delivered first.",
		Example: "  consentd source backfill dataguard\n  consentd source backfill dataguard --since 2026-03-01T00:00:00Z",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b := admin.Backfill{ExternalRef: ref}
			if since != "" {
				t, err := time.Parse(time.RFC3339, since)
				if err != nil {
					return usage("--since %q is no RFC 3339 time; write it like 2026-03-02T09:14:05Z", since)
				}
				b.Since = t
			}
			if ref != "" && since != "" {
				return usage("--external-ref reads one citizen whole: leave out --since")
			}
			return a.watch(cmd.Context(), &w, args[0], func(ctx context.Context) (admin.Progress, error) {
				return w.client().Backfill(ctx, args[0], b)
			})
		},
	}
	w.flags(cmd)
	cmd.Flags().StringVar(&since, "since", "", "only who was updated since, RFC 3339 (default everybody)")
	cmd.Flags().StringVar(&ref, "external-ref", "", "only the citizen with this external reference")
	return cmd
}

func (a *App) sourceRepair() *cobra.Command {
	var w watched
	cmd := &cobra.Command{
		Use:   "repair NAME",
		Short: "Read what changed at the sender since everything was known here",
		Long: "Read what changed at the sender since everything was known here. The daemon does it by itself after every start, after\n" +
			"heartbeat without a webhook, and every repair_every; this does it now, as after a pause of the subscription.",
		Example: "  consentd source repair dataguard\n  consentd source repair dataguard --detach",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.watch(cmd.Context(), &w, args[0], func(ctx context.Context) (admin.Progress, error) {
				return w.client().Repair(ctx, args[0])
			})
		},
	}
	w.flags(cmd)
	return cmd
}

func (a *App) sourceStop() *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use:   "stop NAME",
		Short: "Give up the backfill or repair that is under way",
		Long: "Give up the backfill or repair that is under way, for good: it does not go on after a restart either. What it has read\n" +
			"stays known and is delivered. The next repair begins when it is due.",
		Example: "  consentd source stop dataguard",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := l.client().StopSource(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if l.json {
				return printJSON(a.Stdout, n)
			}
			if n.Changed == 0 {
				fmt.Fprintln(a.Stdout, "nothing was under way")
				return nil
			}
			fmt.Fprintln(a.Stdout, "stopped")
			return nil
		},
	}
	l.flags(cmd)
	return cmd
}

// watchEvery is how often it is asked how far something is.
const watchEvery = 200 * time.Millisecond

// watch begins something and shows how it goes until it has ended: a bar on a terminal, JSON lines with --json, and
// else one line at the end.
func (a *App) watch(ctx context.Context, w *watched, source string, begin func(context.Context) (admin.Progress, error)) error {
	p, err := begin(ctx)
	if err != nil {
		return err
	}
	out, isTerminal := a.Stderr.(*os.File)
	isTerminal = isTerminal && term.IsTerminal(int(out.Fd()))
	for last := ""; p.Running && !w.detach; {
		switch {
		case w.json:
			if err := printLine(a.Stdout, p); err != nil {
				return err
			}
		case isTerminal:
			fmt.Fprintf(out, "\r%s", progressBar(p))
		}
		if p.Error != "" && p.Error != last {
			fmt.Fprintf(a.Stderr, "%sit does not go on for now: %s\n", lineBreak(isTerminal), p.Error)
			last = p.Error
		}
		if p.Refused {
			return errors.New("the daemon tries it again by itself; mend the api block and reload, or end it with `consentd source stop " + source + "`")
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return errors.New("the daemon goes on with it; `consentd source stop " + source + "` ends it")
		}
		if p, err = w.client().Progress(ctx, source); err != nil {
			return err
		}
	}
	if isTerminal && !w.json && !w.detach {
		fmt.Fprintf(out, "\r%s\n", progressBar(p))
	}
	switch {
	case w.json:
		if err := printLine(a.Stdout, p); err != nil {
			return err
		}
	case w.detach && p.Running:
		fmt.Fprintln(a.Stdout, "begun")
		return nil
	default:
		fmt.Fprintf(a.Stdout, "%d citizens read: %d are news, %d were known, %d are older than what is known, %d went to quarantine\n",
			p.Read, p.Accepted, p.Unchanged, p.Superseded, p.Quarantined)
	}
	if p.Error != "" {
		return errors.New(p.Error)
	}
	return nil
}

// printSourceAPI says what there is to know of asking a source's sender: what is under way, what failed, and silence.
func (a *App) printSourceAPI(src admin.Source) {
	if src.API == nil {
		return
	}
	p := src.API.Progress
	if p.Running {
		fmt.Fprintf(a.Stdout, "\n%s: a %s is under way, %.0f%%, %d citizens read\n", src.Name, p.Kind, 100*p.Part, p.Read)
	}
	if p.Error != "" && !p.Running {
		fmt.Fprintf(a.Stdout, "\n%s: the last %s ended early: %s; everything is known up to %s\n", src.Name, p.Kind, p.Error, ago(src.API.KnownUntil))
	} else if p.Error != "" {
		fmt.Fprintf(a.Stdout, "\n%s: the sender's API: %s; everything is known up to %s\n", src.Name, p.Error, ago(src.API.KnownUntil))
	}
	if src.API.Silent {
		fmt.Fprintf(a.Stdout, "\n%s: no webhook came for longer than heartbeat; `consentd source show %s --config ...` says whether the subscription is paused\n", src.Name, src.Name)
	}
}

func lineBreak(isTerminal bool) string {
	if isTerminal {
		return "\n"
	}
	return ""
}

// progressBar is how far something is, in one line of a terminal.
func progressBar(p admin.Progress) string {
	const width = 30
	done := min(width, int(p.Part*width))
	return fmt.Sprintf("%s [%s%s] %3.0f%%  %d citizens, %d news ", p.Kind, strings.Repeat("#", done), strings.Repeat(".", width-done), 100*p.Part, p.Read, p.Accepted)
}

// printLine prints JSON in one line.
func printLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
