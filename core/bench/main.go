// Command bench says what the daemon costs on this machine. Everything runs here and now in one go, because only
// ratios of one run mean anything on a shared machine:
//
//	go run ./core/bench                  # every measurement, some minutes
//	go run ./core/bench -only way        # those whose name matches
//	go run ./core/bench -only growth -grow 10000,100000,1000000
//
// It builds consentd, speaks to 127.0.0.1 alone, and stops by itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

func main() {
	o := options{loads: new(atomic.Int64), targets: []int{1, 4, 16}, grow: []int{10_000, 100_000}}
	serve := flag.String("serve", "", "serve bare, append or prototype at -at (for the bench itself)")
	at := flag.String("at", "", "where -serve listens, and with prototype a comma and where that posts to")
	only := flag.String("only", "", "measure only what matches this regular expression")
	flag.DurationVar(&o.time, "time", 10*time.Second, "length of each measurement")
	flag.IntVar(&o.senders, "senders", 64, "connections that send at once")
	flag.IntVar(&o.citizens, "citizens", 20_000, "how many citizens the updates are of")
	flag.IntVar(&o.permissions, "permissions", 5, "how many permissions an update has")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each measurement is repeated, in turns")
	flag.IntVar(&o.pending, "pending", 50_000, "citizens whose deliveries to two dead targets are pending in the measurement `down`")
	flag.IntVar(&o.rate, "rate", 2000, "updates a second in the measurement `down`")
	flag.Var((*numbers)(&o.targets), "targets", "how many targets the measurement `fanout` delivers to")
	flag.Var((*numbers)(&o.grow), "grow", "how many citizens the measurement `growth` has known, one after the other")
	flag.Float64Var(&o.cores, "cores", 0.2, "how many cores each replica may use in the measurement `quotas`")
	flag.StringVar(&o.postgres, "postgres", "", "folder in which PostgreSQL keeps its databases, that of temporary files if empty")
	flag.Parse()
	if *serve != "" {
		exit(serveReference(*serve, *at))
	}
	which, err := regexp.Compile(*only)
	if err != nil {
		exit(fmt.Errorf("-only: %w", err))
	}
	exit(o.run(context.Background(), which))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// numbers is a flag: 1,4,16.
type numbers []int

func (n *numbers) String() string { return strings.Trim(fmt.Sprint([]int(*n)), "[]") }

func (n *numbers) Set(s string) error {
	*n = nil
	for part := range strings.SplitSeq(s, ",") {
		i, err := strconv.Atoi(part)
		if err != nil || i < 1 {
			return fmt.Errorf("%q is no number above zero", part)
		}
		*n = append(*n, i)
	}
	return nil
}

type options struct {
	time              time.Duration
	senders, citizens int
	permissions       int
	rounds            int
	pending, rate     int
	targets, grow     []int
	cores             float64
	binary, dir       string
	postgres          string        // the folder of its clusters
	loads             *atomic.Int64 // so far
}

// measurements are what can be measured, in this order.
var measurements = []struct {
	name string
	run  func(options, context.Context, int) error
}{
	{"way", options.way},
	{"fanout", options.fanout},
	{"down", options.down},
	{"growth", options.growth},
	{"replicas", options.replicas},
	{"quotas", options.quotas},
	{"benthos", options.benthos},
}

func (o options) run(ctx context.Context, which *regexp.Regexp) error {
	dir, err := os.MkdirTemp("", "consentd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.dir, o.binary = dir, filepath.Join(dir, "consentd")
	build := exec.Command("go", "build", "-o", o.binary, "github.com/consentd/consentd/core/cmd/consentd")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build consentd: %w", err)
	}
	fmt.Printf("%d senders, %d citizens, %d byte updates, %v each\n\n", o.senders, o.citizens, len(newUpdates(1, o.permissions, 0).next()), o.time)
	fmt.Printf("%-5s  %-34s  %10s  %12s  %9s  %9s  %12s  %9s  %9s\n",
		"round", "what", "acks/s", "deliveries/s", "ack p50", "ack p99", "CPU s/1000", "daemon", "plugins")
	for round := 1; round <= o.rounds; round++ {
		for _, m := range measurements {
			if !which.MatchString(m.name) {
				continue
			}
			switch err := m.run(o, ctx, round); {
			case errors.As(err, new(missing)):
				fmt.Printf("%5d  %s is not measured: %v\n", round, m.name, err)
			case err != nil:
				return fmt.Errorf("measure %s: %w", m.name, err)
			}
			fmt.Println()
		}
	}
	return nil
}

// missing is what this machine lacks for a measurement.
type missing struct{ error }

// result is of one measurement. Rates are a second, sizes in bytes.
type result struct {
	acks, deliveries float64
	p50, p99         time.Duration
	cpu              time.Duration // of daemon and plugins, for a thousand updates
	daemon, plugins  int64         // resident at the end
}

func print(round int, what string, r result) {
	fmt.Printf("%5d  %-34s  %10.0f  %12.0f  %9v  %9v  %12.3f  %6d MB  %6d MB\n", round, what, r.acks, r.deliveries,
		r.p50.Round(100*time.Microsecond), r.p99.Round(100*time.Microsecond), r.cpu.Seconds(), r.daemon>>20, r.plugins>>20)
}
