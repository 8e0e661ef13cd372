package host

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/targetpb"
)

// With an argument the test binary is a plugin, or a host that waits to be killed.
func TestMain(m *testing.M) {
	switch os.Args[len(os.Args)-1] {
	case "be-a-plugin":
		sdk.Serve(described)
		os.Exit(0)
	case "be-bare":
		fmt.Fprintln(os.Stderr, beBare())
		os.Exit(1)
	case "be-version-2":
		plugin.Serve(servingVersions(2))
		os.Exit(0)
	case "be-versions-1-and-2":
		plugin.Serve(servingVersions(1, 2))
		os.Exit(0)
	case "be-a-host":
		process, _, err := Launch(pluginConfig())
		if err != nil {
			os.Exit(1)
		}
		fmt.Println(process.ReattachConfig().Pid)
		select {}
	}
	goleak.VerifyTestMain(m)
}

var described = sdk.Plugin{
	Type: "real", Version: "2.0.1", Doc: "Doc.",
	Config: sdk.Schema{
		Attributes: map[string]sdk.Attribute{
			"key": {Type: "string", Doc: "A key.", Required: true, Sensitive: true, Enum: []string{"a", "b"}, Default: `"a"`},
		},
		Blocks: map[string]sdk.Block{"inner": {Doc: "Inner.", Required: true, Repeated: true, Body: sdk.Schema{
			Attributes: map[string]sdk.Attribute{"flags": {Type: "map(bool)"}}, Blocks: map[string]sdk.Block{},
		}}},
	},
	Record: sdk.Schema{Attributes: map[string]sdk.Attribute{"id": {Type: "number"}}, Blocks: map[string]sdk.Block{}},
	Limits: sdk.Limits{MaxBatch: 5, MaxInFlight: 2},
	New: func(_ context.Context, cfg sdk.Config, _ hclog.Logger) (sdk.Target, error) {
		var c struct{ Key string }
		if err := cfg.Decode(&c); err != nil || c.Key == "b" {
			return nil, sdk.InvalidConfig("key", "is wrong in %s", cfg.Target)
		}
		return echo{}, nil
	},
}

// echo gives back what it gets.
type echo struct{}

func (echo) Deliver(_ context.Context, records []sdk.Record) []sdk.Outcome {
	outcomes := make([]sdk.Outcome, len(records))
	for i, r := range records {
		outcomes[i] = sdk.Delivered(r.ID + string(r.Fields))
		if r.Withdrawal {
			outcomes[i] = sdk.Throttled(90*time.Second, "SLOW", "slow")
		}
	}
	return outcomes
}

func (echo) Read(_ context.Context, records []sdk.Record) []sdk.Reading {
	return []sdk.Reading{{Outcome: sdk.Delivered(""), Found: true, Fields: map[string]any{"id": json.Number("9007199254740993")}}}
}

func pluginConfig() *plugin.ClientConfig {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return &plugin.ClientConfig{Cmd: exec.Command(self, "be-a-plugin"), SkipHostEnv: true, Logger: hclog.NewNullLogger()}
}

// A plugin ends when its host is gone, also where the kernel does not see to it.
func TestPluginFollowsItsHost(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self, "be-a-host")
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	host.Process.Kill()
	host.Wait()
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		// A zombie that nobody has reaped has no memory any more.
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err != nil || !strings.Contains(string(status), "VmRSS") {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the plugin lives on")
		}
	}
}

func TestRealProcess(t *testing.T) {
	process, client, err := Launch(pluginConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer process.Kill()

	about, err := client.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Description{
		Type: described.Type, Version: described.Version, Doc: described.Doc,
		Config: described.Config, Record: described.Record, Limits: described.Limits,
	}
	if !reflect.DeepEqual(about, want) {
		t.Errorf("described as %+v, want %+v", about, want)
	}

	_, mistakes, err := client.Configure(t.Context(), sdk.Config{Target: "n", Fields: json.RawMessage(`{"key":"b","inner":[{}]}`)})
	if err != nil || len(mistakes) != 1 || !slices.Equal(mistakes[0].Path, []string{"key"}) || mistakes[0].Detail != "is wrong in n" {
		t.Errorf("mistakes %+v, %v", mistakes, err)
	}
	can, mistakes, err := client.Configure(t.Context(), sdk.Config{Target: "n", Fields: json.RawMessage(`{"key":"a","inner":[{}]}`)})
	if err != nil || len(mistakes) > 0 || can != (Capabilities{Read: true}) {
		t.Errorf("configured %+v, %v, %v", can, mistakes, err)
	}

	records := []sdk.Record{{ID: "1", Fields: json.RawMessage(`{"n":9007199254740993}`)}, {ID: "2", Withdrawal: true}}
	outcomes, err := client.Deliver(t.Context(), records)
	if err != nil || outcomes[0] != sdk.Delivered(`1{"n":9007199254740993}`) || outcomes[1] != sdk.Throttled(90*time.Second, "SLOW", "slow") {
		t.Errorf("outcomes %+v, %v", outcomes, err)
	}
	readings, err := client.Read(t.Context(), records)
	if err != nil || readings[0].Fields["id"] != json.Number("9007199254740993") || readings[1].Outcome.Code != "NO_READING" {
		t.Errorf("readings %+v, %v", readings, err)
	}

	for range 2 {
		if err := client.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	select {
	case <-client.Broken():
		t.Error("broken before its end")
	default:
	}
	process.Kill()
	<-client.Broken()
	if _, err := client.Deliver(t.Context(), records); err == nil {
		t.Error("a process that has ended delivers")
	}
}

func TestNotAPlugin(t *testing.T) {
	_, _, err := Launch(&plugin.ClientConfig{Cmd: exec.Command("/bin/true"), SkipHostEnv: true, Logger: hclog.NewNullLogger()})
	if err == nil {
		t.Error("no error")
	}
}

// raw is a plugin that says on the wire whatever a test wants.
type raw struct {
	targetpb.UnimplementedTargetServer
	outcomes []*targetpb.Outcome
	deliver  func(ctx context.Context)
	notAfter int64 // of the last call
}

func (r *raw) Deliver(ctx context.Context, req *targetpb.DeliverRequest) (*targetpb.DeliverResponse, error) {
	r.notAfter = req.NotAfter
	if r.deliver != nil {
		r.deliver(ctx)
	}
	return &targetpb.DeliverResponse{Outcomes: r.outcomes}, nil
}

func clientOf(t *testing.T, impl targetpb.TargetServer) *Client {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	targetpb.RegisterTargetServer(server, impl)
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(listener)
	}()
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		<-served
	})
	return NewClient(context.Background(), conn)
}

