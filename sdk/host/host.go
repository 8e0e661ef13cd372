// Package host is the consentd half of the wire: a typed client over the connection that go-plugin
// made. Its twin is the server in package sdk.
package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/internal/wire"
	"github.com/consentd/consentd/sdk/targetpb"
)

// Description is what a plugin says of itself.
type Description struct {
	Type, Version, Doc string
	Config, Record     sdk.Schema
	Limits             sdk.Limits
}

// Capabilities says which optional verbs a configured target serves.
type Capabilities struct {
	Check, Read, Erase bool
}

// Client speaks to one plugin process. An error from any method means that the plugin broke; what a
// vendor says is in the outcomes.
type Client struct {
	rpc    targetpb.TargetClient
	broken context.Context
}

// Broken is closed when the connection to the plugin is gone, which is how a crash shows.
func (c *Client) Broken() <-chan struct{} { return c.broken.Done() }

// Launch starts the plugin process that conf names and connects to it. The caller sets the command
// and how it is secured and logged; Launch sets what the wire asks for.
func Launch(conf *plugin.ClientConfig) (*plugin.Client, *Client, error) {
	return launch(conf, map[int]plugin.PluginSet{1: {wire.Name: clientPlugin{}}})
}

// launch offers the plugin the versions of the wire that there are, of which it takes one.
func launch(conf *plugin.ClientConfig, versions map[int]plugin.PluginSet) (*plugin.Client, *Client, error) {
	conf.HandshakeConfig = wire.Handshake
	conf.VersionedPlugins = versions
	conf.AllowedProtocols = []plugin.Protocol{plugin.ProtocolGRPC}
	conf.AutoMTLS = true
	conf.GRPCDialOptions = append(conf.GRPCDialOptions, grpc.WithDefaultCallOptions(
		grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage)))
	process := plugin.NewClient(conf)
	protocol, err := process.Client()
	if err != nil {
		process.Kill()
		return nil, nil, sayVersions(err, versions)
	}
	raw, err := protocol.Dispense(wire.Name)
	if err != nil {
		process.Kill()
		return nil, nil, err
	}
	return process, raw.(*Client), nil
}

// sayVersions says in our words that the plugin speaks no version that was offered. go-plugin's error for that has
// no type.
func sayVersions(err error, offered map[int]plugin.PluginSet) error {
	var speaks int
	if _, miss := fmt.Sscanf(err.Error(), "incompatible API version with plugin. Plugin version: %d,", &speaks); miss != nil {
		return err
	}
	var ours []string
	for _, version := range slices.Sorted(maps.Keys(offered)) {
		ours = append(ours, strconv.Itoa(version))
	}
	return fmt.Errorf("the plugin speaks version %d of the wire, and this consentd version %s; "+
		"use a release of the plugin, or of consentd, that fits", speaks, strings.Join(ours, " and "))
}

type clientPlugin struct {
	plugin.NetRPCUnsupportedPlugin
}

func (clientPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the plugin half of the wire is package sdk")
}

// GRPCClient keeps ctx because go-plugin cancels it when the process exits.
func (clientPlugin) GRPCClient(ctx context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(ctx, conn), nil
}

// NewClient speaks to a plugin over a connection that is there already. The context ends when the
// connection is gone.
func NewClient(ctx context.Context, conn grpc.ClientConnInterface) *Client {
	return &Client{rpc: targetpb.NewTargetClient(conn), broken: ctx}
}

// Describe asks the plugin what it is.
func (c *Client) Describe(ctx context.Context) (Description, error) {
	res, err := c.rpc.Describe(ctx, &targetpb.DescribeRequest{})
	if err != nil {
		return Description{}, err
	}
	return Description{
		Type: res.Type, Version: res.Version, Doc: res.Doc,
		Config: schemaFromProto(res.Config), Record: schemaFromProto(res.Record),
		Limits: sdk.Limits{MaxBatch: int(res.Limits.GetMaxBatch()), MaxInFlight: int(res.Limits.GetMaxInFlight())},
	}, nil
}

// Configure makes the target. Mistakes in the configuration come back as data.
func (c *Client) Configure(ctx context.Context, cfg sdk.Config) (Capabilities, []sdk.ConfigError, error) {
	res, err := c.rpc.Configure(ctx, &targetpb.ConfigureRequest{Name: cfg.Target, Config: cfg.Fields})
	if err != nil {
		return Capabilities{}, nil, err
	}
	var mistakes []sdk.ConfigError
	for _, d := range res.Diagnostics {
		mistakes = append(mistakes, sdk.ConfigError{Path: d.Path, Summary: d.Summary, Detail: d.Detail})
	}
	can := res.GetCapabilities()
	return Capabilities{Check: can.GetCheck(), Read: can.GetRead(), Erase: can.GetErase()}, mistakes, nil
}

// Check asks whether the credentials work.
func (c *Client) Check(ctx context.Context) (sdk.Outcome, error) {
	res, err := c.rpc.Check(ctx, &targetpb.CheckRequest{})
	if err != nil {
		return sdk.Outcome{}, err
	}
	return outcomeFromProto(res.GetOutcome()), nil
}

// Deliver returns one outcome a record, in the records' order; a record of which the plugin said
// nothing is Retry. When ctx ends, the plugin has wire.Grace more to say what it knows; if it does
// not, the error is a status with code Canceled or DeadlineExceeded.
func (c *Client) Deliver(ctx context.Context, records []sdk.Record) ([]sdk.Outcome, error) {
	notAfter := end(ctx)
	ctx, cancel := outlive(ctx)
	defer cancel()
	res, err := c.rpc.Deliver(ctx, &targetpb.DeliverRequest{Records: recordsToProto(records), NotAfter: notAfter})
	if err != nil {
		return nil, err
	}
	return outcomesFromProto(res.Outcomes, records), nil
}

