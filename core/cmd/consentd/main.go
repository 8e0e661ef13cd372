// Command consentd brings every system to what each citizen allows. This file is the only place that knows
// both the core and the bundled plugins.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/consentd/consentd/core/cli"
	"github.com/consentd/consentd/plugins"
)

// version is set by the release build.
var version = "0.1.0-dev"

func main() {
	// A second signal ends the process at once, as users expect of a drain that takes too long.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	// One more reload than the one under way is enough, however often it is asked for.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	app := &cli.App{
		Version: version,
		Hangup:  hangup,
		Plugins: plugins.Bundled(),
		Stdin:   os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	for _, s := range plugins.Simulators() {
		app.Simulators = append(app.Simulators, cli.Simulator(s))
	}
	os.Exit(app.Main(ctx, os.Args[1:]))
}
