package admin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
)

// hanging is a store whose writer does not come back, whatever becomes of the caller, until it is let go.
type hanging struct {
	store.Store
	calls atomic.Int32
	free  chan struct{}
}

func (s *hanging) Ready(context.Context) error {
	s.calls.Add(1)
	<-s.free
	return nil
}

// TestReadyIsBounded: a store that hangs is not waited for, is not called by each probe, and is ready when it is again.
func TestReadyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &hanging{free: make(chan struct{})}
		h := NewHandler(Options{
			Admin: func() config.Admin { return config.Admin{} }, Store: s, Metrics: prometheus.NewRegistry(), Log: hclog.NewNullLogger(),
			Serving: func() bool { return true },
		})
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8485/readyz", nil))
			return w
		}
		for range 3 {
			began := time.Now()
			w := ask()
			if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "the store does not answer") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("answered after %v", took)
			}
		}
		if n := s.calls.Load(); n != 1 {
			t.Errorf("%d calls of a store that hangs", n)
		}
		close(s.free)
		synctest.Wait()
		if w := ask(); w.Code != http.StatusOK || s.calls.Load() != 2 {
			t.Errorf("after it hung: %d %s, %d calls", w.Code, w.Body, s.calls.Load())
		}
	})
}
