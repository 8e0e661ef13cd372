package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// Reconcile is the body of POST /v1/reconcile.
type Reconcile struct {
	// Target, when it is set, is the only one to compare with; senders are left alone then.
	Target string `json:"target,omitempty"`
	// Repair is none, withdrawals or all; empty: as configured.
	Repair string `json:"repair,omitempty"`
}

// Reconciliation is the answer to GET and POST /v1/reconcile: the comparison under way, or the last one. It names
// nobody.
type Reconciliation struct {
	Running bool          `json:"running"`
	Started time.Time     `json:"started,omitzero"`
	Ended   time.Time     `json:"ended,omitzero"`
	Repair  string        `json:"repair,omitempty"`
	Error   string        `json:"error,omitempty"`
	Sources []SourceDrift `json:"sources"`
	Targets []TargetDrift `json:"targets"`
}

// SourceDrift is how what is stored differs from what the sender says.
type SourceDrift struct {
	Name string `json:"name"`
	// Citizens is how many the sender lists. Of them Missing are not stored and Differ are stored otherwise;
	// Withdrawals of both are those of whom the sender allows less. Unreadable could not be understood.
	Citizens    int `json:"citizens"`
	Missing     int `json:"missing"`
	Differ      int `json:"differ"`
	Withdrawals int `json:"withdrawals"`
	Unreadable  int `json:"unreadable"`
	// Gone are stored and not known to the sender any more.
	Gone     int     `json:"gone"`
	Repaired int     `json:"repaired"`
	Erased   int     `json:"erased"`
	Error    string  `json:"error,omitempty"`
	Samples  []Drift `json:"samples"`
}

// TargetDrift is how what a target holds differs from what is stored.
type TargetDrift struct {
	Name string `json:"name"`
	// Readable is whether its plugin can tell what it holds.
	Readable bool `json:"readable"`
	// Records is how many were compared. Of them Missing are not there, Differ are otherwise, and Withdrawals of these
	// hold more than is allowed. Unreadable could not be compared, and Waiting are on their way.
	Records     int     `json:"records"`
	Missing     int     `json:"missing"`
	Differ      int     `json:"differ"`
	Withdrawals int     `json:"withdrawals"`
	Unreadable  int     `json:"unreadable"`
	Waiting     int     `json:"waiting"`
	Repaired    int     `json:"repaired"`
	Error       string  `json:"error,omitempty"`
	Samples     []Drift `json:"samples"`
}

// Drift is one difference. Citizen is the keyed hash that receipts and the log have; Fields are names alone.
type Drift struct {
	Citizen    string   `json:"citizen"`
	Rule       string   `json:"rule,omitempty"`
	Fields     []string `json:"fields,omitempty"`
	Missing    bool     `json:"missing,omitempty"`
	Gone       bool     `json:"gone,omitempty"`
	Withdrawal bool     `json:"withdrawal,omitempty"`
	Repaired   bool     `json:"repaired,omitempty"`
}

func (h *handler) reconciled(w http.ResponseWriter, r *http.Request) {
	out, err := h.Reconciled(r.Context())
	h.answer(w, out, err)
}

func (h *handler) reconcile(w http.ResponseWriter, r *http.Request) {
	h.audited(w, r, Action{}, func() (any, int, error) {
		var in Reconcile
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
		if err := d.Decode(&in); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, &refusal{http.StatusBadRequest, "the body must be a JSON object with target or repair, or empty"}
		}
		out, err := h.Reconcile(r.Context(), in)
		if errors.Is(err, ErrBusy) {
			err = &refusal{http.StatusConflict, err.Error()}
		}
		return out, 0, err
	})
}

// Reconcile begins a comparison.
func (c *Client) Reconcile(ctx context.Context, in Reconcile) (out Reconciliation, err error) {
	err = c.do(ctx, http.MethodPost, "/v1/reconcile", in, &out)
	return out, err
}

// Reconciled is how it goes.
func (c *Client) Reconciled(ctx context.Context) (out Reconciliation, err error) {
	err = c.do(ctx, http.MethodGet, "/v1/reconcile", nil, &out)
	return out, err
}
