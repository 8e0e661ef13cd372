package admin

import (
	"context"
	"net/http"
)

func (h *handler) releaseFuse(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("target")
	h.audited(w, r, Action{Target: name}, func() (any, int, error) {
		n, err := h.ReleaseFuse(r.Context(), name)
		return Changed{Changed: n}, n, err
	})
}

// ReleaseFuse makes a target's fuse whole, and says how many grants it held.
func (c *Client) ReleaseFuse(ctx context.Context, target string) (n Changed, err error) {
	err = c.do(ctx, http.MethodPost, targetPath(target)+"/release", nil, &n)
	return n, err
}
