// Package admin is the operators' way in: health, metrics, and the JSON API that the command line speaks,
// both halves of it. It is apart from package webhook because it has another address, other credentials,
// and nothing to do with senders.
package admin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

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

// readyTimeout bounds how long /readyz waits for a commit.
const readyTimeout = 5 * time.Second

// NewHandler makes the handler of the admin address.
func NewHandler(o Options) http.Handler {
	h := &handler{o}
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

type handler struct{ Options }

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

func (h *handler) healthz(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "ok")
}

// readyz is whether an update could be committed; whether targets are up has nothing to do with it.
func (h *handler) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if !h.Serving() {
		problem(w, http.StatusServiceUnavailable, "starting or draining")
		return
	}
	if err := h.Store.Ready(ctx); err != nil {
		problem(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	fmt.Fprintln(w, "ready")
}

func (h *handler) reload(w http.ResponseWriter, r *http.Request) {
	var request reloadRequest
	if !body(w, r, &request) {
		return
	}
	reload := h.Options.Reload
	if request.Plan != "" {
		long(w) // it may count everybody again
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

// page is how many entries a listing has at most.
const page = 1000

func (h *handler) listDead(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, limit, err := paging(r)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	id, err := number(q.Get("id"))
	if err != nil {
		problem(w, http.StatusBadRequest, "id must be a number")
		return
	}
	named := CallerOf(r.Context()).may(config.RoleOperator)
	if q.Get("citizen") != "" && !named {
		problem(w, http.StatusForbidden, "choosing by citizen takes a token or a certificate whose access block has role = \"operator\"")
		return
	}
	dead, err := h.Store.ListDead(r.Context(), store.DeadFilter{
		ID: id, Target: q.Get("target"), Rule: q.Get("rule"), Reason: q.Get("reason"), CitizenID: q.Get("citizen"), After: after, Limit: limit + 1,
	})
	dead, more := cut(dead, limit)
	out := DeadPage{Dead: []DeadLetter{}}
	for _, d := range dead {
		if !named {
			d.CitizenID = ""
		}
		out.Dead = append(out.Dead, DeadLetter{
			ID: d.ID, Target: d.Target, Rule: d.Rule, Source: d.Source, CitizenID: d.CitizenID, Withdrawal: d.Withdrawal,
			Reason: d.Reason, Error: d.Error, Attempts: d.Attempts, Since: d.Since, StoppedAt: d.SettledAt, NextRetry: When(d.NextAttempt),
		})
	}
	if more {
		out.Next = dead[len(dead)-1].ID
	}
	h.answer(w, out, err)
}

func (h *handler) replayDead(w http.ResponseWriter, r *http.Request) {
	h.changeDead(w, r, func(ctx context.Context, f store.DeadFilter) (int, error) {
		return h.Store.ReplayDead(ctx, f, time.Now())
	})
}

func (h *handler) discardDead(w http.ResponseWriter, r *http.Request) {
	h.changeDead(w, r, h.Store.DiscardDead)
}

func (h *handler) changeDead(w http.ResponseWriter, r *http.Request, change func(context.Context, store.DeadFilter) (int, error)) {
	var sel DeadSelection
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&sel); err != nil {
		problem(w, http.StatusBadRequest, "the body must be a JSON object with id, target, rule, reason, citizen or all")
		return
	}
	if sel == (DeadSelection{}) {
		problem(w, http.StatusBadRequest, "nothing is chosen: give id, target, rule, reason or citizen, or all = true")
		return
	}
	after, limit, err := paging(r)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	f := store.DeadFilter{ID: sel.ID, Target: sel.Target, Rule: sel.Rule, Reason: sel.Reason, CitizenID: sel.Citizen, After: after}
	h.audited(w, r, h.deadAction(sel), func() (any, int, error) {
		var out Changed
		if r.URL.Query().Has("limit") {
			// What is changed may be a dead letter again at once, so the next part begins after this one.
			f.Limit = limit
			part, err := h.Store.ListDead(r.Context(), f)
			if err != nil {
				return nil, 0, err
			}
			if len(part) == limit {
				out.Next = part[limit-1].ID
			}
		}
		out.Changed, err = change(r.Context(), f)
		return out, out.Changed, err
	})
}

func (h *handler) listQuarantine(w http.ResponseWriter, r *http.Request) {
	after, limit, err := paging(r)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	all, err := h.Store.ListQuarantine(r.Context(), store.QuarantineFilter{Source: r.URL.Query().Get("source"), After: after, Limit: limit + 1})
	all, more := cut(all, limit)
	out := QuarantinePage{Quarantined: []Quarantined{}}
	for _, q := range all {
		out.Quarantined = append(out.Quarantined, Quarantined(q))
	}
	if more {
		out.Next = all[len(all)-1].ID
	}
	h.answer(w, out, err)
}

// entry is the id in the path.
func entry(w http.ResponseWriter, r *http.Request) (int64, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		problem(w, http.StatusBadRequest, "the id must be a number")
	}
	return id, err == nil
}

func (h *handler) showQuarantine(w http.ResponseWriter, r *http.Request) {
	id, ok := entry(w, r)
	if !ok {
		return
	}
	h.audited(w, r, Action{Entry: id}, func() (any, int, error) {
		q, err := h.Store.ShowQuarantine(r.Context(), id)
		return Quarantined(q), 1, err
	})
}

// replayQuarantine accepts the body and only then takes it out of quarantine: a crash in between leaves it
// there, and replaying it again is a duplicate.
func (h *handler) replayQuarantine(w http.ResponseWriter, r *http.Request) {
	id, ok := entry(w, r)
	if !ok {
		return
	}
	h.audited(w, r, Action{Entry: id}, func() (any, int, error) {
		q, err := h.Store.ShowQuarantine(r.Context(), id)
		if err != nil {
			return nil, 0, err
		}
		status, err := h.Replay(r.Context(), q)
		if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrPoisoned) {
			return nil, 0, err
		}
		if err != nil {
			return nil, 0, &refusal{http.StatusUnprocessableEntity, "still not understood: " + err.Error()}
		}
		return Replayed{status}, 1, h.Store.DiscardQuarantine(r.Context(), q.ID)
	})
}

