package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// readyTimeout bounds how long /readyz waits for a commit. Probes wait for no more than a second, if nobody tells them to.
const readyTimeout = 900 * time.Millisecond

func (h *handler) healthz(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "ok")
}

// readyz is whether an update could be committed; whether targets are up has nothing to do with it. The store answers
// when it has committed or could not, however long that takes, so it is left to that. One commit is for all who ask
// meanwhile: of a store that hangs no more than one call is under way.
func (h *handler) readyz(w http.ResponseWriter, r *http.Request) {
	if !h.Serving() {
		problem(w, http.StatusServiceUnavailable, "starting or draining")
		return
	}
	committed := h.ready.DoChan("", func() (any, error) { return nil, h.Store.Ready(context.WithoutCancel(r.Context())) })
	select {
	case c := <-committed:
		if c.Err != nil {
			problem(w, http.StatusServiceUnavailable, c.Err.Error())
			return
		}
		fmt.Fprintln(w, "ready")
	case <-time.After(readyTimeout):
		problem(w, http.StatusServiceUnavailable, "the store does not answer: a commit takes longer than "+readyTimeout.String()+"; look at its disk, or its server")
	}
}
