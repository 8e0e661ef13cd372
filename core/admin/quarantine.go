package admin

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/consentd/consentd/core/store"
)

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
