package daemon

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upkept is a daemon that does nothing but its upkeep, over a real store and on the fake clock of synctest.
func upkept(t *testing.T) (*daemon, *strings.Builder) {
	s, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "consentd.db"))
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	d := &daemon{store: s, imbalance: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "imbalance"}, []string{"target"})}
	d.life, d.end = context.WithCancel(context.Background())
	d.Log = hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &sync.Mutex{}})
	cfg := &config.Config{
		WithdrawalSLO: time.Minute,
		DeadLetter:    config.DeadLetter{RetryEvery: time.Hour, Retain: 90 * 24 * time.Hour},
		Targets:       []config.Target{{Name: "mail", Retry: config.Retry{MaxInterval: 10 * time.Minute}}},
	}
	if err := s.Route(context.Background(), map[string][]store.Route{"dataguard": {{Rule: "newsletter", Target: "mail"}}}); err != nil {
		t.Fatal(err)
	}
	d.world.Store(&world{config: cfg})
	d.startUpkeep()
	t.Cleanup(func() {
		d.stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, &log
}

func (d *daemon) grant(t *testing.T, citizen string, until time.Time) {
	t.Helper()
	now := time.Now()
	s := consent.State{CitizenID: consent.Identifier(citizen), SentAt: now, Permissions: []consent.Permission{
		{OptionType: "option", OptionID: "k3Rmx", State: "GRANTED", RecordedAt: now, ValidUntil: until},
	}}
	verdict, err := d.store.Accept(context.Background(), consent.Update{
		Source: "dataguard", Type: consent.EffectivePermission, Received: now, State: s, Body: consent.Encode(s),
	})
	if err != nil || verdict != consent.Accepted {
		t.Fatalf("accept: %v, %v", verdict, err)
	}
}

func (d *daemon) settle(t *testing.T, status store.Status, next time.Time) {
	t.Helper()
	claims, err := d.store.Claim(context.Background(), "mail", time.Now(), 10, store.AllLanes)
	if err != nil || len(claims) != 1 {
		t.Fatalf("claimed %d, %v", len(claims), err)
	}
	err = d.store.Settle(context.Background(), []store.Settlement{{Claim: claims[0], At: time.Now(), Status: status, NextAttempt: next, Given: true, Digest: []byte("d")}})
	if err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) standing(t *testing.T) store.Delivery {
	t.Helper()
	all, err := d.store.Deliveries(context.Background(), "dataguard", "ada")
	if err != nil || len(all) != 1 {
		t.Fatalf("%d deliveries, %v", len(all), err)
	}
	return all[0]
}

// sleep lets that much of the fake time pass, and what it brings about end.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestClock is law 9, and what a wrong clock must not do.
func TestClock(t *testing.T) {
	run := func(name string, test func(t *testing.T, d *daemon, log *strings.Builder)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, log := upkept(t)
				test(t, d, log)
			})
		})
	}
	run("a window ends hours after", func(t *testing.T, d *daemon, _ *strings.Builder) {
		d.grant(t, "ada", time.Now().Add(5*time.Hour))
		d.settle(t, store.Settled, time.Time{})
		sleep(5*time.Hour - time.Minute)
		if got := d.standing(t); got.Status != store.Settled {
			t.Errorf("before the end: %+v", got)
		}
		sleep(time.Minute + lookEvery)
		if got := d.standing(t); got.Status != store.Pending || !got.Withdrawal {
			t.Errorf("after the end: %+v", got)
		}
	})
	run("the clock was years ahead when an attempt failed", func(t *testing.T, d *daemon, log *strings.Builder) {
		d.grant(t, "ada", time.Time{})
		d.settle(t, store.Pending, time.Now().AddDate(4, 0, 0))
		sleep(forwardEvery + time.Second)
		if got := d.standing(t); got.NextAttempt.After(time.Now()) || !strings.Contains(log.String(), "the clock was wrong") {
			t.Errorf("due %v; log %s", got.NextAttempt, log)
		}
	})
	run("an attempt that waits as it should is left alone", func(t *testing.T, d *daemon, _ *strings.Builder) {
		d.grant(t, "ada", time.Time{})
		next := time.Now().Add(time.Hour)
		d.settle(t, store.Pending, next)
		sleep(30 * time.Minute)
		if got := d.standing(t); !got.NextAttempt.Equal(next) {
			t.Errorf("due %v, want %v", got.NextAttempt, next)
		}
	})
}

// TestLateWithdrawal warns once, and says when it is over.
func TestLateWithdrawal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log := upkept(t)
		d.grant(t, "ada", time.Now().Add(time.Second))
		d.settle(t, store.Settled, time.Time{})
		sleep(10 * time.Minute)
		if n := strings.Count(log.String(), "a withdrawal is not confirmed in time"); n != 1 {
			t.Errorf("warned %d times:\n%s", n, log)
		}
		d.settle(t, store.Settled, time.Time{})
		sleep(time.Minute)
		if !strings.Contains(log.String(), "in time again") {
			t.Errorf("not said that it is over:\n%s", log)
		}
	})
}
