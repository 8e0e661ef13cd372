// Package admin is the operators' way in: health, metrics, and the JSON API that the command line speaks,
// both halves of it. It is apart from package webhook because it has another address, other credentials,
// and nothing to do with senders.
package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/singleflight"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
)

// Options are what a Handler is made of.
type Options struct {
	// Admin says who comes in, as of now.
	Admin   func() config.Admin
	Audit   *Audit // nil: none is kept
	Store   store.Store
	Metrics prometheus.Gatherer
	Log     hclog.Logger
	// Status gathers the picture of the daemon.
	Status func(ctx context.Context) (Status, error)
	// Replay takes a quarantined body through the front door again. The error says why it is still not
	// understood.
	Replay func(ctx context.Context, q store.Quarantined) (status string, err error)
	// Release lets the held grants of a citizen through.
	Release func(ctx context.Context, source, citizenID string) error
	// Erase removes a citizen.
	Erase func(ctx context.Context, source, citizenID string) (Erased, error)
	// Reload reads the configuration again, whole or not at all.
	Reload func(ctx context.Context) (Reloaded, error)
	// Explain says what would become of a body that came from a source now. Lookups are asked when lookUp is set.
	Explain func(ctx context.Context, source string, body []byte, lookUp bool) (Explanation, error)
	// Console makes the pages under /, nil if there are none. With api it reaches the API as who sent a request does, or
	// as the bearer of a token if one is given.
	Console func(api func(from *http.Request, token string) *Client) http.Handler
	// ReloadAs does so if it does no more than a plan said.
	ReloadAs func(ctx context.Context, plan string) (Reloaded, error)
	// Plan says what another configuration would change. It calls progress now and then.
	Plan func(ctx context.Context, r PlanRequest, progress func(done, of int64)) (Plan, error)
	// ReleaseFuse makes a target's fuse whole, and says how many grants it held.
	ReleaseFuse func(ctx context.Context, target string) (int, error)
	// Pause holds a target back, for so long or until Resume; howLong 0 is without an end.
	Pause  func(ctx context.Context, target string, howLong time.Duration) (Paused, error)
	Resume func(ctx context.Context, target string) (Paused, error)
	// Resync makes deliveries pending again, for a while; Next says where to go on.
	Resync func(ctx context.Context, f store.ResyncFilter) (Resynced, error)
	// Sources are what can be asked of a source's sender.
	Sources SourceActions
	// Reconcile begins to compare what is stored with senders and targets, and Reconciled is how that goes.
	Reconcile  func(ctx context.Context, r Reconcile) (Reconciliation, error)
	Reconciled func(ctx context.Context) (Reconciliation, error)
	// Serving is whether the daemon takes updates: it has started and is not about to end.
	Serving func() bool
}

