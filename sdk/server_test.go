package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/consentd/consentd/sdk/targetpb"
)

// fake is a target with Deliver alone.
type fake struct {
	deliver func(ctx context.Context, records []Record) []Outcome
}

func (f *fake) Deliver(ctx context.Context, records []Record) []Outcome {
	return f.deliver(ctx, records)
}

// closing is a target that closes, too.
type closing struct {
	fake
	closed int
	err    error
}

func (c *closing) Close() error {
	c.closed++
	return c.err
}

func serverOf(t *testing.T, target Target) *server {
	t.Helper()
	s := newServer(Plugin{Type: "x", New: func(context.Context, Config, hclog.Logger) (Target, error) { return target, nil }}, hclog.NewNullLogger())
	res, err := s.Configure(t.Context(), &targetpb.ConfigureRequest{Name: "n", Config: []byte(`{}`)})
	if err != nil || len(res.Diagnostics) > 0 {
		t.Fatal(res, err)
	}
	return s
}

func TestServerAnswersOneOutcomeARecord(t *testing.T) {
	for n := range 4 {
		s := serverOf(t, &fake{func(context.Context, []Record) []Outcome {
			return []Outcome{Delivered("1"), Rejected("BAD", "ann@example.com and %s", "Lovelace"), Throttled(time.Minute, "", "")}[:n]
		}})
		res, err := s.Deliver(t.Context(), &targetpb.DeliverRequest{Records: []*targetpb.Record{
			{Id: "a"}, {Id: "b", Fields: []byte(`{"name":"Lovelace"}`)},
		}})
		if err != nil || len(res.Outcomes) != 2 {
			t.Fatal(res, err)
		}
		for i, id := range []string{"a", "b"} {
			o := res.Outcomes[i]
			if o.Id != id || i >= n && (o.Kind != targetpb.Outcome_RETRY || o.Code != "NO_OUTCOME") {
				t.Errorf("%d given, outcome %d: %v", n, i, o)
			}
		}
		if n > 1 && res.Outcomes[1].Message != "[redacted] and [redacted]" {
			t.Errorf("message %q", res.Outcomes[1].Message)
		}
	}
}

// The plugin's time ends before the host stops listening, so that it is heard.
func TestDeliverEndsBeforeTheCall(t *testing.T) {
	deadline := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	s := serverOf(t, &fake{func(ctx context.Context, _ []Record) []Outcome {
		if got, ok := ctx.Deadline(); !ok || !got.Before(deadline) {
			t.Errorf("deadline %v, the call's is %v", got, deadline)
		}
		return nil
	}})
	if _, err := s.Deliver(ctx, &targetpb.DeliverRequest{}); err != nil {
		t.Error(err)
	}
}

