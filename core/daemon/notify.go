package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/consentd/consentd/core/store"
)

const (
	// moreTime is how much longer the service manager is asked to wait each time, and askEvery how often: it waits
	// for longestWork altogether, so that work that never ends is still ended.
	moreTime    = time.Minute
	askEvery    = 10 * time.Second
	longestWork = 2 * time.Hour
)

// notify tells the service manager something (sd_notify(3)). Without one it does nothing.
func (d *daemon) notify(lines ...string) {
	if _, err := sd.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		d.Log.Warn("the service manager cannot be told how it goes", "error", err)
	}
}

// notifyReady ends a start or a reload, also one that failed: the service manager waits for it.
func (d *daemon) notifyReady() {
	w := d.world.Load()
	status := fmt.Sprintf("Takes updates for %d targets, configuration %.12s", len(w.targets), w.config.Hash)
	d.reloads.mu.Lock()
	if d.reloads.failed {
		status += "; the last reload failed, see the log"
	}
	d.reloads.mu.Unlock()
	d.notify(sd.SdNotifyReady, "STATUS="+status)
}

func (d *daemon) notifyReloading() {
	d.notify(sd.SdNotifyReloading, sd.SdNotifyMonotonicUsec()+"STATUS=Reloading")
}

func (d *daemon) notifyStopping() {
	d.notify(sd.SdNotifyStopping, "STATUS=Finishing what is under way")
}

// patiently does what can take longer than the service manager waits for a start or a reload, and asks it for more
// time meanwhile.
func (d *daemon) patiently(status string, do func() error) error {
	done := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for began := time.Now(); time.Since(began) < longestWork; {
			d.notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", moreTime.Microseconds()), "STATUS="+status)
			select {
			case <-time.After(askEvery):
			case <-done:
				return
			}
		}
	})
	defer asking.Wait()
	defer close(done)
	return do()
}

// insist is patiently for what has to be done: as long as the store cannot commit, it is tried again.
func (d *daemon) insist(status string, do func() error) error {
	return d.patiently(status, func() error {
		for {
			err := do()
			if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrPoisoned) {
				return err
			}
			d.Log.Warn("the store cannot commit: trying again", "what", status, "error", err)
			select {
			case <-time.After(time.Second):
			case <-d.life.Done():
				return err
			}
		}
	})
}

// startWatchdog shows the service manager that the daemon lives, twice in the time after which it would be killed,
// and each time only after the store's writer has answered. A store that cannot commit, as when the disk is
// full, answers: to be started anew would not help it.
func (d *daemon) startWatchdog() {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		d.Log.Warn("the service manager's watchdog is not served", "error", err)
	}
	if interval == 0 {
		return
	}
	d.repeat("watchdog", func(ctx context.Context) time.Duration {
		if err := d.store.Ready(ctx); ctx.Err() == nil && !errors.Is(err, store.ErrPoisoned) {
			d.notify(sd.SdNotifyWatchdog)
		}
		return interval / 2
	})
}
