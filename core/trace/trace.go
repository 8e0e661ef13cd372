// Package trace follows updates from the webhook to the vendor's call, as OpenTelemetry spans that are sent over OTLP.
// It is apart from what it follows because that must not know of exporters, and because nothing of it may ever hold
// up an update.
//
// A nil Tracer is tracing turned off: all its methods work, do nothing and allocate nothing.
//
// No span has anything of a person: attributes are names out of the configuration, counts, and words of closed lists.
package trace

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/consentd/consentd/core/config"
)

// stopTimeout bounds how long the end of the daemon waits for spans that are not exported yet.
const stopTimeout = 3 * time.Second

// Metrics count spans.
type Metrics struct{ spans *prometheus.CounterVec }

// NewMetrics registers the metrics of tracing.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "consentd_trace_spans_total",
		Help: "Spans by what became of them: exported or failed. Those that found no room are not counted.",
	}, []string{"result"})}
	r.MustRegister(m.spans)
	m.spans.WithLabelValues(exported)
	m.spans.WithLabelValues(failed)
	return m
}

const (
	exported = "exported"
	failed   = "failed"
)

// Tracer makes spans and has them exported.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
	origins  *origins
}

// Start makes the Tracer that the configuration asks for: nil if it asks for none. It reaches nobody.
func Start(ctx context.Context, c config.Telemetry, version string, m *Metrics, log hclog.Logger) (*Tracer, error) {
	if c.OTLP == nil {
		return nil, nil
	}
	to, err := newExporter(ctx, *c.OTLP)
	if err != nil {
		return nil, fmt.Errorf("make OTLP exporter: %w", err)
	}
	// What OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say comes last.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "consentd"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe this process for traces: %w", err)
	}
	return newTracer(&exporter{to: to, spans: m.spans, log: log}, about, c.SampleRatio), nil
}

func newTracer(to sdktrace.SpanExporter, about *resource.Resource, ratio float64) *Tracer {
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(to), sdktrace.WithResource(about), sdktrace.WithSampler(newSampler(ratio)))
	return &Tracer{tracer: provider.Tracer("github.com/consentd/consentd"), provider: provider, origins: newOrigins()}
}

func newExporter(ctx context.Context, o config.OTLP) (sdktrace.SpanExporter, error) {
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil {
		return nil, errors.New("the endpoint is no URL")
	}
	// Both take http:// for in clear. Headers are given also when there are none, so that those of the environment do not
	// go to an endpoint that they are not meant for.
	if o.Protocol == "grpc" {
		return otlptrace.New(ctx, otlptracegrpc.NewClient(otlptracegrpc.WithEndpointURL(endpoint.String()), otlptracegrpc.WithHeaders(o.Headers)))
	}
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = "/v1/traces"
	}
	return otlptrace.New(ctx, otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(endpoint.String()), otlptracehttp.WithHeaders(o.Headers)))
}

// Stop exports what is left, for a few seconds at most.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("export the last spans: %w", err)
	}
	return nil
}

// exporter says once when exporting begins to fail and when it works again, in place of the SDK's own handler,
// which is the whole process's and writes to stderr.
type exporter struct {
	to      sdktrace.SpanExporter
	spans   *prometheus.CounterVec
	log     hclog.Logger
	failing bool // ExportSpans is never called twice at once
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.to.ExportSpans(ctx, spans)
	result := exported
	if err != nil {
		result = failed
	}
	e.spans.WithLabelValues(result).Add(float64(len(spans)))
	switch {
	case err != nil && !e.failing:
		e.log.Warn("traces cannot be exported; nothing else is touched by that", "error", err)
	case err == nil && e.failing:
		e.log.Info("traces are exported again")
	}
	e.failing = err != nil
	return nil
}

func (e *exporter) Shutdown(ctx context.Context) error { return e.to.Shutdown(ctx) }

// sampler chooses what is followed. What a sender says of sampling does not count: it would choose what we pay for.
type sampler struct{ ratio sdktrace.Sampler }

func newSampler(ratio float64) sdktrace.Sampler {
	return sdktrace.ParentBased(sampler{sdktrace.TraceIDRatioBased(ratio)})
}

// ShouldSample follows a call of which at least one update is followed.
func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	for _, link := range p.Links {
		if link.SpanContext.IsSampled() {
			return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
		}
	}
	return s.ratio.ShouldSample(p)
}

func (s sampler) Description() string { return "consentd/" + s.ratio.Description() }
