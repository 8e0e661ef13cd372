package admin

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/consentd/consentd/core/store"
)

// Audit is the file in which every action of the admin address is written down that changes something or shows
// personal data: a line before it is done, a line after. What cannot be written down is not done.
type Audit struct {
	path string
	mu   sync.Mutex
}

// OpenAudit makes sure that the file can be written.
func OpenAudit(path string) (*Audit, error) {
	a := &Audit{path: path}
	return a, a.append(nil)
}

// Action says what is done, and to what. It holds no personal value: a citizen stands in it as keyed hash.
type Action struct {
	Verb    string `json:"verb"`
	Target  string `json:"target,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Entry   int64  `json:"entry,omitempty"` // a dead letter's or a quarantined body's id
	Source  string `json:"source,omitempty"`
	Citizen string `json:"citizen,omitempty"`
}

// Outcomes of actions.
const (
	outcomeDone    = "done"
	outcomeRefused = "refused" // by what was asked: nothing was done
	outcomeFailed  = "failed"
)

// auditLine is one line of the file.
type auditLine struct {
	Time time.Time `json:"time"`
	// ID is the same in an action's two lines.
	ID    string `json:"id"`
	Event string `json:"event"` // asked, ended
	Actor string `json:"actor"`
	Action
	Outcome string `json:"outcome,omitempty"`
	Count   *int   `json:"count,omitempty"`
}

// audited does what was asked, between the two lines that say so, and answers. do says how many things it did that
// to.
func (h *handler) audited(w http.ResponseWriter, r *http.Request, a Action, do func() (answer any, n int, err error)) {
	if answer, err, begun := h.written(w, r, a, do); begun {
		h.answer(w, answer, err)
	}
}

// written is audited without the answer, unless nothing was done.
func (h *handler) written(w http.ResponseWriter, r *http.Request, a Action, do func() (answer any, n int, err error)) (answer any, err error, begun bool) {
	caller := CallerOf(r.Context())
	a.Verb, _ = r.Context().Value(verbKey).(string)
	line := auditLine{Time: time.Now().UTC(), ID: actionID(), Event: "asked", Actor: caller.Actor, Action: a}
	if err := h.Audit.write(line); err != nil {
		h.Log.Error("audit cannot be written; the action was refused", "actor", caller.Actor, "verb", a.Verb, "error", err)
		problem(w, http.StatusServiceUnavailable, "nothing was done, because it cannot be written down: "+err.Error()+
			"; mend what admin > audit_file names, and do it again")
		return nil, nil, false
	}
	answer, n, err := do()
	outcome := outcomeOf(err)
	if err != nil {
		n = 0
	}
	h.Log.Info("admin action", "actor", caller.Actor, "verb", a.Verb, "target", a.Target, "rule", a.Rule, "reason", a.Reason, "entry", a.Entry,
		"source", a.Source, "citizen", a.Citizen, "count", n, "outcome", outcome)
	line.Time, line.Event, line.Outcome, line.Count = time.Now().UTC(), "ended", outcome, &n
	if failed := h.Audit.write(line); failed != nil {
		h.Log.Error("audit cannot be written; the action's first line stands alone", "actor", caller.Actor, "verb", a.Verb, "outcome", outcome, "error", failed)
		if err == nil {
			err = fmt.Errorf("it was done, and that cannot be written down: %w; mend what admin > audit_file names", failed)
		}
	}
	return answer, err, true
}

// refusal is an error that answers with its own status.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func outcomeOf(err error) string {
	var r *refusal
	switch {
	case err == nil:
		return outcomeDone
	case errors.As(err, &r) && r.status < 500, errors.Is(err, store.ErrNotFound):
		return outcomeRefused
	}
	return outcomeFailed
}

// ofCitizen is an action on a citizen.
func (h *handler) ofCitizen(source, citizenID string) Action {
	return Action{Source: source, Citizen: hex.EncodeToString(store.Subject(h.Store.HashKey(), source, citizenID))}
}

func actionID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it cannot fail
	return hex.EncodeToString(b[:])
}

// write appends a line and brings it to disk. Without a file there is nothing to write to.
func (a *Audit) write(l auditLine) error {
	if a == nil {
		return nil
	}
	line, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return a.append(append(line, '\n'))
}

// append opens the file anew, so that it may be moved away at any time. A line that was written in part is taken out
// again, or ended before the next.
func (a *Audit) append(line []byte) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, statErr := os.Stat(a.path)
	f, err := os.OpenFile(a.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open audit: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if os.IsNotExist(statErr) {
		if err := syncDir(filepath.Dir(a.path)); err != nil {
			return err
		}
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("read audit: %w", err)
	}
	if len(line) == 0 {
		return nil
	}
	last := [1]byte{'\n'}
	if size > 0 {
		if _, err := f.ReadAt(last[:], size-1); err != nil {
			return fmt.Errorf("read audit: %w", err)
		}
	}
	if last[0] != '\n' {
		line = append([]byte{'\n'}, line...)
	}
	if _, err := f.Write(line); err != nil {
		return errors.Join(fmt.Errorf("write audit: %w", err), f.Truncate(size))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync audit: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open folder of audit: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// deadAction is an action on the dead letters that are chosen. A citizen is hashed without a source, which the
// choice does not name.
func (h *handler) deadAction(sel DeadSelection) Action {
	a := Action{Target: sel.Target, Rule: sel.Rule, Reason: sel.Reason, Entry: sel.ID}
	if sel.Citizen != "" {
		a.Citizen = hex.EncodeToString(store.Subject(h.Store.HashKey(), "", sel.Citizen))
	}
	return a
}
