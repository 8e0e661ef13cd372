package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/admin"
)

// completeWithin bounds how long a shell waits for what the daemon knows.
const completeWithin = 2 * time.Second

// completions gives commands what their arguments and flags can be: of what is fixed, the plugins there are, and what
// a daemon that runs answers. Without one the shell has nothing to offer, and says nothing.
func (a *App) completions(cmd *cobra.Command) {
	fixed := map[string][]string{
		"reason": {"rule", "rejected", "crash", "exhausted"},
		"role":   {"read", "operator"},
	}
	for name, values := range fixed {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	live := cmd.Flags().Lookup("address") != nil
	for name, of := range map[string]func(admin.Status) []string{"target": targetNames, "source": sourceNames} {
		if live && cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, answers(of))
		}
	}
	switch path := strings.TrimPrefix(cmd.CommandPath(), "consentd "); path {
	case "target pause", "target resume", "target resync":
		cmd.ValidArgsFunction = first(answers(targetNames))
	case "plugin describe", "plugin check":
		cmd.ValidArgsFunction = first(func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var types []string
			for _, p := range a.Plugins {
				types = append(types, p.Type)
			}
			slices.Sort(types)
			return types, cobra.ShellCompDirectiveNoFileComp
		})
	}
	for _, sub := range cmd.Commands() {
		a.completions(sub)
	}
}

func targetNames(s admin.Status) (names []string) {
	for _, t := range s.Targets {
		names = append(names, t.Name)
	}
	return names
}

func sourceNames(s admin.Status) (names []string) {
	for _, src := range s.Sources {
		names = append(names, src.Name)
	}
	return names
}

// answers asks the daemon that the command's flags name.
func answers(of func(admin.Status) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		var l live
		l.address, _ = cmd.Flags().GetString("address")
		l.tls.CA, _ = cmd.Flags().GetString("ca-cert")
		l.tls.Cert, _ = cmd.Flags().GetString("client-cert")
		l.tls.Key, _ = cmd.Flags().GetString("client-key")
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completeWithin)
		defer cancel()
		s, err := l.client().Status(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return of(s), cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes the first argument alone.
func first(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, word)
	}
}
