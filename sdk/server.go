package sdk

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/consentd/consentd/sdk/internal/wire"
	"github.com/consentd/consentd/sdk/targetpb"
)

// server is the plugin's half of the wire. Its twin is package host.
type server struct {
	targetpb.UnimplementedTargetServer
	plugin Plugin
	log    hclog.Logger
	// stderr is the process's own. go-plugin puts a stream to the host in the place of both outputs, which
	// loses what a plugin says right before it ends.
	stderr *os.File

	// mu is held for reading during every call to the target, so Close waits for the calls under way.
	mu     sync.RWMutex
	target Target // nil until Configure
}

func newServer(p Plugin, log hclog.Logger) *server {
	return &server{plugin: p, log: log}
}

// configured is the target and what ends the call to it.
func (s *server) configured() (Target, func(), error) {
	s.mu.RLock()
	if s.target == nil {
		s.mu.RUnlock()
		return nil, nil, status.Error(codes.FailedPrecondition, "target is not configured")
	}
	return s.target, s.mu.RUnlock, nil
}

func (s *server) Describe(context.Context, *targetpb.DescribeRequest) (*targetpb.DescribeResponse, error) {
	return &targetpb.DescribeResponse{
		Type:    s.plugin.Type,
		Version: s.plugin.Version,
		Doc:     s.plugin.Doc,
		Config:  schemaToProto(s.plugin.Config),
		Record:  schemaToProto(s.plugin.Record),
		Limits: &targetpb.Limits{
			MaxBatch:    int32(s.plugin.Limits.MaxBatch),
			MaxInFlight: int32(s.plugin.Limits.MaxInFlight),
		},
	}, nil
}

func (s *server) Configure(ctx context.Context, req *targetpb.ConfigureRequest) (*targetpb.ConfigureResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.target != nil {
		return nil, status.Error(codes.FailedPrecondition, "target is configured already")
	}
	if wrong := s.plugin.Config.Mistakes(req.Config); len(wrong) > 0 {
		return &targetpb.ConfigureResponse{Diagnostics: diagnosticsToProto(wrong, secretsIn(s.plugin.Config, req.Config))}, nil
	}
	if s.stderr != nil {
		os.Stdout, os.Stderr = s.stderr, s.stderr
	}
	target, err := s.plugin.New(ctx, Config{Target: req.Name, Fields: req.Config}, s.log.Named(req.Name))
	if err != nil {
		return &targetpb.ConfigureResponse{
			Diagnostics: diagnosticsToProto(configErrors(err), secretsIn(s.plugin.Config, req.Config)),
		}, nil
	}
	s.target = target
	_, check := target.(Checker)
	_, read := target.(Reader)
	_, erase := target.(Eraser)
	return &targetpb.ConfigureResponse{Capabilities: &targetpb.Capabilities{Check: check, Read: read, Erase: erase}}, nil
}

func (s *server) Check(ctx context.Context, _ *targetpb.CheckRequest) (*targetpb.CheckResponse, error) {
	target, done, err := s.configured()
	if err != nil {
		return nil, err
	}
	defer done()
	checker, ok := target.(Checker)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "target has no check")
	}
	return &targetpb.CheckResponse{Outcome: outcomeToProto(checker.Check(ctx), Record{})}, nil
}

func (s *server) Deliver(ctx context.Context, req *targetpb.DeliverRequest) (*targetpb.DeliverResponse, error) {
	target, done, err := s.configured()
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := ownTime(ctx, req.NotAfter)
	defer cancel()
	records := recordsFromProto(req.Records)
	return &targetpb.DeliverResponse{Outcomes: outcomesToProto(target.Deliver(ctx, records), records)}, nil
}

func (s *server) Read(ctx context.Context, req *targetpb.ReadRequest) (*targetpb.ReadResponse, error) {
	target, done, err := s.configured()
	if err != nil {
		return nil, err
	}
	defer done()
	reader, ok := target.(Reader)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "target has no read")
	}
	records := recordsFromProto(req.Records)
	readings := reader.Read(ctx, records)
	res := &targetpb.ReadResponse{}
	for i, r := range records {
		reading := Reading{Outcome: Retry("NO_READING", "the plugin gave no reading")}
		if i < len(readings) {
			reading = readings[i]
		}
		fields, err := json.Marshal(reading.Fields)
		if err != nil {
			return nil, status.Error(codes.Internal, "reading cannot be encoded")
		}
		res.Readings = append(res.Readings, &targetpb.Reading{
			Outcome: outcomeToProto(reading.Outcome, r), Found: reading.Found, Fields: fields,
		})
	}
	return res, nil
}

