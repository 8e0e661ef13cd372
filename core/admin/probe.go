package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// readyTimeout bounds how long /readyz waits for a commit.
const readyTimeout = 5 * time.Second

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
