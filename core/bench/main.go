// Command bench says what the daemon costs on this machine: durable acks beside the same handler without a
// store, acks and deliveries at once into a loopback HTTP target, and memory. Everything runs here and now in
// one go, because only ratios of one run mean anything on a shared machine:
//
//	go run ./core/bench
//
// It builds consentd, speaks to 127.0.0.1 alone, and stops by itself.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func main() {
	var o options
	bare := flag.String("bare", "", "serve the handler without a store at this address (for the bench itself)")
	flag.DurationVar(&o.time, "time", 10*time.Second, "length of each measurement")
	flag.IntVar(&o.senders, "senders", 64, "connections that send at once")
	flag.IntVar(&o.citizens, "citizens", 20_000, "how many citizens the updates are of")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each measurement is repeated, in turns")
	flag.Parse()
	run := o.run
	if *bare != "" {
		run = func(context.Context) error { return serveBare(*bare) }
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	time              time.Duration
	senders, citizens int
	rounds            int
}

func (o options) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "consentd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "consentd")
	build := exec.Command("go", "build", "-o", binary, "github.com/consentd/consentd/core/cmd/consentd")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build consentd: %w", err)
	}
	fmt.Printf("%d senders, %d citizens, %d byte updates, %v each\n\n", o.senders, o.citizens, len(newUpdates(1).next()), o.time)
	fmt.Printf("%-5s  %-26s  %10s  %12s  %9s  %9s  %12s  %9s  %9s\n",
		"round", "what", "acks/s", "deliveries/s", "ack p50", "ack p99", "CPU s/1000", "daemon", "plugin")
	for round := range o.rounds {
		bare, err := o.measureBare(ctx)
		if err != nil {
			return fmt.Errorf("measure the bare handler: %w", err)
		}
		print(round, "handler without a store", bare)
		durable, err := o.measure(ctx, binary, filepath.Join(dir, fmt.Sprint("durable", round)), false)
		if err != nil {
			return fmt.Errorf("measure acks: %w", err)
		}
		print(round, "durable acks", durable)
		whole, err := o.measure(ctx, binary, filepath.Join(dir, fmt.Sprint("whole", round)), true)
		if err != nil {
			return fmt.Errorf("measure the whole way: %w", err)
		}
		print(round, "acks and deliveries", whole)
		fmt.Printf("%5d  ratios: durable/bare %.2f, whole/durable %.2f, deliveries/acks %.2f\n\n", round+1,
			durable.acks/bare.acks, whole.acks/durable.acks, whole.deliveries/whole.acks)
	}
	return nil
}

// result is of one measurement. Rates are a second, sizes in bytes.
type result struct {
	acks, deliveries float64
	p50, p99         time.Duration
	cpu              time.Duration // of daemon and plugin, for a thousand updates
	daemon, plugin   int64         // resident at the end
}

func print(round int, what string, r result) {
	fmt.Printf("%5d  %-26s  %10.0f  %12.0f  %9v  %9v  %12.3f  %6d MB  %6d MB\n", round+1, what, r.acks, r.deliveries,
		r.p50.Round(100*time.Microsecond), r.p99.Round(100*time.Microsecond), r.cpu.Seconds(), r.daemon>>20, r.plugin>>20)
}
