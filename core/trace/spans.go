package trace

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/host"
)

// Span is something that takes time. The zero Span is none.
type Span struct{ span trace.Span }

// start begins a span; with a Tracer that is off it is none, and the context stays as it is.
func (t *Tracer) start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, Span) {
	ctx, span := t.tracer.Start(ctx, name, options...)
	return ctx, Span{span}
}

// End ends a span with a word that says how it went.
func (s Span) End(result string, failed bool) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(attribute.String("consentd.result", result))
	if failed {
		s.span.SetStatus(codes.Error, result)
	}
	s.span.End()
}

// Receive begins the span of a webhook's post. The request returned is the one to go on with.
func (t *Tracer) Receive(r *http.Request, source string) (*http.Request, Span) {
	if t == nil {
		return r, Span{}
	}
	ctx, span := t.start(r.Context(), "receive update", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("consentd.source", source)))
	return r.WithContext(ctx), span
}

// Believe links the span of a post to the sender's trace, once it is known who the sender is.
func (t *Tracer) Believe(r *http.Request) {
	if t == nil || r.Header["Traceparent"] == nil {
		return
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header))
	if sender := trace.SpanContextFromContext(ctx); sender.IsValid() {
		trace.SpanFromContext(r.Context()).AddLink(trace.Link{SpanContext: sender})
	}
}

// Commit begins the span of a commit, and keeps in mind that the update came in the span of ctx.
func (t *Tracer) Commit(ctx context.Context, source, citizenID string, received time.Time) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		t.origins.put(source, citizenID, received, span)
	}
	return t.start(ctx, "commit")
}

// Deliver begins the span of an attempt at a batch, with links to the spans in which its updates came.
func (t *Tracer) Deliver(ctx context.Context, target string, claims []store.Claimed) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	var links []trace.Link
	withdrawals := 0
	for _, c := range claims {
		if span, known := t.origins.get(c.Source, c.CitizenID, c.Received); known {
			links = append(links, trace.Link{SpanContext: span})
		}
		if c.Withdrawal {
			withdrawals++
		}
	}
	return t.start(ctx, "deliver", trace.WithNewRoot(), trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("consentd.target", target), attribute.Int("consentd.deliveries", len(claims)), attribute.Int("consentd.withdrawals", withdrawals)))
}

// Render begins the span in which rules are evaluated.
func (t *Tracer) Render(ctx context.Context) Span {
	if t == nil {
		return Span{}
	}
	_, span := t.start(ctx, "render")
	return span
}

// Call begins the span of one call to a plugin, and has the plugin told of it.
func (t *Tracer) Call(ctx context.Context, target, plugin string, records int) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.start(ctx, "plugin call", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("rpc.system", "grpc"), attribute.String("rpc.service", "consentd.target.v1.Target"), attribute.String("rpc.method", "Deliver"),
		attribute.String("consentd.target", target), attribute.String("consentd.plugin", plugin), attribute.Int("consentd.records", records)))
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return host.WithTraceparent(ctx, carrier["traceparent"]), span
}

// Answered ends the span of a call with how many records had which outcome.
func (s Span) Answered(outcomes []sdk.Outcome, err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.End("plugin broke", true) // its own text stays out: a plugin may say anything
		return
	}
	counts := map[sdk.Kind]int{}
	for _, o := range outcomes {
		counts[o.Kind]++
	}
	for kind, n := range counts {
		s.span.SetAttributes(attribute.Int("consentd.outcome."+kind.String(), n))
	}
	s.End("answered", false)
}
