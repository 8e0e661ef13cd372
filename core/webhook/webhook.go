// Package webhook is the way in: it takes the sender's posts, finds out whether they may be believed
// and understood, has them committed, and only then answers 2xx. It also serves the token endpoint of
// sources with oauth2. It is apart from the store because it alone knows HTTP, and apart from package
// consent because it alone knows senders and their credentials.
//
// Nothing but authenticate, limit, decode and commit is in a request's path: no plugin, no target, no
// look-up.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/semaphore"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/trace"
)

// Store is what the listener needs of the store. An update or a body is durable when a method returned
// without error; the slices given are the store's to keep.
type Store interface {
	Accept(ctx context.Context, u consent.Update) (consent.Verdict, error)
	Quarantine(ctx context.Context, q store.Quarantined) error
}

// Source is a configured source and the rules that its updates feed.
type Source struct {
	config.Source
	Routes []store.Route
}

// Options are what a Handler is made of.
type Options struct {
	Listener config.Listener
	Sources  []config.Source
	Store    Store
	Log      hclog.Logger
	Metrics  *Metrics
	// Trace follows what comes in; nil is no tracing.
	Trace *trace.Tracer
	// Now is the clock; nil is time.Now. Everything else is needed.
	Now func() time.Time
}

// Handler answers for every source. It never changes after New, so a reload makes a new one, swaps it
// in and drains the old.
type Handler struct {
	// endpoints are by exact path. A mux would answer unclean paths with redirects, and whether the sender
	// follows one is not known.
	endpoints map[string]http.Handler
	metrics   *Metrics
	draining  atomic.Bool
}

// New checks the sources as far as serving them needs and makes their Handler. It fills nothing in: the
// defaults of a source stand in package config.
func New(o Options) (*Handler, error) {
	if o.Listener.MaxBodySize <= 0 {
		return nil, errors.New("listener: the maximum body size must be above zero")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Handler{endpoints: make(map[string]http.Handler), metrics: o.Metrics}
	room := newRoom(o.Listener.MaxBodySize)
	for _, src := range o.Sources {
		if err := h.add(o, src, room); err != nil {
			return nil, fmt.Errorf("source %q: %w", src.Name, err)
		}
	}
	return h, nil
}

func (h *Handler) add(o Options, src config.Source, room *semaphore.Weighted) error {
	auth, access, err := newAuthenticator(src.Name, src.Auth, o.Now)
	if err != nil {
		return err
	}
	log := o.Log.With("source", src.Name)
	err = h.mount(src.Path, &listener{
		source:   src,
		auth:     auth,
		store:    o.Store,
		limit:    o.Listener.MaxBodySize,
		room:     room,
		log:      log,
		now:      o.Now,
		metrics:  o.Metrics.source(src.Name, o.Now()),
		draining: &h.draining,
		trace:    o.Trace,
	})
	if err != nil || access == nil {
		return err
	}
	endpoint, err := newTokenEndpoint(src.Auth, access)
	if err != nil {
		return err
	}
	endpoint.log, endpoint.metrics, endpoint.draining = log, o.Metrics.tokens(src.Name), &h.draining
	return h.mount(src.Auth.TokenPath, endpoint)
}

func (h *Handler) mount(path string, endpoint http.Handler) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("path %q does not begin with a slash", path)
	}
	if h.endpoints[path] != nil {
		return fmt.Errorf("path %q is in use already", path)
	}
	h.endpoints[path] = endpoint
	return nil
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	endpoint, ok := h.endpoints[r.URL.Path]
	if !ok {
		h.metrics.unknownPath.Inc()
		notFound.write(w)
		return
	}
	endpoint.ServeHTTP(w, r)
}

// Drain makes every post from now on answer 503, so that the sender comes again later. Requests that are
// past that point are finished; http.Server.Shutdown waits for them.
func (h *Handler) Drain() { h.draining.Store(true) }