func (h *handler) discardQuarantine(w http.ResponseWriter, r *http.Request) {
	id, ok := entry(w, r)
	if !ok {
		return
	}
	h.audited(w, r, Action{Entry: id}, func() (any, int, error) {
		if _, err := h.Store.ShowQuarantine(r.Context(), id); err != nil {
			return nil, 0, err
		}
		return Changed{Changed: 1}, 1, h.Store.DiscardQuarantine(r.Context(), id)
	})
}

func paging(r *http.Request) (after int64, limit int, err error) {
	q := r.URL.Query()
	if after, err = number(q.Get("after")); err != nil {
		return 0, 0, errors.New("after must be a number")
	}
	n, err := number(q.Get("limit"))
	if err != nil || n < 0 {
		return 0, 0, errors.New("limit must be a number above zero")
	}
	if n == 0 || n > page {
		n = page
	}
	return after, int(n), nil
}

// cut takes a page from one entry more than it holds, and says whether that was there.
func cut[T any](all []T, limit int) ([]T, bool) {
	if len(all) > limit {
		return all[:limit], true
	}
	return all, false
}

func number(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	return strconv.ParseInt(s, 10, 64)
}

// When is a time for JSON: absent when there is none.
func When(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (h *handler) answer(w http.ResponseWriter, v any, err error) {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		problem(w, refused.status, refused.text)
	case err == store.ErrNotFound:
		problem(w, http.StatusNotFound, "there is none with that id")
	case errors.Is(err, store.ErrNotFound):
		problem(w, http.StatusNotFound, err.Error())
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrPoisoned):
		problem(w, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		problem(w, http.StatusInternalServerError, err.Error())
	default:
		write(w, http.StatusOK, v)
	}
}

func problem(w http.ResponseWriter, status int, text string) {
	write(w, status, Problem{text})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// Listen opens the admin address: host:port, or unix:///path, which only this user may then open.
func Listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix://")
	if !isUnix {
		return net.Listen("tcp", address)
	}
	// A socket that nobody answers on is left over from a daemon that was killed. Nothing else is removed.
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("listen on %s: there is something else than a socket; name another path", path)
		}
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
			return nil, fmt.Errorf("listen on %s: another process answers there", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("listen on %s: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// NewServer makes the HTTP server around the handler. It is for ServeTLS with empty file names when there is a
// TLS configuration, else for Serve.
func NewServer(h http.Handler, tls *tls.Config, log hclog.Logger) *http.Server {
	return &http.Server{
		TLSConfig:         tls,
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       withPeer,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}
