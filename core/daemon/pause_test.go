package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/dispatch"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// deaf is a plugin that is never asked.
type deaf struct{}

func (deaf) Deliver(context.Context, []sdk.Record) ([]sdk.Outcome, error) {
	return nil, errors.New("asked")
}
func (deaf) Ready() <-chan struct{} { return nil }

// TestPauses: what is in the store is heeded, whoever put it there, and when.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := upkept(t)
		ctx := context.Background()
		start := func() *dispatch.Group {
			return d.pauses.start(dispatch.Target{Name: "mail", Deliverer: deaf{}, MaxBatch: 1, MaxInFlight: 1, Timeout: time.Second}, func(target dispatch.Target) *dispatch.Group {
				return dispatch.Start(target, d.store, dispatch.NewMetrics(prometheus.NewRegistry()), hclog.NewNullLogger())
			})
		}
		g := start()
		state := func(want dispatch.State) {
			t.Helper()
			if got := g.Status().State; got != want {
				t.Errorf("state %q, want %q", got, want)
			}
		}
		p, err := d.pause(ctx, "mail", 5*time.Minute)
		if err != nil || p.Until == nil || time.Until(*p.Until).Round(time.Second) != 5*time.Minute {
			t.Errorf("%+v, %v", p, err)
		}
		state(dispatch.PausedState)

		// Another world's group starts with it, and so does one of a process that comes later.
		g.Drain(ctx)
		g = start()
		state(dispatch.PausedState)
		g.Drain(ctx)
		d.pauses = pauses{}
		if err := d.readPauses(ctx); err != nil {
			t.Fatal(err)
		}
		g = start()
		state(dispatch.PausedState)

		time.Sleep(5 * time.Minute)
		state(dispatch.Running)
		if p, err := d.resume(ctx, "mail"); err != nil || p.Was {
			t.Errorf("a pause that is over is resumed: %+v, %v", p, err)
		}
		if _, err := d.pause(ctx, "mail", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		state(dispatch.PausedState)

		// A process beside this one resumes it, and pauses it again.
		if err := d.store.SetPause(ctx, "mail", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * followEvery)
		state(dispatch.Running)
		if err := d.store.SetPause(ctx, "mail", &store.Pause{Since: time.Now()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * followEvery)
		state(dispatch.PausedState)
		if p, err := d.resume(ctx, "mail"); err != nil || !p.Was {
			t.Errorf("%+v, %v", p, err)
		}
		state(dispatch.Running)
		g.Drain(ctx)

		for _, do := range []func() error{
			func() error { _, err := d.pause(ctx, "mali", 0); return err },
			func() error { _, err := d.resume(ctx, "mali"); return err },
			func() error { _, err := d.resync(ctx, store.ResyncFilter{Target: "mali"}); return err },
			func() error {
				_, err := d.resync(ctx, store.ResyncFilter{Source: "dataguard", CitizenID: "eve"})
				return err
			},
		} {
			if err := do(); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// TestResyncInParts goes on until there is no more, and counts all.
func TestResyncInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := upkept(t)
		const citizens = resyncAt + 5
		for i := range citizens {
			d.grant(t, "c"+string(rune('a'+i%26))+time.Duration(i).String(), time.Time{})
		}
		out, err := d.resync(context.Background(), store.ResyncFilter{Target: "mail"})
		if err != nil || out.Changed != citizens || out.Next != 0 || out.End < citizens {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

// TestStatusWhileFilling: a target that is new is there while it gets its deliveries, with how many it has.
func TestStatusWhileFilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := upkept(t)
		d.grant(t, "ada", time.Time{})
		d.filling.Store(&world{config: &config.Config{Targets: []config.Target{{Name: "mail", Type: "file"}}}})
		s, err := d.status(context.Background())
		if err != nil || len(s.Targets) != 1 || s.Targets[0].State != "filling" || s.Targets[0].Pending != 1 || s.Targets[0].Type != "file" {
			t.Errorf("%+v, %v", s.Targets, err)
		}
	})
}
