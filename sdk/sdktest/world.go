package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/host"
	"github.com/consentd/consentd/sdk/targetpb"
)

const (
	// patience is how long a call may take against a vendor that answers at once.
	patience = 20 * time.Second
	// prompt is how soon a call ends when its time is up.
	prompt = time.Second
)

// The people of the records. They are easy to find in a log.
const (
	ann = "annkit7a"
	bob = "bobkit7b"
	cem = "cemkit7c"
)

// world is one plugin behind the wire, and one vendor behind the kit's front.
type world struct {
	suite  *Suite
	plugin sdk.Plugin
	config map[string]any
	vendor Vendor
	front  *front // nil without Vendor.Handler
	log    *output
	client *host.Client
	raw    targetpb.TargetClient
	can    host.Capabilities

	wire   []func() // what ends the connection to the plugin; the last one first
	place  []func() // what ends all the rest; the last one first
	sent   int
	people map[string]map[string]any // the newest record of each
}

// open makes a world whose target is not configured yet.
func open(s *Suite) (*world, error) {
	dir, err := os.MkdirTemp("", "sdktest")
	if err != nil {
		return nil, err
	}
	w := &world{suite: s, log: &output{}, people: map[string]map[string]any{}}
	w.place = append(w.place, func() { os.RemoveAll(dir) })
	inside := filepath.Join(dir, "dir")
	if err := os.Mkdir(inside, 0o700); err != nil {
		w.close()
		return nil, err
	}
	w.vendor = s.Vendor(inside)
	places := []string{Dir, inside}
	if w.vendor.Handler != nil {
		w.front = newFront(w.vendor.Handler)
		server := httptest.NewServer(w.front)
		w.place = append(w.place, server.Close)
		places = append(places, URL, server.URL)
	}
	w.config = fill(strings.NewReplacer(places...), s.Config).(map[string]any)
	w.plugin = s.Plugin()
	if err := w.serve(filepath.Join(dir, "socket")); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// serve puts the plugin on a real gRPC server behind a real socket, and connects to it as consentd does.
func (w *world) serve(socket string) error {
	if w.plugin.New == nil {
		return errors.New("Plugin.New is nil: write the function that makes a target")
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	log := hclog.New(&hclog.LoggerOptions{Name: w.plugin.Type, Level: hclog.Trace, Output: w.log})
	server := grpc.NewServer(grpc.UnaryInterceptor(recovered))
	sdk.Register(server, w.plugin, log)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with Stop
	}()
	w.wire = append(w.wire, func() { <-served }, server.Stop)
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	w.wire = append(w.wire, func() { conn.Close() })
	w.client, w.raw = host.NewClient(context.Background(), conn), targetpb.NewTargetClient(conn)
	return nil
}

// recovered turns a panic of the plugin into an error that says where it was.
func recovered(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (res any, err error) {
	defer func() {
		if what := recover(); what != nil {
			err = status.Errorf(codes.Internal, "the plugin panicked: %v\n%s", what, debug.Stack())
		}
	}()
	return handle(ctx, req)
}

// start makes a world with a target.
func start(s *Suite) (*world, error) {
	w, err := open(s)
	if err != nil {
		return nil, err
	}
	mistakes, err := w.configure(w.config)
	if err == nil && len(mistakes) > 0 {
		err = fmt.Errorf("Suite.Config is refused: %v", &mistakes[0])
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) configure(config map[string]any) ([]sdk.ConfigError, error) {
	fields, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("Suite.Config is not plain data: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	can, mistakes, err := w.client.Configure(ctx, sdk.Config{Target: "kit", Fields: fields})
	if err != nil {
		return nil, broke("Configure", err)
	}
	w.can = can
	return mistakes, nil
}

// end closes the target as consentd does.
func (w *world) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.client.Close(ctx); err != nil {
		return broke("Close", err)
	}
	return nil
}

func (w *world) close() {
	if w.front != nil {
		w.front.release() // whatever still waits for the vendor
	}
	if w.client != nil {
		_ = w.end() // the check "close" looks at it
	}
	w.disconnect()
	for _, stop := range slices.Backward(w.place) {
		stop()
	}
	w.place = nil
}

func (w *world) disconnect() {
	for _, stop := range slices.Backward(w.wire) {
		stop()
	}
	w.wire = nil
}

// record numbers a record. Each version of a person has an id of its own.
func (w *world) record(person string, fields map[string]any, withdrawal bool) (sdk.Record, error) {
	data, err := json.Marshal(fields)
	if err != nil {
		return sdk.Record{}, fmt.Errorf("the record is not plain data: %w", err)
	}
	w.sent++
	w.people[person] = fields
	return sdk.Record{ID: fmt.Sprintf("kit-%d", w.sent), Withdrawal: withdrawal, Fields: data}, nil
}

func (w *world) of(person string, allowed bool) (sdk.Record, error) {
	return w.record(person, w.suite.Record(person, allowed), !allowed)
}

// deliver sends records, in as many calls as the plugin's MaxBatch asks for.
func (w *world) deliver(records ...sdk.Record) ([]sdk.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	size := w.plugin.Limits.MaxBatch
	if size <= 0 {
		size = len(records)
	}
	var all []sdk.Outcome
	for batch := range slices.Chunk(records, size) {
		outcomes, err := w.client.Deliver(ctx, batch)
		if err != nil {
			return nil, broke("Deliver", err)
		}
		all = append(all, outcomes...)
	}
	return all, nil
}

// tell delivers what Suite.Record makes and returns its outcome.
func (w *world) tell(person string, allowed bool) (sdk.Outcome, error) {
	r, err := w.of(person, allowed)
	if err != nil {
		return sdk.Outcome{}, err
	}
	outcomes, err := w.deliver(r)
	if err != nil {
		return sdk.Outcome{}, err
	}
	return outcomes[0], nil
}

// told is tell for a record that has to get through.
func (w *world) told(person string, allowed bool) error {
	o, err := w.tell(person, allowed)
	if err == nil && !o.Kind.Done() {
		err = fmt.Errorf("Suite.Record(%q, %t) was not delivered: %s", person, allowed, show(o))
	}
	return err
}

// state is what the vendor holds now, by its own account or by the target's.
func (w *world) state() (any, error) {
	if w.vendor.State != nil {
		return w.vendor.State(), nil
	}
	if !w.can.Read {
		return nil, errors.New("the kit cannot see what the vendor holds: write Vendor.State, or make the target an sdk.Reader")
	}
	people := slices.Sorted(maps.Keys(w.people))
	held := map[string]any{}
	for _, person := range people {
		reading, err := w.read(person)
		if err != nil {
			return nil, err
		}
		if reading.Outcome.Kind != sdk.KindDelivered {
			return nil, fmt.Errorf("the target's Read of a person failed: %s", show(reading.Outcome))
		}
		if reading.Found {
			held[person] = reading.Fields
		}
	}
	return held, nil
}

func (w *world) read(person string) (sdk.Reading, error) {
	r, err := w.of(person, true)
	if err != nil {
		return sdk.Reading{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	readings, err := w.client.Read(ctx, []sdk.Record{r})
	if err != nil {
		return sdk.Reading{}, broke("Read", err)
	}
	return readings[0], nil
}

func broke(verb string, err error) error {
	return fmt.Errorf("%s broke the plugin, which may answer outcomes only: %s", verb, status.Convert(err).Message())
}

func show(o sdk.Outcome) string {
	text := o.Kind.String()
	if o.Code != "" {
		text += " " + o.Code
	}
	if o.Message != "" {
		text += ": " + o.Message
	}
	return text
}

// fill puts places into the strings of v, in a copy.
func fill(places *strings.Replacer, v any) any {
	switch v := v.(type) {
	case string:
		return places.Replace(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = fill(places, e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = fill(places, e)
		}
		return out
	case map[string]string:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = places.Replace(e)
		}
		return out
	}
	return v
}

// output is where a log goes. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
