package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/consentd/consentd/core/store"
)

// page is how many entries a listing has at most.
const page = 1000

func paging(r *http.Request) (after int64, limit int, err error) {
	q := r.URL.Query()
	if after, err = number(q.Get("after")); err != nil {
		return 0, 0, errors.New("after must be a number")
	}
	n, err := number(q.Get("limit"))
	if err != nil || n < 0 {
		return 0, 0, errors.New("limit must be a number above zero")
	}
	if n == 0 || n > page {
		n = page
	}
	return after, int(n), nil
}

// cut takes a page from one entry more than it holds, and says whether that was there.
func cut[T any](all []T, limit int) ([]T, bool) {
	if len(all) > limit {
		return all[:limit], true
	}
	return all, false
}

func number(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	return strconv.ParseInt(s, 10, 64)
}

// When is a time for JSON: absent when there is none.
func When(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (h *handler) answer(w http.ResponseWriter, v any, err error) {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		problem(w, refused.status, refused.text)
	case err == store.ErrNotFound:
		problem(w, http.StatusNotFound, "there is none with that id")
	case errors.Is(err, store.ErrNotFound):
		problem(w, http.StatusNotFound, err.Error())
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrPoisoned):
		problem(w, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		problem(w, http.StatusInternalServerError, err.Error())
	default:
		write(w, http.StatusOK, v)
	}
}

func problem(w http.ResponseWriter, status int, text string) {
	write(w, status, Problem{text})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
