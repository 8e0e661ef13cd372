package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// replicas measures one daemon over SQLite, and one and three over PostgreSQL, which runs on the same cores, from the
// server's own binaries and with its own settings, so each commit is on disk.
func (o options) replicas(ctx context.Context, round int) error {
	server, err := pgtest.Start()
	if err != nil {
		return err
	}
	defer server.Remove()
	rates := map[string]float64{}
	for _, run := range []struct {
		what     string
		replicas int // 0: SQLite
		deliver  bool
	}{
		{"SQLite, acks", 0, false}, {"PostgreSQL, acks", 1, false}, {"three replicas, acks", 3, false},
		{"SQLite, acked and delivered", 0, true}, {"PostgreSQL, acked and delivered", 1, true}, {"three replicas, acked and delivered", 3, true},
	} {
		r, err := o.together(ctx, server, fmt.Sprintf("replicas%d-%d-%v", round, run.replicas, run.deliver), run.replicas, run.deliver)
		if err != nil {
			return fmt.Errorf("%s: %w", run.what, err)
		}
		rates[run.what] = r.acks
		print(round, run.what, r)
	}
	fmt.Printf("%5d  ratios, acks: PostgreSQL/SQLite %.2f, three/one %.2f; with deliveries: %.2f, %.2f\n", round,
		rates["PostgreSQL, acks"]/rates["SQLite, acks"], rates["three replicas, acks"]/rates["PostgreSQL, acks"],
		rates["PostgreSQL, acked and delivered"]/rates["SQLite, acked and delivered"],
		rates["three replicas, acked and delivered"]/rates["PostgreSQL, acked and delivered"])
	return nil
}

// together runs so many daemons over one state. CPU and memory are of all of them, without the server's.
func (o options) together(ctx context.Context, server *pgtest.Cluster, name string, replicas int, deliver bool) (result, error) {
	dsn := ""
	if replicas > 0 {
		database := "bench" + fmt.Sprint(time.Now().UnixNano())
		if err := server.Exec("postgres", "CREATE DATABASE "+database); err != nil {
			return result{}, err
		}
		dsn = server.DSN(database)
	}
	var targets []string
	if deliver {
		targets = []string{fmt.Sprintf(fileTarget, "sink", filepath.Join(o.dir, name+"-sink"))}
	}
	var all []*daemon
	var listeners []string
	for i := range max(1, replicas) {
		d, err := o.newReplica(fmt.Sprint(name, "-", i), dsn, targets...)
		if err != nil {
			return result{}, err
		}
		if _, err := d.start(ctx); err != nil {
			return result{}, err
		}
		defer d.stop()
		all, listeners = append(all, d), append(listeners, d.listener)
	}
	pids := []int{}
	for _, d := range all[1:] {
		more, err := d.plugins(ctx)
		if err != nil {
			return result{}, err
		}
		pids = append(append(pids, d.cmd.Process.Pid), more...)
	}
	used := cpu(pids...)
	// What is delivered is counted in the shared state, so one of them tells it for all.
	r, err := o.under(ctx, all[0], func() ([]time.Duration, error) { return o.load(listeners...) })
	if err != nil {
		return result{}, err
	}
	r.cpu += (cpu(pids...) - used) / time.Duration(max(1, r.acks*o.time.Seconds()/1000))
	for _, d := range all[1:] {
		r.daemon += resident(d.cmd.Process.Pid)
	}
	return r, nil
}
