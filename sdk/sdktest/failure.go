package sdktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/consentd/consentd/sdk"
)

var (
	errNoHandler = errors.New("Vendor.Handler is missing, so the kit has nothing to make fail: write a fake of the vendor's HTTP API, or a reason in Skip")
	errNotAsked  = errors.New("the vendor was not asked: does Suite.Config send the plugin to sdktest.URL?")
)

// checkFailure delivers into a failure, and then again when it is over.
func checkFailure(f failure) func(*world) error {
	return func(w *world) error {
		if w.front == nil {
			return errNoHandler
		}
		// Whoever signs in has signed in when the failure begins.
		if err := w.told(ann, true); err != nil {
			return err
		}
		r, err := w.of(bob, true)
		if err != nil {
			return err
		}
		before := w.front.requests.Load()
		w.front.misbehave(f.serve(w))
		outcomes, err := f.into(w, r)
		switch {
		case err != nil && f.name == "http/timeout":
			return errors.New("no outcome a second after the deadline of the call: give the context of Deliver to every request, and return when it ends")
		case err != nil:
			return broke("Deliver", err)
		case w.front.requests.Load() == before:
			return errNotAsked
		case w.front.followed.Load():
			return errors.New("the redirect was followed: a record with personal data went where the configuration does not say")
		}
		if err := f.judge(w.suite, outcomes[0]); err != nil {
			return err
		}
		w.front.misbehave(nil)
		outcomes, err = w.deliver(r)
		if err != nil {
			return err
		}
		if !outcomes[0].Kind.Done() {
			return fmt.Errorf("the failure is over, and the same record ends as %s: what a failure leaves in the target must not outlast it", show(outcomes[0]))
		}
		return nil
	}
}

// into delivers a record. Where the call has to end by its deadline that is short, and longer if the
// machine was too busy to ask the vendor in it.
func (f failure) into(w *world, r sdk.Record) ([]sdk.Outcome, error) {
	deadline := patience
	if f.name == "http/timeout" {
		deadline = 300 * time.Millisecond
	}
	for before := w.front.requests.Load(); ; deadline *= 4 {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		outcomes, err := w.client.Deliver(ctx, []sdk.Record{r})
		cancel()
		if err != nil || w.front.requests.Load() > before || deadline >= patience {
			return outcomes, err
		}
	}
}

// judge is whether an outcome is of the class that the failure asks for.
func (f failure) judge(s *Suite, o sdk.Outcome) error {
	want := f.want
	if own, ok := s.Failures[f.name]; ok {
		want = []sdk.Kind{own}
	}
	if !slices.Contains(want, o.Kind) {
		var names []string
		for _, k := range want {
			names = append(names, k.String())
		}
		return fmt.Errorf("ended as %s\nIt must be %s; sdk.FromResponse and sdk.FromError do so. Where this vendor means something else by it, write that in Suite.Failures", show(o), strings.Join(names, " or "))
	}
	if !o.Kind.Done() && (o.Code == "" || o.Message == "") {
		return fmt.Errorf("the outcome does not say what is wrong: it needs a code and a message: %+v", o)
	}
	if after := time.Duration(retryAfter) * time.Second; strings.HasSuffix(f.name, "retry-after") && (o.RetryAfter < after-2*time.Second || o.RetryAfter > after+2*time.Second) {
		return fmt.Errorf("the vendor said Retry-After: %d, and the outcome says %s: sdk.FromResponse and sdk.RetryAfter read it", retryAfter, o.RetryAfter)
	}
	return nil
}

// checkCancel cuts a call short and sees how soon the target is free.
func checkCancel(w *world) error {
	if w.front == nil {
		return errNoHandler
	}
	if err := w.told(ann, true); err != nil {
		return err
	}
	r, err := w.of(bob, true)
	if err != nil {
		return err
	}
	w.front.misbehave(w.front.hang)
	before := w.front.requests.Load()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- w.call(ctx, r)
	}()
	for end := time.Now().Add(patience); w.front.requests.Load() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return errNotAsked
		}
	}
	cancel()
	<-ended
	// Close waits for the calls under way, so its end is theirs.
	late, stop := context.WithTimeout(context.Background(), prompt)
	defer stop()
	if err := w.client.Close(late); status.Code(err) == codes.DeadlineExceeded {
		return errors.New("a call that was cancelled still ran a second later: give the context of Deliver to every request, and return when it ends")
	}
	return nil
}
