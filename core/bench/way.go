package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// way measures the way of an update, from the answer alone to the delivery, beside what it is compared with.
func (o options) way(ctx context.Context, round int) error {
	s, err := newSink()
	if err != nil {
		return err
	}
	defer s.listener.Close()
	url := "http://" + s.listener.Addr().String()
	rates := map[string]result{}
	for _, kind := range []struct{ name, what, sink string }{
		{"bare", "handler without a store", ""}, {"append", "append and fdatasync", ""}, {"prototype", "append, fdatasync and post", url},
	} {
		before := s.taken.Load()
		r, err := o.reference(ctx, kind.name, kind.sink)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.what, err)
		}
		r.deliveries = float64(s.taken.Load()-before) / o.time.Seconds()
		rates[kind.name] = r
		print(round, kind.what, r)
	}
	for _, kind := range []struct {
		name, what string
		targets    []string
	}{
		{"acks", "durable acks", nil},
		{"calls", "acked and delivered, a call each", []string{fmt.Sprintf(webhookTarget, "sink", url)}},
		{"batches", "acked and delivered, in batches", []string{fmt.Sprintf(fileTarget, "sink", filepath.Join(o.dir, fmt.Sprint("sink", round)))}},
	} {
		r, err := o.whole(ctx, fmt.Sprint(kind.name, round), kind.targets...)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.what, err)
		}
		rates[kind.name] = r
		print(round, kind.what, r)
	}
	ratio := func(a, b string) float64 { return rates[a].acks / rates[b].acks }
	fmt.Printf("%5d  ratios: acks/bare %.2f, acks/append %.2f, calls/prototype %.2f, batches/prototype %.2f\n", round,
		ratio("acks", "bare"), ratio("acks", "append"), rates["calls"].deliveries/rates["prototype"].deliveries,
		rates["batches"].deliveries/rates["prototype"].deliveries)
	return nil
}

// whole runs a daemon with these targets under the load.
func (o options) whole(ctx context.Context, name string, targets ...string) (result, error) {
	d, err := o.newDaemon(name, targets...)
	if err != nil {
		return result{}, err
	}
	if _, err := d.start(ctx); err != nil {
		return result{}, err
	}
	defer d.stop()
	return o.under(ctx, d, func() ([]time.Duration, error) { return o.load(d.listener) })
}

// fanout measures what more targets cost.
func (o options) fanout(ctx context.Context, round int) error {
	s, err := newSink()
	if err != nil {
		return err
	}
	defer s.listener.Close()
	for _, n := range o.targets {
		var targets []string
		for i := range n {
			targets = append(targets, fmt.Sprintf(webhookTarget, fmt.Sprint("sink", i), "http://"+s.listener.Addr().String()))
		}
		r, err := o.whole(ctx, fmt.Sprint("fanout", round, "-", n), targets...)
		if err != nil {
			return err
		}
		print(round, fmt.Sprintf("acked and delivered to %d targets", n), r)
	}
	return nil
}