func (s *server) Erase(ctx context.Context, req *targetpb.EraseRequest) (*targetpb.EraseResponse, error) {
	target, done, err := s.configured()
	if err != nil {
		return nil, err
	}
	defer done()
	eraser, ok := target.(Eraser)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "target has no erase")
	}
	ctx, cancel := ownTime(ctx, req.NotAfter)
	defer cancel()
	records := recordsFromProto(req.Records)
	return &targetpb.EraseResponse{Outcomes: outcomesToProto(eraser.Erase(ctx, records), records)}, nil
}

// ownTime is the target's own: it ends before the call does, so that what the target says by then arrives, and not after
// an instant in nanoseconds since 1970, if there is one.
func ownTime(ctx context.Context, notAfter int64) (context.Context, context.CancelFunc) {
	end, ends := ctx.Deadline()
	end = end.Add(-wire.Grace)
	if at := time.Unix(0, notAfter); notAfter != 0 && (!ends || at.Before(end)) {
		end, ends = at, true
	}
	if !ends {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, end)
}

// Close may be called more than once; the target's own Close runs once.
func (s *server) Close(context.Context, *targetpb.CloseRequest) (*targetpb.CloseResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	target := s.target
	s.target = nil
	if closer, ok := target.(Closer); ok {
		if err := closer.Close(); err != nil {
			return nil, status.Error(codes.Internal, "close target: "+Redact(err.Error(), nil))
		}
	}
	return &targetpb.CloseResponse{}, nil
}

func schemaToProto(s Schema) *targetpb.Schema {
	out := &targetpb.Schema{}
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		a := s.Attributes[name]
		out.Attributes = append(out.Attributes, &targetpb.Attribute{
			Name: name, Type: a.Type, Doc: a.Doc, Required: a.Required,
			Sensitive: a.Sensitive, Enum: a.Enum, Default: a.Default,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Blocks)) {
		b := s.Blocks[name]
		out.Blocks = append(out.Blocks, &targetpb.Block{
			Name: name, Doc: b.Doc, Required: b.Required, Repeated: b.Repeated, Body: schemaToProto(b.Body),
		})
	}
	return out
}

// diagnosticsToProto cuts the secrets out: an error from a vendor's client may quote one.
func diagnosticsToProto(errs []*ConfigError, secrets []string) []*targetpb.Diagnostic {
	var out []*targetpb.Diagnostic
	for _, e := range errs {
		out = append(out, &targetpb.Diagnostic{Path: e.Path, Summary: cut(e.Summary, secrets), Detail: cut(e.Detail, secrets)})
	}
	return out
}

func recordsFromProto(in []*targetpb.Record) []Record {
	out := make([]Record, len(in))
	for i, r := range in {
		out[i] = Record{ID: r.Id, Withdrawal: r.Withdrawal, Fields: r.Fields}
	}
	return out
}

// outcomesToProto answers one outcome a record, whatever the plugin returned.
func outcomesToProto(in []Outcome, records []Record) []*targetpb.Outcome {
	out := make([]*targetpb.Outcome, len(records))
	for i, r := range records {
		o := Retry("NO_OUTCOME", "the plugin gave no outcome")
		if i < len(in) {
			o = in[i]
		}
		out[i] = outcomeToProto(o, r)
	}
	return out
}

func outcomeToProto(o Outcome, r Record) *targetpb.Outcome {
	out := &targetpb.Outcome{Id: r.ID, Kind: kindToProto(o.Kind), Reference: o.Reference, Individual: o.Individual}
	if o.Code != "" {
		out.Code = Redact(o.Code, r.Fields)
	}
	if o.Message != "" {
		out.Message = Redact(o.Message, r.Fields)
	}
	if o.RetryAfter > 0 {
		out.RetryAfter = durationpb.New(o.RetryAfter)
	}
	return out
}

func kindToProto(k Kind) targetpb.Outcome_Kind {
	switch k {
	case KindDelivered:
		return targetpb.Outcome_DELIVERED
	case KindUnchanged:
		return targetpb.Outcome_UNCHANGED
	case KindAccepted:
		return targetpb.Outcome_ACCEPTED
	case KindThrottled:
		return targetpb.Outcome_THROTTLED
	case KindUnauthorized:
		return targetpb.Outcome_UNAUTHORIZED
	case KindRejected:
		return targetpb.Outcome_REJECTED
	default:
		return targetpb.Outcome_RETRY
	}
}
