package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// SourceActions are what can be asked of a source's sender. Each is given the source's name.
type SourceActions struct {
	// Backfill begins to read everything, or reads the citizens of one external reference at once.
	Backfill func(ctx context.Context, source string, b Backfill) (Progress, error)
	// Repair begins to read what changed since everything was known.
	Repair func(ctx context.Context, source string) (Progress, error)
	// Progress is how that goes, and Stop gives it up.
	Progress func(ctx context.Context, source string) (Progress, error)
	Stop     func(ctx context.Context, source string) (bool, error)
}

// ErrBusy is wrapped when something is asked for while something else is under way.
var ErrBusy = errors.New("the sender's API is being read already")

// Backfill is the body of POST /v1/sources/{source}/backfill.
type Backfill struct {
	// Since is from when on updates are read; zero: all.
	Since time.Time `json:"since,omitzero"`
	// ExternalRef, when it is set, is whom to read.
	ExternalRef string `json:"external_ref,omitempty"`
}

// Progress is the answer to GET /v1/sources/{source}/progress, and to what begins something: how it goes, or how the
// last one ended. It names nobody.
type Progress struct {
	Kind    string    `json:"kind,omitempty"` // backfill, repair
	Why     string    `json:"why,omitempty"`  // of a repair: start, silence, schedule, asked
	Running bool      `json:"running"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Since   time.Time `json:"since,omitzero"`
	// Read is how many citizens were read, Part how much of the whole that is, from 0 to 1.
	Read int     `json:"read"`
	Part float64 `json:"part"`
	// What became of them.
	Accepted    int `json:"accepted"`
	Unchanged   int `json:"unchanged"`
	Superseded  int `json:"superseded"`
	Quarantined int `json:"quarantined"`
	// Error is why it does not go on for now, or did not end well; Refused, whether the API refuses, so that a person has
	// to act.
	Error   string `json:"error,omitempty"`
	Refused bool   `json:"refused,omitempty"`
}

// SourceAPI is how it stands with asking a source's sender.
type SourceAPI struct {
	// KnownUntil is until when everything that the sender knows is known here.
	KnownUntil *time.Time `json:"known_until,omitempty"`
	// Silent is whether no webhook came for longer than heartbeat.
	Silent   bool     `json:"silent"`
	Progress Progress `json:"progress"`
}

func (h *handler) sourceProgress(w http.ResponseWriter, r *http.Request) {
	p, err := h.Sources.Progress(r.Context(), r.PathValue("source"))
	h.answer(w, p, err)
}

func (h *handler) backfillSource(w http.ResponseWriter, r *http.Request) {
	h.begin(w, r, func(source string) (Progress, error) {
		var b Backfill
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
		d.DisallowUnknownFields()
		if err := d.Decode(&b); err != nil && !errors.Is(err, io.EOF) {
			return Progress{}, &refusal{http.StatusBadRequest, "the body must be a JSON object with since or external_ref, or empty"}
		}
		return h.Sources.Backfill(r.Context(), source, b)
	})
}

func (h *handler) repairSource(w http.ResponseWriter, r *http.Request) {
	h.begin(w, r, func(source string) (Progress, error) { return h.Sources.Repair(r.Context(), source) })
}

func (h *handler) begin(w http.ResponseWriter, r *http.Request, begin func(source string) (Progress, error)) {
	source := r.PathValue("source")
	h.audited(w, r, Action{Source: source}, func() (any, int, error) {
		p, err := begin(source)
		if errors.Is(err, ErrBusy) {
			err = &refusal{http.StatusConflict, err.Error()}
		}
		return p, p.Accepted, err
	})
}

func (h *handler) stopSource(w http.ResponseWriter, r *http.Request) {
	source := r.PathValue("source")
	h.audited(w, r, Action{Source: source}, func() (any, int, error) {
		was, err := h.Sources.Stop(r.Context(), source)
		n := 0
		if was {
			n = 1
		}
		return Changed{Changed: n}, n, err
	})
}

// Backfill begins to read everything of a source.
func (c *Client) Backfill(ctx context.Context, source string, b Backfill) (p Progress, err error) {
	err = c.do(ctx, http.MethodPost, sourcePath(source)+"/backfill", b, &p)
	return p, err
}

// Repair begins to read what changed since everything was known.
func (c *Client) Repair(ctx context.Context, source string) (p Progress, err error) {
	err = c.do(ctx, http.MethodPost, sourcePath(source)+"/repair", nil, &p)
	return p, err
}

// Progress is how that goes.
func (c *Client) Progress(ctx context.Context, source string) (p Progress, err error) {
	err = c.do(ctx, http.MethodGet, sourcePath(source)+"/progress", nil, &p)
	return p, err
}

// StopSource gives it up.
func (c *Client) StopSource(ctx context.Context, source string) (n Changed, err error) {
	err = c.do(ctx, http.MethodDelete, sourcePath(source)+"/progress", nil, &n)
	return n, err
}

func sourcePath(source string) string { return "/v1/sources/" + url.PathEscape(source) }
