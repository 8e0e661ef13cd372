package admin

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/config"
)

// TestPlanIsTold: how far it is and how it ends reaches the caller, and a caller who leaves ends it.
func TestPlanIsTold(t *testing.T) {
	d := newDesk(t, config.Admin{Address: "127.0.0.1:8485"})
	var fails error
	var asked PlanRequest
	ended := make(chan error, 1)
	o := d.Options
	o.Plan = func(ctx context.Context, r PlanRequest, progress func(done, of int64)) (Plan, error) {
		asked = r
		if r.Config == "/wrong" {
			return Plan{}, errors.New("it is wrong from the start")
		}
		progress(1, 3)
		progress(2, 3)
		if r.Config == "/long" {
			select {
			case <-ctx.Done():
			case <-time.After(30 * time.Second):
			}
			ended <- ctx.Err()
			return Plan{}, ctx.Err()
		}
		return Plan{ID: "c0ffee"}, fails
	}
	server := httptest.NewServer(NewHandler(o))
	defer server.Close()
	client := NewClient(server.URL, "")
	var seen []int64
	progress := func(done, of int64) { seen = append(seen, done, of) }

	want := PlanRequest{Config: "/next.hcl", Target: "out", Samples: 2}
	if p, err := client.Plan(t.Context(), want, progress); err != nil || p.ID != "c0ffee" || asked != want || !slices.Equal(seen, []int64{1, 3, 2, 3}) {
		t.Errorf("plan %+v, %v; asked %+v, seen %v", p, err, asked, seen)
	}
	fails = errors.New("the disk is gone")
	if _, err := client.Plan(t.Context(), want, progress); err == nil || err.Error() != fails.Error() {
		t.Errorf("one that fails on the way: %v", err)
	}
	if _, err := client.Plan(t.Context(), PlanRequest{Config: "/wrong"}, progress); err == nil || err.Error() != "it is wrong from the start" {
		t.Errorf("one that is wrong: %v", err)
	}
	if _, err := client.Plan(t.Context(), PlanRequest{Samples: 101}, progress); err == nil || !strings.Contains(err.Error(), "from 0 to 100") {
		t.Errorf("too many samples: %v", err)
	}
	ctx, leave := context.WithCancel(t.Context())
	if _, err := client.Plan(ctx, PlanRequest{Config: "/long"}, func(done, _ int64) {
		if done == 2 {
			leave()
		}
	}); err == nil {
		t.Error("nobody was there any more, and it ended well")
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it goes on without its caller, and ends with %v", err)
	}
}
