package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// replicated is a set of daemons over one state.
type replicated struct {
	what     string
	replicas int     // over PostgreSQL; 0: one over SQLite
	cores    float64 // that each may use; 0: all
	deliver  bool
}

// lease is that of replicas. A quarter of it after the last one came all have their part of what is delivered.
const lease = 8 * time.Second

// replicas measures one daemon over SQLite, and one and three over PostgreSQL, which runs on the same cores and disk, from
// the server's own binaries and with its own settings.
func (o options) replicas(ctx context.Context, round int) error {
	r, err := o.all(ctx, round,
		replicated{"SQLite, acks", 0, 0, false}, replicated{"PostgreSQL, acks", 1, 0, false}, replicated{"three replicas, acks", 3, 0, false},
		replicated{"SQLite, acked and delivered", 0, 0, true}, replicated{"PostgreSQL, acked and delivered", 1, 0, true},
		replicated{"three replicas, acked and delivered", 3, 0, true})
	if err != nil {
		return err
	}
	fmt.Printf("%5d  ratios, acks: PostgreSQL/SQLite %.2f, three/one %.2f; with deliveries: %.2f, %.2f\n", round,
		r[1].acks/r[0].acks, r[2].acks/r[1].acks, r[4].deliveries/r[3].deliveries, r[5].deliveries/r[4].deliveries)
	return nil
}

// quotas measures one and three replicas of which each may use so little CPU that the server, the load and the disk are
// not what limits them.
func (o options) quotas(ctx context.Context, round int) error {
	what := func(replicas, does string) string {
		return fmt.Sprintf("%s of %.2g cores, %s", replicas, o.cores, does)
	}
	r, err := o.all(ctx, round,
		replicated{what("one", "acks"), 1, o.cores, false}, replicated{what("three", "acks"), 3, o.cores, false},
		replicated{what("one", "delivered"), 1, o.cores, true}, replicated{what("three", "delivered"), 3, o.cores, true})
	if err != nil {
		return err
	}
	fmt.Printf("%5d  ratios, three/one: acks %.2f, deliveries %.2f\n", round, r[1].acks/r[0].acks, r[3].deliveries/r[2].deliveries)
	return nil
}

func (o options) all(ctx context.Context, round int, sets ...replicated) (results []result, err error) {
	server, err := pgtest.StartIn(o.postgres)
	if err != nil {
		return nil, missing{err}
	}
	defer server.Remove()
	sink, err := newSink()
	if err != nil {
		return nil, err
	}
	defer sink.listener.Close()
	for i, set := range sets {
		r, err := o.together(ctx, server, sink, fmt.Sprintf("set%d-%d", round, i), set)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.what, err)
		}
		print(round, set.what, r)
		results = append(results, r)
	}
	return results, nil
}

// together runs a set. CPU and memory are of all its daemons and plugins, without the server's.
func (o options) together(ctx context.Context, server *pgtest.Cluster, sink *sink, name string, set replicated) (result, error) {
	dsn := ""
	if set.replicas > 0 {
		database := "bench" + fmt.Sprint(time.Now().UnixNano())
		if err := server.Exec("postgres", "CREATE DATABASE "+database); err != nil {
			return result{}, err
		}
		dsn = server.DSN(database)
	}
	var targets []string
	if set.deliver {
		targets = []string{fmt.Sprintf(webhookTarget, "sink", "http://"+sink.listener.Addr().String())}
	}
	var all []*daemon
	var listeners []string
	for i := range max(1, set.replicas) {
		d, err := o.newReplica(fmt.Sprint(name, "-", i), dsn, targets...)
		if err != nil {
			return result{}, err
		}
		d.cores = set.cores
		if _, err := d.start(ctx); err != nil {
			return result{}, err
		}
		defer d.stop()
		all, listeners = append(all, d), append(listeners, d.listener)
	}
	if set.replicas > 1 {
		time.Sleep(lease / 2)
	}
	var daemons, plugins []int
	for _, d := range all[1:] {
		of, err := d.plugins(ctx)
		if err != nil {
			return result{}, err
		}
		daemons, plugins = append(daemons, d.cmd.Process.Pid), append(plugins, of...)
	}
	others := slices.Concat(daemons, plugins)
	used, sent := cpu(others...), 0
	// What is delivered is counted in the shared state, so one of them tells it for all.
	r, err := o.under(ctx, all[0], func() ([]time.Duration, error) {
		took, err := o.load(listeners...)
		sent = len(took)
		return took, err
	})
	if err != nil {
		return result{}, err
	}
	r.cpu += (cpu(others...) - used) * 1000 / time.Duration(sent)
	r.daemon += resident(daemons...)
	r.plugins += resident(plugins...)
	return r, nil
}