// A call may arrive late, with all its time from then on. What counts is when it had to end.
func TestNotAfter(t *testing.T) {
	for left, over := range map[time.Duration]bool{-time.Millisecond: true, time.Minute: false} {
		at := time.Now().Add(left)
		s := serverOf(t, &fake{func(ctx context.Context, _ []Record) []Outcome {
			if got, ok := ctx.Deadline(); !ok || got.UnixNano() != at.UnixNano() || (ctx.Err() != nil) != over {
				t.Errorf("%v left: the deadline is %v and not %v, %v", left, got, at, ctx.Err())
			}
			return nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		for _, ctx := range []context.Context{ctx, t.Context()} {
			if _, err := s.Deliver(ctx, &targetpb.DeliverRequest{NotAfter: at.UnixNano()}); err != nil {
				t.Error(err)
			}
		}
		cancel()
	}
}

func TestServerNotConfigured(t *testing.T) {
	s := newServer(Plugin{}, hclog.NewNullLogger())
	_, err := s.Deliver(t.Context(), &targetpb.DeliverRequest{})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deliver: %v", err)
	}
	if _, err := s.Close(t.Context(), nil); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestServerWithoutOptionalVerbs(t *testing.T) {
	s := serverOf(t, &fake{})
	_, check := s.Check(t.Context(), nil)
	_, read := s.Read(t.Context(), &targetpb.ReadRequest{})
	_, erase := s.Erase(t.Context(), &targetpb.EraseRequest{})
	for _, err := range []error{check, read, erase} {
		if status.Code(err) != codes.Unimplemented {
			t.Error(err)
		}
	}
	// And none of them has kept the lock.
	if _, err := s.Close(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestServerConfiguresOnce(t *testing.T) {
	s := serverOf(t, &fake{})
	if _, err := s.Configure(t.Context(), &targetpb.ConfigureRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Error(err)
	}
}

func TestServerCutsSecretsFromMistakes(t *testing.T) {
	p := Plugin{
		Config: Schema{
			Attributes: map[string]Attribute{"key": {Sensitive: true}, "host": {}},
			Blocks: map[string]Block{
				"auth": {Body: Schema{Attributes: map[string]Attribute{"token": {Sensitive: true}}}},
				"more": {Repeated: true, Body: Schema{Attributes: map[string]Attribute{"map": {Sensitive: true}}}},
			},
		},
		New: func(context.Context, Config, hclog.Logger) (Target, error) {
			return nil, errors.New("host.example says no to k3y!, t0ken and in-map")
		},
	}
	res, err := newServer(p, hclog.NewNullLogger()).Configure(t.Context(), &targetpb.ConfigureRequest{Config: []byte(
		`{"key":"k3y!","host":"host.example","auth":{"token":"t0ken"},"more":[{"map":{"x":"in-map"}}]}`)})
	if err != nil || len(res.Diagnostics) != 1 {
		t.Fatal(res, err)
	}
	if got := res.Diagnostics[0].Detail; got != "host.example says no to [redacted], [redacted] and [redacted]" {
		t.Errorf("detail %q", got)
	}
}

func TestServerCloses(t *testing.T) {
	target := &closing{}
	s := serverOf(t, target)
	for range 2 {
		if _, err := s.Close(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	if target.closed != 1 {
		t.Errorf("closed %d times", target.closed)
	}
	if _, err := s.Deliver(t.Context(), &targetpb.DeliverRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deliver after close: %v", err)
	}

	target = &closing{err: errors.New("cannot flush ann@example.com")}
	if _, err := serverOf(t, target).Close(t.Context(), nil); status.Code(err) != codes.Internal || status.Convert(err).Message() != "close target: cannot flush [redacted]" {
		t.Errorf("close that fails: %v", err)
	}
}

func TestCloseWaitsForDeliver(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	target := &closing{}
	target.deliver = func(context.Context, []Record) []Outcome {
		close(entered)
		<-leave
		if target.closed > 0 {
			t.Error("the target was closed during a call")
		}
		return nil
	}
	s := serverOf(t, target)
	delivered, closed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(delivered)
		s.Deliver(context.Background(), &targetpb.DeliverRequest{})
	}()
	<-entered
	go func() {
		defer close(closed)
		s.Close(context.Background(), nil)
	}()
	select {
	case <-closed:
		t.Error("close did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	close(leave)
	<-delivered
	<-closed
	if target.closed != 1 {
		t.Errorf("closed %d times", target.closed)
	}
}

func TestReadings(t *testing.T) {
	s := serverOf(t, &reading{})
	res, err := s.Read(t.Context(), &targetpb.ReadRequest{Records: []*targetpb.Record{{Id: "a"}, {Id: "b"}}})
	if err != nil || len(res.Readings) != 2 {
		t.Fatal(res, err)
	}
	var fields map[string]any
	if err := json.Unmarshal(res.Readings[0].Fields, &fields); err != nil || !res.Readings[0].Found || fields["x"] != true {
		t.Errorf("first %v", res.Readings[0])
	}
	if o := res.Readings[1].Outcome; o.Id != "b" || o.Code != "NO_READING" {
		t.Errorf("second %v", o)
	}
}

type reading struct{ fake }

func (*reading) Read(context.Context, []Record) []Reading {
	return []Reading{{Outcome: Delivered(""), Found: true, Fields: map[string]any{"x": true}}}
}
