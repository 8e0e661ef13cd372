package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/repair"
	"github.com/consentd/consentd/core/store"
)

// stopTimeout is less than the command waits for, so that it hears that the word is left for who is at the source.
const stopTimeout = 30 * time.Second

// heard is when a webhook of each source was last taken in.
type heard struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (h *heard) last(source string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at[source]
}

// ingress is the store as webhooks come to it: it notes that they did, and which of them are odd.
type ingress struct {
	store.Store
	heard *heard
	world *world
}

func (i ingress) Accept(ctx context.Context, u consent.Update) (consent.Verdict, error) {
	v, err := i.Store.Accept(ctx, u)
	if err == nil {
		i.heard.mu.Lock()
		if i.heard.at == nil {
			i.heard.at = map[string]time.Time{}
		}
		i.heard.at[u.Source] = time.Now()
		i.heard.mu.Unlock()
	}
	if running := i.world.repairs.Load(); err == nil && v == consent.Accepted && running != nil {
		if s := (*running)[u.Source]; s != nil {
			s.Doubt(u.State)
		}
	}
	return v, err
}

// openAPIs makes the clients of the sources whose sender can be asked. They reach nobody. A client that the world before
// has alike is used again: it holds an access token, and senders want these to be asked for seldom.
func (d *daemon) openAPIs(w, before *world) error {
	w.apis = map[string]*cpm.Client{}
	for _, s := range w.config.Sources {
		if s.API == nil {
			continue
		}
		if before != nil {
			if c := before.apis[s.Name]; c != nil && c.Identity == s.API.Identity {
				w.apis[s.Name] = c
				for _, l := range w.config.Lookups {
					if l.Sender == s.Name {
						l.HTTP.Auth = c.Auth
					}
				}
				continue
			}
		}
		c, err := cpm.New(s.API.Config, d.Log.Named("api").With("source", s.Name))
		if err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
		w.apis[s.Name] = c
	}
	return nil
}

// startRepairs lets the sources of a world that runs repair themselves.
func (d *daemon) startRepairs(w *world) {
	repairs := map[string]*repair.Source{}
	for _, s := range w.config.Sources {
		if s.API == nil {
			continue
		}
		repairs[s.Name] = repair.Start(repair.Options{
			Source: s, Client: w.apis[s.Name], Store: d.store, Heard: func() time.Time { return d.heard.last(s.Name) },
			Log: d.Log.Named("repair").With("source", s.Name), Metrics: d.repairs,
		})
	}
	w.repairs.Store(&repairs)
}

// closeAPIs ends what asks the senders, but for the clients that another world uses too.
func (w *world) closeAPIs(other *world) {
	if running := w.repairs.Swap(nil); running != nil {
		for _, r := range *running {
			r.Close()
		}
	}
	for name, c := range w.apis {
		if other == nil || other.apis[name] != c {
			c.Close()
		}
	}
}

// repairing is the source of a name, if its sender can be asked.
func (d *daemon) repairing(name string) (*repair.Source, *config.Source, error) {
	w := d.world.Load()
	if w == nil {
		return nil, nil, errStarting
	}
	s := w.source(name)
	if s == nil {
		return nil, nil, fmt.Errorf("source %q %w; `consentd status` lists them", name, store.ErrNotFound)
	}
	if s.API == nil {
		return nil, nil, errors.New("the configuration does not say how the sender is asked: add an api block to source " + name)
	}
	if running := w.repairs.Load(); running != nil {
		return (*running)[name], s, nil
	}
	return nil, nil, errStarting
}

// sourceAPI is how it stands with asking the sender of a source; nil when it cannot be asked.
func (d *daemon) sourceAPI(ctx context.Context, name string) (*admin.SourceAPI, error) {
	s, _, err := d.repairing(name)
	if err != nil {
		return nil, nil
	}
	until, silent, err := s.Standing(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.Progress(ctx)
	return &admin.SourceAPI{KnownUntil: admin.When(until), Silent: silent, Progress: p}, err
}

func (d *daemon) sourceActions() admin.SourceActions {
	busy := func(p admin.Progress, err error) (admin.Progress, error) {
		if errors.Is(err, repair.ErrBusy) {
			err = fmt.Errorf("%w, for a %s: wait for it, or end it with `consentd source stop`", admin.ErrBusy, p.Kind)
		}
		return p, err
	}
	return admin.SourceActions{
		Backfill: func(ctx context.Context, name string, b admin.Backfill) (admin.Progress, error) {
			s, _, err := d.repairing(name)
			if err != nil {
				return admin.Progress{}, err
			}
			if b.ExternalRef == "" {
				return busy(s.Backfill(ctx, b.Since))
			}
			began := time.Now()
			n, err := s.OfRef(ctx, b.ExternalRef)
			return admin.Progress{
				Kind: repair.KindBackfill, Started: began, Ended: time.Now(), Part: 1, Read: n.Accepted + n.Unchanged + n.Superseded + n.Quarantined,
				Accepted: n.Accepted, Unchanged: n.Unchanged, Superseded: n.Superseded, Quarantined: n.Quarantined,
			}, err
		},
		Repair: func(ctx context.Context, name string) (admin.Progress, error) {
			s, _, err := d.repairing(name)
			if err != nil {
				return admin.Progress{}, err
			}
			return busy(s.Repair(ctx))
		},
		Progress: func(ctx context.Context, name string) (admin.Progress, error) {
			s, _, err := d.repairing(name)
			if err != nil {
				return admin.Progress{}, err
			}
			return s.Progress(ctx)
		},
		Stop: func(ctx context.Context, name string) (bool, error) {
			s, _, err := d.repairing(name)
			if err != nil {
				return false, err
			}
			ctx, cancel := context.WithTimeout(ctx, stopTimeout)
			defer cancel()
			return s.Stop(ctx)
		},
	}
}