// NewHandler makes the handler of the admin address.
func NewHandler(o Options) http.Handler {
	h := &handler{Options: o}
	api := http.NewServeMux()
	for _, route := range h.routes() {
		api.Handle(route.Pattern, h.guard(route))
	}

	mux := http.NewServeMux()
	// Probes carry no token.
	mux.HandleFunc("GET /healthz", h.healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	if o.Console == nil {
		mux.Handle("/", http.NewCrossOriginProtection().Handler(api))
	} else {
		mux.Handle("/v1/", http.NewCrossOriginProtection().Handler(api))
		mux.Handle("/metrics", api)
		pages := o.Console(func(from *http.Request, token string) *Client { return inProcess(api, from, token) })
		mux.Handle("/", http.NewCrossOriginProtection().Handler(pages))
	}
	return h.checkHost(mux)
}

// routes are all but the probes, which anybody may ask. What changes something or shows personal data is for
// operators and has a verb.
func (h *handler) routes() []Route {
	const read, operator = config.RoleRead, config.RoleOperator
	return []Route{
		{"GET /v1/status", read, "", h.status},
		{"POST /v1/reload", operator, "reload", h.reload},
		{"POST /v1/plan", operator, "plan", h.plan},
		{"GET /v1/dead", read, "", h.listDead},
		{"POST /v1/dead/replay", operator, "dead replay", h.replayDead},
		{"POST /v1/dead/discard", operator, "dead discard", h.discardDead},
		{"GET /v1/quarantine", read, "", h.listQuarantine},
		{"GET /v1/quarantine/{id}", operator, "quarantine show", h.showQuarantine},
		{"POST /v1/quarantine/{id}/replay", operator, "quarantine replay", h.replayQuarantine},
		{"DELETE /v1/quarantine/{id}", operator, "quarantine discard", h.discardQuarantine},
		{"GET /v1/citizens/{source}/{id}", operator, "citizen show", h.showCitizen},
		{"DELETE /v1/citizens/{source}/{id}", operator, "citizen erase", h.eraseCitizen},
		{"GET /v1/citizens/{source}/{id}/receipts", operator, "citizen receipts", h.citizenReceipts},
		{"POST /v1/citizens/{source}/{id}/release", operator, "citizen release", h.releaseHeld},
		{"POST /v1/targets/{target}/release", operator, "target release", h.releaseFuse},
		{"POST /v1/citizens/{source}/{id}/resync", operator, "citizen resync", h.resyncCitizen},
		{"POST /v1/targets/{target}/pause", operator, "target pause", h.pauseTarget},
		{"POST /v1/targets/{target}/resume", operator, "target resume", h.resumeTarget},
		{"POST /v1/targets/{target}/resync", operator, "target resync", h.resyncTarget},
		{"GET /v1/receipts", operator, "receipts export", h.listReceipts},
		{"GET /v1/receipts/verify", read, "", h.verifyReceipts},
		{"GET /v1/caller", read, "", h.caller},
		{"POST /v1/explain", operator, "explain", h.explain},
		{"GET /v1/sources/{source}/progress", read, "", h.sourceProgress},
		{"DELETE /v1/sources/{source}/progress", operator, "source stop", h.stopSource},
		{"POST /v1/sources/{source}/backfill", operator, "source backfill", h.backfillSource},
		{"POST /v1/sources/{source}/repair", operator, "source repair", h.repairSource},
		{"GET /v1/reconcile", read, "", h.reconciled},
		{"POST /v1/reconcile", operator, "reconcile", h.reconcile},
		{"GET /metrics", read, "", promhttp.HandlerFor(h.Metrics, promhttp.HandlerOpts{}).ServeHTTP},
		{"/", read, "", func(w http.ResponseWriter, _ *http.Request) {
			problem(w, http.StatusNotFound, "no such page: try /v1/status, /metrics, /healthz or /readyz")
		}},
	}
}

type handler struct {
	Options
	ready singleflight.Group
}

// checkHost refuses what a browser was tricked into sending to a name that resolves to this machine. Where
// callers show who they are that is harmless, and the name may be any.
func (h *handler) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := h.Admin()
		configured, _, _ := net.SplitHostPort(now.Address)
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if now.Open() && host != "localhost" && ip == nil && host != configured {
			problem(w, http.StatusMisdirectedRequest, "the Host header names another machine")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h *handler) reload(w http.ResponseWriter, r *http.Request) {
	var request reloadRequest
	if !body(w, r, &request) {
		return
	}
	long(w) // it may count everybody again, or make deliveries of new rules for them
	reload := h.Options.Reload
	if request.Plan != "" {
		reload = func(ctx context.Context) (Reloaded, error) { return h.ReloadAs(ctx, request.Plan) }
	}
	h.audited(w, r, Action{}, func() (any, int, error) {
		done, err := reload(r.Context())
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			err = &refusal{http.StatusUnprocessableEntity, err.Error()}
		}
		return done, 1, err
	})
}

func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	s, err := h.Status(r.Context())
	h.answer(w, s, err)
}
