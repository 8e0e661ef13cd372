package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// paged is what lists share that come in pages.
type paged struct {
	after int64
	limit int
}

func (p *paged) flags(cmd *cobra.Command) {
	limitFlag(cmd, &p.limit)
	cmd.Flags().Int64Var(&p.after, "after", 0, "only those after this id: the next page")
}

// more says how to get the page that follows, if one does.
func more(w io.Writer, cmd *cobra.Command, args []string, next int64) {
	if next != 0 {
		fmt.Fprintf(w, "\nThere are more: %s\n", again(cmd, args, next))
	}
}

// again is the command as it was given, but for where it begins.
func again(cmd *cobra.Command, args []string, after int64) string {
	words := []string{cmd.CommandPath()}
	for _, a := range args {
		words = append(words, quoted(a))
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch {
		case f.Name == "after":
		case f.Value.Type() == "bool":
			words = append(words, "--"+f.Name)
		default:
			words = append(words, "--"+f.Name+" "+quoted(f.Value.String()))
		}
	})
	return strings.Join(append(words, "--after "+strconv.FormatInt(after, 10)), " ")
}

// quoted is a word as a shell takes it.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.,:/@%+=") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