// WithTraceparent has the calls made with the context tell the plugin of the trace that they are part of, in the form of W3C
// Trace Context. It is metadata of the call and no part of the wire: a plugin that does not know it loses nothing.
func WithTraceparent(ctx context.Context, traceparent string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "traceparent", traceparent)
}

// Read returns one reading a record, in the records' order.
func (c *Client) Read(ctx context.Context, records []sdk.Record) ([]sdk.Reading, error) {
	res, err := c.rpc.Read(ctx, &targetpb.ReadRequest{Records: recordsToProto(records)})
	if err != nil {
		return nil, err
	}
	byID := make(map[string]sdk.Reading, len(res.Readings))
	for _, r := range res.Readings {
		reading := sdk.Reading{Outcome: outcomeFromProto(r.GetOutcome()), Found: r.Found}
		if len(r.Fields) > 0 {
			d := json.NewDecoder(bytes.NewReader(r.Fields))
			d.UseNumber()
			if err := d.Decode(&reading.Fields); err != nil {
				return nil, errors.New("decode reading: not a JSON object")
			}
		}
		byID[r.GetOutcome().GetId()] = reading
	}
	return inOrder(byID, records, sdk.Reading{Outcome: sdk.Retry("NO_READING", "the plugin gave no reading")}), nil
}

// Erase returns one outcome a record, as Deliver does.
func (c *Client) Erase(ctx context.Context, records []sdk.Record) ([]sdk.Outcome, error) {
	notAfter := end(ctx)
	ctx, cancel := outlive(ctx)
	defer cancel()
	res, err := c.rpc.Erase(ctx, &targetpb.EraseRequest{Records: recordsToProto(records), NotAfter: notAfter})
	if err != nil {
		return nil, err
	}
	return outcomesFromProto(res.Outcomes, records), nil
}

// Close lets the target finish and free what it holds.
func (c *Client) Close(ctx context.Context) error {
	_, err := c.rpc.Close(ctx, &targetpb.CloseRequest{})
	return err
}

// end is when ctx ends, in nanoseconds since 1970; 0: never.
func end(ctx context.Context) int64 {
	deadline, ends := ctx.Deadline()
	if !ends {
		return 0
	}
	return deadline.UnixNano()
}

// outlive makes a context that ends wire.Grace after ctx does.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if deadline, ok := ctx.Deadline(); ok {
		cancel()
		late, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(wire.Grace))
	}
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return // the deadline above ends it, as one: whoever hangs past it is known by that
		}
		grace := time.NewTimer(wire.Grace)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel()
		case <-late.Done():
		}
	})
	return late, func() {
		stop()
		cancel()
	}
}

func schemaFromProto(s *targetpb.Schema) sdk.Schema {
	out := sdk.Schema{Attributes: map[string]sdk.Attribute{}, Blocks: map[string]sdk.Block{}}
	for _, a := range s.GetAttributes() {
		out.Attributes[a.Name] = sdk.Attribute{
			Type: a.Type, Doc: a.Doc, Required: a.Required,
			Sensitive: a.Sensitive, Enum: a.Enum, Default: a.Default,
		}
	}
	for _, b := range s.GetBlocks() {
		out.Blocks[b.Name] = sdk.Block{
			Doc: b.Doc, Required: b.Required, Repeated: b.Repeated, Body: schemaFromProto(b.Body),
		}
	}
	return out
}

func recordsToProto(in []sdk.Record) []*targetpb.Record {
	out := make([]*targetpb.Record, len(in))
	for i, r := range in {
		out[i] = &targetpb.Record{Id: r.ID, Withdrawal: r.Withdrawal, Fields: r.Fields}
	}
	return out
}

func outcomesFromProto(in []*targetpb.Outcome, records []sdk.Record) []sdk.Outcome {
	byID := make(map[string]sdk.Outcome, len(in))
	for _, o := range in {
		byID[o.GetId()] = outcomeFromProto(o)
	}
	return inOrder(byID, records, sdk.Retry("NO_OUTCOME", "the plugin gave no outcome"))
}

func inOrder[T any](byID map[string]T, records []sdk.Record, missing T) []T {
	out := make([]T, len(records))
	for i, r := range records {
		if v, ok := byID[r.ID]; ok {
			out[i] = v
		} else {
			out[i] = missing
		}
	}
	return out
}

func outcomeFromProto(o *targetpb.Outcome) sdk.Outcome {
	out := sdk.Outcome{
		Kind: kindFromProto(o.GetKind()), Code: o.GetCode(), Message: o.GetMessage(), Reference: o.GetReference(),
		Individual: o.GetIndividual(),
	}
	if after := o.GetRetryAfter(); after != nil {
		out.RetryAfter = min(max(after.AsDuration(), 0), sdk.MaxRetryAfter)
	}
	return out
}

func kindFromProto(k targetpb.Outcome_Kind) sdk.Kind {
	switch k {
	case targetpb.Outcome_DELIVERED:
		return sdk.KindDelivered
	case targetpb.Outcome_UNCHANGED:
		return sdk.KindUnchanged
	case targetpb.Outcome_ACCEPTED:
		return sdk.KindAccepted
	case targetpb.Outcome_THROTTLED:
		return sdk.KindThrottled
	case targetpb.Outcome_UNAUTHORIZED:
		return sdk.KindUnauthorized
	case targetpb.Outcome_REJECTED:
		return sdk.KindRejected
	default:
		return sdk.KindRetry
	}
}
