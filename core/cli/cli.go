// Package cli is the command line: one file a verb. It knows no plugin by name; main hands it the bundled
// ones.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/sdk"
)

// Exit codes.
const (
	exitOK          = 0
	exitRuntime     = 1
	exitUsage       = 2 // configuration or usage
	exitEnvironment = 3 // what is around it: an address in use, a disk, a store that cannot be opened
)

// App is what main hands the command line.
type App struct {
	Version string
	// Plugins are the bundled ones, Simulators those of their vendors for run --dev.
	Plugins    []sdk.Plugin
	Simulators []Simulator
	// Hangup, if not nil, receives when the daemon is to reload its configuration.
	Hangup <-chan os.Signal
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Simulator plays a vendor.
type Simulator struct {
	Type string
	New  func(notify func(line string)) http.Handler
}

// exitError gives an error its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func environment(err error) error { return &exitError{exitEnvironment, err} }

// errSilent is an exit code without another word: everything has been printed.
var errSilent = errors.New("")

// Main runs one command and returns the exit code. The commands stop when ctx ends.
func (a *App) Main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitRuntime
	var withCode *exitError
	switch {
	case errors.As(err, &withCode):
		code = withCode.code
	case errors.Is(err, admin.ErrNotRunning):
		code = exitEnvironment
	case errors.Is(err, admin.ErrAddress), errors.Is(err, admin.ErrFiles):
		code = exitUsage
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(a.Stderr, "Error: %s\n", text)
	}
	return code
}

func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "consentd",
		Short: "Bring every system to what each citizen allows",
		Long: "consentd receives consent webhooks, keeps each citizen's newest state, and brings Salesforce, Mailchimp\n" +
			"and other targets to it through plugins.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(
		a.run(), a.plan(), a.reload(), a.validate(), a.fmt(), a.test(), a.explain(), a.send(), a.status(), a.dead(), a.quarantine(), a.citizen(), a.target(), a.receipts(), a.store(), a.plugin(), a.token(), a.man(), a.version(),
		a.source(), a.options(), a.reconcile(),
	)
	mistakes(root)
	a.completions(root)
	return root
}

// mistakes makes cobra's errors about arguments and flags usage errors that say what to type.
func mistakes(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 2
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) {
			if near := nearestFlag(c, unknown.GetSpecifiedName()); near != "" {
				err = fmt.Errorf("%w; did you mean --%s?", err, near)
			}
		}
		return usage("%w\nRun '%s --help' for its flags", err, c.CommandPath())
	})
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage("%s%s\nRun '%s --help' for how it is used", err, suggestion(c, args), c.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		mistakes(sub)
	}
}

func suggestion(c *cobra.Command, args []string) string {
	if !c.HasSubCommands() || len(args) == 0 {
		return ""
	}
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Sprintf("; did you mean %q?", near[0])
	}
	return ""
}

func nearestFlag(c *cobra.Command, name string) string {
	best, distance := "", 3
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if d := levenshtein.Distance(name, f.Name, nil); d < distance {
			best, distance = f.Name, d
		}
	})
	return best
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return usage("%s needs one of its commands", cmd.CommandPath())
		},
	}
	c.AddCommand(subs...)
	return c
}

// live is what the verbs share that speak to a running daemon.
type live struct {
	address string
	tls     admin.TLSFiles
	json    bool
}

func (l *live) flags(cmd *cobra.Command) {
	l.addressFlag(cmd)
	cmd.Flags().BoolVar(&l.json, "json", false, "print JSON")
}

func (l *live) addressFlag(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&l.address, "address", "",
		"admin address of the daemon: host:port, a URL, or unix:///path\n(default $CONSENTD_ADMIN_ADDR, or "+admin.DefaultAddress+")")
	f.StringVar(&l.tls.CA, "ca-cert", "", "PEM file of the authority of an https address (default $CONSENTD_ADMIN_CA_CERT, or the system's)")
	f.StringVar(&l.tls.Cert, "client-cert", "", "PEM file of a client certificate (default $CONSENTD_ADMIN_CLIENT_CERT)")
	f.StringVar(&l.tls.Key, "client-key", "", "PEM file of its key (default $CONSENTD_ADMIN_CLIENT_KEY)")
}

func (l *live) client() *admin.Client {
	or := func(flag, variable string) string {
		if flag == "" {
			return os.Getenv(variable)
		}
		return flag
	}
	address := or(l.address, "CONSENTD_ADMIN_ADDR")
	if address == "" {
		address = admin.DefaultAddress
	}
	files := admin.TLSFiles{CA: l.tls.CA, Cert: l.tls.Cert, Key: l.tls.Key}
	if strings.HasPrefix(address, "https://") {
		files = admin.TLSFiles{
			CA: or(files.CA, "CONSENTD_ADMIN_CA_CERT"), Cert: or(files.Cert, "CONSENTD_ADMIN_CLIENT_CERT"), Key: or(files.Key, "CONSENTD_ADMIN_CLIENT_KEY"),
		}
	}
	return admin.NewClient(address, os.Getenv("CONSENTD_ADMIN_TOKEN")).WithTLS(files)
}

// limitFlag bounds a list; checkLimit says whether it was given well.
func limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", 100, "at most so many, up to 1000")
}

func checkLimit(limit int) error {
	if limit < 1 || limit > 1000 {
		return usage("--limit %d is none: give a number from 1 to 1000", limit)
	}
	return nil
}

// withID makes a verb that speaks of one entry, by the ID that lists show.
func withID(use, short string, run func(ctx context.Context, l *live, id int64) error) *cobra.Command {
	var l live
	cmd := &cobra.Command{
		Use: use + " ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			return run(cmd.Context(), &l, id)
		},
	}
	l.flags(cmd)
	return cmd
}

func parseID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 {
		return 0, usage("%q is no ID: an ID is a number, as `list` shows it", s)
	}
	return id, nil
}

// readInput reads a file, or standard input when it is called "-".
func (a *App) readInput(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(a.Stdin)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, usage("%w", err)
	}
	return data, nil
}