func TestOutcomesAreMatchedByID(t *testing.T) {
	client := clientOf(t, &raw{outcomes: []*targetpb.Outcome{
		{Id: "c", Kind: targetpb.Outcome_REJECTED, Code: "C"},
		{Id: "stranger", Kind: targetpb.Outcome_DELIVERED},
		{Id: "a", Kind: targetpb.Outcome_DELIVERED},
		nil,
		{Id: "d", Kind: 99, Code: "D"},
		{Id: "e", Kind: targetpb.Outcome_THROTTLED, RetryAfter: durationpb.New(-time.Hour)},
		{Id: "f", Kind: targetpb.Outcome_THROTTLED, RetryAfter: durationpb.New(1000 * time.Hour)},
	}})
	var records []sdk.Record
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		records = append(records, sdk.Record{ID: id})
	}
	outcomes, err := client.Deliver(t.Context(), records)
	if err != nil {
		t.Fatal(err)
	}
	want := []sdk.Outcome{
		{Kind: sdk.KindDelivered},
		sdk.Retry("NO_OUTCOME", "the plugin gave no outcome"),
		{Kind: sdk.KindRejected, Code: "C"},
		{Kind: sdk.KindRetry, Code: "D"},
		{Kind: sdk.KindThrottled},
		{Kind: sdk.KindThrottled, RetryAfter: sdk.MaxRetryAfter},
	}
	if !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %+v\nwant     %+v", outcomes, want)
	}
}

// A call outlives its caller's context by a moment and not more.
func TestDeliverOutlivesItsContext(t *testing.T) {
	never := map[string]codes.Code{"deadline": codes.DeadlineExceeded, "cancel": codes.Canceled}
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Millisecond)
		},
		"cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := make(chan struct{})
			client := clientOf(t, &raw{outcomes: []*targetpb.Outcome{{Id: "a", Kind: targetpb.Outcome_DELIVERED}}, deliver: func(context.Context) { <-answer }})
			ctx, cancel := end(t.Context())
			time.AfterFunc(50*time.Millisecond, func() { close(answer) })
			outcomes, err := client.Deliver(ctx, []sdk.Record{{ID: "a"}})
			if err != nil || outcomes[0].Kind != sdk.KindDelivered {
				t.Errorf("%s, answered late: %+v, %v", name, outcomes, err)
			}
			cancel()

			client = clientOf(t, &raw{deliver: func(ctx context.Context) { <-ctx.Done() }})
			ctx, cancel = end(t.Context())
			_, err = client.Deliver(ctx, []sdk.Record{{ID: "a"}})
			if status.Code(err) != never[name] {
				t.Errorf("%s, never answered: %v", name, err)
			}
			cancel()
		})
	}
}

// A call tells when its caller's context ends.
func TestNotAfter(t *testing.T) {
	plugin := &raw{}
	client := clientOf(t, plugin)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	deadline, _ := ctx.Deadline()
	for _, tc := range []struct {
		ctx  context.Context
		want int64
	}{{ctx, deadline.UnixNano()}, {t.Context(), 0}} {
		if _, err := client.Deliver(tc.ctx, nil); err != nil || plugin.notAfter != tc.want {
			t.Errorf("not after %d, %v; want %d", plugin.notAfter, err, tc.want)
		}
	}
}

// A call that hangs past its deadline ends by that deadline and by nothing else: it is how a hang is known.
func TestDeadlineIsNoCancel(t *testing.T) {
	for range 100 { // what would end it otherwise comes at the same instant
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			late, stop := outlive(ctx)
			defer stop()
			<-late.Done()
			if err := late.Err(); err != context.DeadlineExceeded {
				t.Fatal(err)
			}
		})
	}
}

// A plugin is told of the trace that a call is part of, also when the call outlives its context.
func TestTraceparent(t *testing.T) {
	const sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var came []string
	client := clientOf(t, &raw{deliver: func(ctx context.Context) { came = metadata.ValueFromIncomingContext(ctx, "traceparent") }})
	for _, want := range [][]string{nil, {sent}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if want != nil {
			ctx = WithTraceparent(ctx, sent)
		}
		if _, err := client.Deliver(ctx, []sdk.Record{{ID: "a"}}); err != nil || !slices.Equal(came, want) {
			t.Errorf("%q came, %v; want %q", came, err, want)
		}
		cancel()
	}
}
