package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// down measures acks at a steady rate while two targets are down and deliveries to them are pending, and then how long
// a start takes on top of that after a kill.
func (o options) down(ctx context.Context, round int) error {
	address, err := freeAddress() // nobody listens there
	if err != nil {
		return err
	}
	d, err := o.newDaemon(fmt.Sprint("down", round), fmt.Sprintf(webhookTarget, "one", "http://"+address), fmt.Sprintf(webhookTarget, "two", "http://"+address),
		fmt.Sprintf(fileTarget, "good", filepath.Join(o.dir, fmt.Sprint("good", round))))
	if err != nil {
		return err
	}
	if _, err := d.start(ctx); err != nil {
		return err
	}
	defer func() { d.stop() }()
	r, err := o.steady(ctx, d)
	if err != nil {
		return err
	}
	print(round, fmt.Sprintf("%d/s, two targets down", o.rate), r)
	many := o
	many.citizens = o.pending
	if err := many.fill(d.listener); err != nil {
		return err
	}
	if r, err = many.steady(ctx, d); err != nil {
		return err
	}
	print(round, fmt.Sprintf("the same, %d pending", 2*o.pending), r)
	d.kill()
	ready, err := d.start(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%5d  ready %v after a kill on top of that\n", round, ready.Round(time.Millisecond))
	return nil
}

func (o options) steady(ctx context.Context, d *daemon) (result, error) {
	return o.under(ctx, d, func() ([]time.Duration, error) { return o.loadAt(d.listener, o.rate) })
}

// growth measures acks and size while ever more citizens are known.
func (o options) growth(ctx context.Context, round int) error {
	d, err := o.newDaemon(fmt.Sprint("growth", round), fmt.Sprintf(fileTarget, "sink", filepath.Join(o.dir, fmt.Sprint("growth-sink", round))))
	if err != nil {
		return err
	}
	if _, err := d.start(ctx); err != nil {
		return err
	}
	defer func() { d.stop() }()
	for _, n := range o.grow {
		o.citizens = n
		if err := o.fill(d.listener); err != nil {
			return err
		}
		r, err := o.under(ctx, d, func() ([]time.Duration, error) { return o.load(d.listener) })
		if err != nil {
			return err
		}
		print(round, fmt.Sprintf("%d citizens known", n), r)
		size, err := os.Stat(filepath.Join(d.dir, "consentd.db"))
		if err != nil {
			return err
		}
		fmt.Printf("%5d  %d bytes a citizen\n", round, size.Size()/int64(n))
	}
	return nil
}
