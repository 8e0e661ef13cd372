package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/plan"
	"github.com/consentd/consentd/core/store"
)

// PlanRequest is the body of POST /v1/plan.
type PlanRequest struct {
	// Config is the path of a file or a directory, as the daemon sees it; empty is the daemon's own.
	Config string `json:"config,omitempty"`
	// Target is the only one to look at; empty: all.
	Target string `json:"target,omitempty"`
	// Samples is how many are shown of each target and direction.
	Samples int `json:"samples"`
}

// maxSamples bounds PlanRequest.Samples.
const maxSamples = 100

// Plan is what a configuration would change.
type Plan struct {
	// ID is what a reload may be held to; empty for a plan of one target alone.
	ID string `json:"id,omitempty"`
	// InForce and Config are the hashes of the configuration in force and of the new one.
	InForce  string          `json:"in_force"`
	Config   string          `json:"config"`
	Citizens int64           `json:"citizens"`
	Targets  []plan.Target   `json:"targets"`
	Changes  []config.Change `json:"changes"`
}

// planLine is one line of the answer to POST /v1/plan: how far it is, or how it ended.
type planLine struct {
	Done  int64  `json:"done,omitempty"`
	Of    int64  `json:"of,omitempty"`
	Plan  *Plan  `json:"plan,omitempty"`
	Error string `json:"error,omitempty"`
}

// plan answers with lines of JSON, so that the caller sees how far it is and may leave, which ends it. What is wrong before the
// first of them is a problem as elsewhere.
func (h *handler) plan(w http.ResponseWriter, r *http.Request) {
	var request PlanRequest
	if !body(w, r, &request) {
		return
	}
	if request.Samples < 0 || request.Samples > maxSamples {
		problem(w, http.StatusBadRequest, fmt.Sprintf("samples must be from 0 to %d", maxSamples))
		return
	}
	line := long(w)
	begun := false
	say := func(l planLine) {
		if !begun {
			w.Header().Set("Content-Type", "application/jsonl")
			w.Header().Set("Cache-Control", "no-store")
			begun = true
		}
		line(l)
	}
	answer, err, asked := h.written(w, r, Action{Target: request.Target}, func() (any, int, error) {
		p, err := h.Plan(r.Context(), request, func(done, of int64) { say(planLine{Done: done, Of: of}) })
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			err = &refusal{http.StatusUnprocessableEntity, err.Error()}
		}
		return &p, len(p.Targets), err
	})
	switch {
	case !asked:
	case err == nil:
		say(planLine{Plan: answer.(*Plan)})
	case begun:
		say(planLine{Error: err.Error()})
	default:
		h.answer(w, nil, err)
	}
}

// body reads a request's body, which may be empty.
func body(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(into); err != nil && !errors.Is(err, io.EOF) {
		problem(w, http.StatusBadRequest, "the body is not what is asked for here: "+err.Error())
		return false
	}
	return true
}

// long lets a request take longer than the server's time for reading it, after which its context would end. What it returns
// writes a line and sends it at once.
func long(w http.ResponseWriter) func(line any) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{})
	return func(line any) {
		_ = json.NewEncoder(w).Encode(line) // the client may be gone
		_ = c.Flush()
	}
}

// Plan has the daemon say what a configuration would change. progress is called now and then.
func (c *Client) Plan(ctx context.Context, r PlanRequest, progress func(done, of int64)) (Plan, error) {
	res, err := c.patient().send(ctx, http.MethodPost, "/v1/plan", r)
	if err != nil {
		return Plan{}, err
	}
	defer res.Body.Close()
	lines := json.NewDecoder(res.Body)
	for {
		var l planLine
		switch err := lines.Decode(&l); {
		case err != nil:
			return Plan{}, fmt.Errorf("the answer broke off; see the daemon's log: %w", err)
		case l.Error != "":
			return Plan{}, errors.New(l.Error)
		case l.Plan != nil:
			return *l.Plan, nil
		}
		progress(l.Done, l.Of)
	}
}

// ReloadAs is Reload, held to a plan.
func (c *Client) ReloadAs(ctx context.Context, id string) (r Reloaded, err error) {
	err = c.patient().do(ctx, http.MethodPost, "/v1/reload", reloadRequest{id}, &r)
	return r, err
}

// patient is the client for what may take long.
func (c *Client) patient() *Client {
	other := *c
	other.http = &http.Client{Transport: c.http.Transport}
	return &other
}
