package trace

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// follow makes every span of one update, with the claims that it is delivered in.
func follow(t *Tracer, r *http.Request, received time.Time, claims []store.Claimed, outcomes []sdk.Outcome) {
	r, receive := t.Receive(r, "dataguard")
	t.Believe(r)
	ctx, commit := t.Commit(r.Context(), "dataguard", "ada", received)
	commit.End("accepted", false)
	receive.End("accepted", false)
	ctx, deliver := t.Deliver(context.WithoutCancel(ctx), "crm", claims)
	t.Render(ctx).End("rendered", false)
	_, call := t.Call(ctx, "crm", "webhook 1.0.0", 1)
	call.Answered(outcomes, nil)
	deliver.End("settled", false)
}

var received = time.Date(2026, 3, 2, 9, 0, 0, 123_456_789, time.UTC)

func claimed() []store.Claimed {
	c := store.Claimed{Received: received.Truncate(time.Microsecond)} // as a store gives it back
	c.Source, c.CitizenID, c.Withdrawal = "dataguard", "ada", true
	return []store.Claimed{c}
}

// TestOff: a Tracer that is off costs nothing where updates flow.
func TestOff(t *testing.T) {
	var off *Tracer
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	claims, outcomes := claimed(), []sdk.Outcome{sdk.Unchanged()}
	var same *http.Request
	if n := testing.AllocsPerRun(100, func() {
		request, span := off.Receive(r, "dataguard")
		same = request
		off.Believe(request)
		ctx, commit := off.Commit(request.Context(), "dataguard", "ada", received)
		commit.End("accepted", false)
		span.End("accepted", false)
		ctx, deliver := off.Deliver(ctx, "crm", claims)
		off.Render(ctx).End("rendered", false)
		_, call := off.Call(ctx, "crm", "webhook 1.0.0", 1)
		call.Answered(outcomes, nil)
		deliver.End("settled", false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if same != r {
		t.Error("the request is another one")
	}
	if err := off.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if none, err := Start(t.Context(), config.Telemetry{}, "1", nil, hclog.NewNullLogger()); none != nil || err != nil {
		t.Errorf("without a block: %v, %v", none, err)
	}
}

// TestSampling: what is followed is followed to its end, and the sender has no say in it.
func TestSampling(t *testing.T) {
	for _, tc := range []struct {
		ratio float64
		spans []string
	}{
		{1, []string{"commit", "receive update", "render", "plugin call", "deliver"}},
		{0, nil},
	} {
		spans := tracetest.NewInMemoryExporter()
		tracer := newTracer(spans, resource.Empty(), tc.ratio)
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		follow(tracer, r, received, claimed(), []sdk.Outcome{sdk.Delivered("")})
		if err := tracer.provider.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range spans.GetSpans() {
			names = append(names, s.Name)
		}
		if fmt.Sprint(names) != fmt.Sprint(tc.spans) {
			t.Errorf("ratio %v: spans %q", tc.ratio, names)
		}
		if err := tracer.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}

	// Of many updates in one call one is followed: then so is the call.
	spans := tracetest.NewInMemoryExporter()
	tracer := newTracer(spans, resource.Empty(), 1)
	r, _ := tracer.Receive(httptest.NewRequest(http.MethodPost, "/", nil), "dataguard")
	_, _ = tracer.Commit(r.Context(), "dataguard", "ada", received)
	never := newTracer(spans, resource.Empty(), 0)
	never.origins = tracer.origins
	for name, claims := range map[string][]store.Claimed{"followed": append(claimed(), store.Claimed{}), "not followed": {{}, {}}} {
		_, span := never.Deliver(t.Context(), "crm", claims)
		if got := span.span.SpanContext().IsSampled(); got != (name == "followed") {
			t.Errorf("%s: sampled is %v", name, got)
		}
		span.End("settled", false)
	}
	for _, tracer := range []*Tracer{tracer, never} {
		if err := tracer.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestOriginsAreBounded: what is never delivered does not pile up.
func TestOriginsAreBounded(t *testing.T) {
	o := newOrigins()
	for n := range mostOrigins + 100 {
		o.put("dataguard", fmt.Sprint(n), received, tracetest.SpanStub{}.SpanContext)
	}
	if n := o.spans.Len(); n != mostOrigins {
		t.Errorf("%d are kept", n)
	}
	if _, known := o.get("dataguard", "0", received); known {
		t.Error("the oldest is still known")
	}
	if _, known := o.get("dataguard", fmt.Sprint(mostOrigins), received.Truncate(time.Microsecond)); !known {
		t.Error("a younger one is not known")
	}
}

// collecting takes spans over gRPC.
type collecting struct {
	collector.UnimplementedTraceServiceServer
	took func(ctx context.Context, r *collector.ExportTraceServiceRequest)
}

func (c collecting) Export(ctx context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.took(ctx, r)
	return &collector.ExportTraceServiceResponse{}, nil
}

// TestProtocols sends over both, with the headers, and to a collector that is not there.
func TestProtocols(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-meant-for=another")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	var mu sync.Mutex
	var names, tokens []string
	took := func(token string, strange []string, r *collector.ExportTraceServiceRequest) {
		mu.Lock()
		defer mu.Unlock()
		tokens = append(tokens, token)
		if len(strange) > 0 {
			t.Error("a header out of the environment was sent")
		}
		for _, of := range r.ResourceSpans {
			if text := of.Resource.String(); !strings.Contains(text, "consentd") || !strings.Contains(text, "deployment.environment.name") {
				t.Errorf("resource %s", text)
			}
			for _, scope := range of.ScopeSpans {
				for _, s := range scope.Spans {
					names = append(names, s.Name)
				}
			}
		}
	}
	overHTTP := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		took(r.Header.Get("Authorization"), r.Header["X-Meant-For"], &request)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer overHTTP.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	overGRPC := grpc.NewServer()
	collector.RegisterTraceServiceServer(overGRPC, collecting{took: func(ctx context.Context, r *collector.ExportTraceServiceRequest) {
		sent, _ := metadata.FromIncomingContext(ctx)
		took(strings.Join(sent.Get("authorization"), ","), sent.Get("x-meant-for"), r)
	}})
	var served sync.WaitGroup
	served.Go(func() { _ = overGRPC.Serve(l) })
	defer served.Wait()
	defer overGRPC.Stop()

	for protocol, endpoint := range map[string]string{"http/protobuf": overHTTP.URL, "grpc": "http://" + l.Addr().String()} {
		names, tokens = nil, nil
		registry := prometheus.NewRegistry()
		m := NewMetrics(registry)
		tracer, err := Start(t.Context(), config.Telemetry{SampleRatio: 1, OTLP: &config.OTLP{
			Endpoint: endpoint, Protocol: protocol, Headers: map[string]string{"Authorization": "Bearer s3cret"},
		}}, "1.2.3", m, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		follow(tracer, httptest.NewRequest(http.MethodPost, "/", nil), received, claimed(), nil)
		if err := tracer.Stop(t.Context()); err != nil {
			t.Errorf("%s: %v", protocol, err)
		}
		if len(names) != 5 || len(tokens) == 0 || tokens[0] != "Bearer s3cret" {
			t.Errorf("%s: spans %q, tokens %q", protocol, names, tokens)
		}
		if n := testutil.ToFloat64(m.spans.WithLabelValues(exported)); n != 5 {
			t.Errorf("%s: %v spans exported", protocol, n)
		}
	}
}

// TestCollectorThatRefuses is said once, counted, and no error of ours.
func TestCollectorThatRefuses(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	var log strings.Builder
	m := NewMetrics(prometheus.NewRegistry())
	tracer, err := Start(t.Context(), config.Telemetry{SampleRatio: 1, OTLP: &config.OTLP{Endpoint: refuses.URL, Protocol: "http/protobuf"}},
		"1.2.3", m, hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		follow(tracer, httptest.NewRequest(http.MethodPost, "/", nil), received, claimed(), nil)
		if err := tracer.provider.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := tracer.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "traces cannot be exported"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	if n := testutil.ToFloat64(m.spans.WithLabelValues(failed)); n != 15 {
		t.Errorf("%v spans failed", n)
	}
}
