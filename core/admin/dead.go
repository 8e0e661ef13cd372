package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
)

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
