package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
)

func (a *App) options() *cobra.Command {
	return group("options", "Say what the sender's option ids mean", a.optionsList(), a.optionsGenerate())
}

// asking is what the verbs share that ask the sender's API themselves, without the daemon.
type asking struct {
	configured
	source string
}

func (q *asking) flags(cmd *cobra.Command) {
	q.configured.flags(cmd)
	cmd.Flags().StringVar(&q.source, "source", "", "the source whose sender is asked (may be left out if there is one)")
}

// askTimeout bounds how long somebody waits for the sender's API.
const askTimeout = time.Minute

// api loads the configuration and makes a client of the source's API.
func (a *App) api(c configured, name string) (*config.Config, config.Source, *cpm.Client, error) {
	cfg, err := a.load(c)
	if err != nil {
		return nil, config.Source{}, nil, err
	}
	s, err := chooseSource(cfg, name)
	if err != nil {
		return nil, s, nil, err
	}
	if s.API == nil {
		return nil, s, nil, usage("source %q has no api block, which says how its sender is asked; add one, such as api { environment = \"eu\" api_key = env(\"CPM_API_KEY\") }", s.Name)
	}
	client, err := cpm.New(s.API.Config, a.quietLogger())
	return cfg, s, client, err
}

func (a *App) optionsList() *cobra.Command {
	var q asking
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the sender's options: their ids, what they mean, and what the configuration calls them",
		Long: "Ask the sender's API for its options, and list the id of each, its purpose, data and party, and the name of the option\n" +
			"block that has the id. It asks by itself, with the source's api block, and needs no daemon.",
		Example: "  consentd options list --config config.hcl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, all, err := a.askOptions(cmd.Context(), q)
			if err != nil {
				return err
			}
			if q.json {
				return printJSON(a.Stdout, all)
			}
			t := newTable(a.Stdout, "ID", "PURPOSE", "DATA", "PARTY", "OPTION")
			for _, o := range all {
				t.row(o.ID, o.Purpose, o.Data, o.Party, nameOf(cfg, o.ID))
			}
			return t.flush()
		},
	}
	q.flags(cmd)
	cmd.Flags().BoolVar(&q.json, "json", false, "print JSON")
	return cmd
}

func (a *App) optionsGenerate() *cobra.Command {
	var q asking
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Write option blocks for the ids that the configuration does not name yet",
		Long: "Ask the sender's API for its options, and print a block for each id that no option block of the configuration has yet,\n" +
			"with what it means as a comment. The names are made of that: change them before rules use them.",
		Example: "  consentd options generate --config config.hcl > options.hcl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, all, err := a.askOptions(cmd.Context(), q)
			if err != nil {
				return err
			}
			taken := map[string]bool{}
			for _, o := range cfg.Names.Options {
				taken[o.Name] = true
			}
			var text strings.Builder
			for _, o := range all {
				if nameOf(cfg, o.ID) != "" {
					continue
				}
				name := unique(slug(o), taken)
				if text.Len() > 0 {
					text.WriteString("\n")
				}
				fmt.Fprintf(&text, "# %s\noption %q {\n  id = %q\n}\n", strings.ReplaceAll(o.Label(), "\n", " "), name, o.ID)
			}
			if text.Len() == 0 {
				fmt.Fprintln(a.Stderr, "Every option of the sender has a name already.")
				return nil
			}
			formatted, _ := config.Format([]byte(text.String()), "options.hcl")
			_, err = a.Stdout.Write(formatted)
			return err
		},
	}
	q.flags(cmd)
	return cmd
}

// askOptions asks for the options, and keeps the answer for explain.
func (a *App) askOptions(ctx context.Context, q asking) (*config.Config, config.Source, []cpm.Option, error) {
	cfg, s, client, err := a.api(q.configured, q.source)
	if err != nil {
		return nil, s, nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	all, err := client.Options(ctx)
	if err == nil {
		// That they cannot be kept is no reason not to show them.
		_ = keepOptions(s, all)
		return cfg, s, all, nil
	}
	if kept := keptOptions(s); kept != nil && !errors.Is(err, cpm.ErrRefused) {
		fmt.Fprintf(a.Stderr, "%v\nThis is what it said before.\n", err)
		return cfg, s, kept, nil
	}
	return nil, s, nil, environment(err)
}

// nameOf is what the configuration calls an option id; "" if it does not.
func nameOf(cfg *config.Config, id string) string {
	var names []string
	for _, o := range cfg.Names.Options {
		if o.ID == id {
			names = append(names, o.Name)
		}
	}
	return strings.Join(names, ", ")
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// slug is a name for an option made of what it means.
func slug(o cpm.Option) string {
	s := strings.Trim(notWord.ReplaceAllString(strings.ToLower(strings.Join([]string{o.Purpose, o.Data}, " ")), "_"), "_")
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		s = "option_" + s
	}
	return strings.Trim(s, "_")
}

func unique(name string, taken map[string]bool) string {
	for n, try := 2, name; ; n++ {
		if !taken[try] {
			taken[try] = true
			return try
		}
		try = fmt.Sprintf("%s_%d", name, n)
	}
}

// namesFile is where the names of a source's options are kept: they are no secret and nothing of a person.
func namesFile(s config.Source) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil || s.API == nil {
		return "", errors.Join(err, errors.ErrUnsupported)
	}
	of := sha256.Sum256([]byte(s.API.BaseURL + "\x00" + s.API.Application))
	return filepath.Join(dir, "consentd", fmt.Sprintf("options-%x.json", of[:8])), nil
}

func keepOptions(s config.Source, all []cpm.Option) error {
	file, err := namesFile(s)
	if err != nil {
		return err
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// keptOptions is what was kept last; nil if there is nothing.
func keptOptions(s config.Source) []cpm.Option {
	file, err := namesFile(s)
	if err != nil {
		return nil
	}
	data, err := os.ReadFile(file)
	var all []cpm.Option
	if err != nil || json.Unmarshal(data, &all) != nil {
		return nil
	}
	return all
}

// legend says what the option ids of a state mean, as far as `options list` has learnt it.
func (a *App) legend(cfg *config.Config, s config.Source, state consent.State) {
	known := keptOptions(s)
	var said []string
	for _, p := range state.Permissions {
		i := slices.IndexFunc(known, func(o cpm.Option) bool { return o.ID == p.OptionID })
		if i < 0 || slices.Contains(said, p.OptionID) {
			continue
		}
		said = append(said, p.OptionID)
		line := fmt.Sprintf("# %s: %s", p.OptionID, known[i].Label())
		if name := nameOf(cfg, p.OptionID); name != "" {
			line += " (option " + name + ")"
		}
		fmt.Fprintln(a.Stdout, line)
	}
	if len(said) > 0 {
		fmt.Fprintln(a.Stdout)
	}
}
