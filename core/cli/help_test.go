package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// verbs are the commands that do something and that a user calls.
func verbs(cmd *cobra.Command) (all []*cobra.Command) {
	if cmd.Hidden {
		return nil
	}
	for _, sub := range cmd.Commands() {
		all = append(all, verbs(sub)...)
	}
	if !cmd.HasSubCommands() {
		all = append(all, cmd)
	}
	return all
}

// TestHelp: every verb says what it does and shows how it is called, and every example is a call that it takes.
func TestHelp(t *testing.T) {
	all := verbs((&App{}).root())
	if len(all) < 40 {
		t.Errorf("only %d verbs were found", len(all))
	}
	// What a shell takes away before: variables in front, and where output goes.
	shell := regexp.MustCompile(`^([A-Z_]+=\S+ )*| >>? \S+$`)
	for _, cmd := range all {
		path := cmd.CommandPath()
		if cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s: Long or Example is empty", path)
		}
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			line, indented := strings.CutPrefix(line, "  ")
			words := strings.Fields(shell.ReplaceAllString(line, ""))
			if !indented || len(words) == 0 || words[0] != "consentd" {
				t.Errorf("%s: %q is no call of consentd, two spaces in", path, line)
				continue
			}
			root := (&App{}).root() // flags keep what they were set to
			found, rest, err := root.Find(words[1:])
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err == nil {
				err = found.ValidateRequiredFlags()
			}
			if err != nil || found.CommandPath() != path {
				t.Errorf("%s: %s: %v", path, line, err)
			}
		}
	}
}
