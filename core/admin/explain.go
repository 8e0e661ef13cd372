package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// maxExplained bounds a body to be explained, in bytes. Updates are some kilobytes.
const maxExplained = 1 << 20

// Explanation is the answer to POST /v1/explain: what would become of a body. It is personal data.
type Explanation struct {
	// Quarantined is why the body would not be understood; empty when it would be, and then the others are set.
	Quarantined string `json:"quarantined,omitempty"`
	// Verdict is accepted, superseded or duplicate. What is not accepted changes nothing.
	Verdict    string `json:"verdict,omitempty"`
	Withdrawal bool   `json:"withdrawal,omitempty"`
	// Held is whether it would grant something that would be held back.
	Held  bool        `json:"held,omitempty"`
	Rules []Explained `json:"rules"`
}

// Explained is what one rule makes of an update.
type Explained struct {
	Rule    string            `json:"rule"`
	Target  string            `json:"target"`
	Records []json.RawMessage `json:"records"`
	Error   string            `json:"error,omitempty"`
	// Lookups are what the rule would look up and was not asked for; Waits is why the delivery would wait.
	Lookups []string `json:"lookups,omitempty"`
	Waits   string   `json:"waits,omitempty"`
}

// explain takes the body as the sender would send it, with source and lookup as query parameters.
func (h *handler) explain(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxExplained))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		problem(w, http.StatusRequestEntityTooLarge, "the update is larger than 1 MiB")
		return
	}
	if err != nil {
		problem(w, http.StatusBadRequest, "the body did not come whole")
		return
	}
	q := r.URL.Query()
	h.audited(w, r, Action{Source: q.Get("source")}, func() (any, int, error) {
		e, err := h.Options.Explain(r.Context(), q.Get("source"), body, q.Get("lookup") == "true")
		return e, len(e.Rules), err
	})
}
