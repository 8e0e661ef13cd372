package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
)

// pauseTarget holds a target back.
func (h *handler) pauseTarget(w http.ResponseWriter, r *http.Request) {
	var asked Pausing
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	err := d.Decode(&asked)
	var howLong time.Duration
	if err == nil && asked.For != "" {
		howLong, err = config.ParseDuration(asked.For)
	}
	if err != nil && !errors.Is(err, io.EOF) || asked.For != "" && howLong <= 0 {
		problem(w, http.StatusBadRequest, "the body must be a JSON object, empty or with for, a duration such as \"2h\" or \"1d\"")
		return
	}
	target := r.PathValue("target")
	h.audited(w, r, Action{Target: target}, func() (any, int, error) {
		paused, err := h.Options.Pause(r.Context(), target, howLong)
		return paused, 1, err
	})
}

func (h *handler) resumeTarget(w http.ResponseWriter, r *http.Request) {
	target := r.PathValue("target")
	h.audited(w, r, Action{Target: target}, func() (any, int, error) {
		resumed, err := h.Options.Resume(r.Context(), target)
		return resumed, 1, err
	})
}

func (h *handler) resyncTarget(w http.ResponseWriter, r *http.Request) {
	h.resync(w, r, Action{Target: r.PathValue("target")}, store.ResyncFilter{Target: r.PathValue("target")})
}

func (h *handler) resyncCitizen(w http.ResponseWriter, r *http.Request) {
	f := store.ResyncFilter{Source: r.PathValue("source"), CitizenID: r.PathValue("id"), Target: r.URL.Query().Get("target")}
	a := h.ofCitizen(f.Source, f.CitizenID)
	a.Target = f.Target
	h.resync(w, r, a, f)
}

func (h *handler) resync(w http.ResponseWriter, r *http.Request, a Action, f store.ResyncFilter) {
	after, _, err := paging(r)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	f.After = after
	h.audited(w, r, a, func() (any, int, error) {
		done, err := h.Options.Resync(r.Context(), f)
		return done, done.Changed, err
	})
}
